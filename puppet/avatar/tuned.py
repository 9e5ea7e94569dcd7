"""What calibration adds to a bundle: weights fitted to this face, and its fitted tensors.

    weights.safetensors   the whole network's tuned weights, float16
    tuned.safetensors     features, detail and code of the portrait, float32
    generator.onnx        the same network as a graph, for other programs

All three are optional and go together: tensors say which weights and which portrait they belong
to, and are ignored with any other. A bundle that is made again has none of them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from puppet.avatar.bundle import Avatar
from puppet.avatar.files import hash_of
from puppet.avatar.store import bundle_path
from puppet.contract import BundleError, UserError

WEIGHTS, TENSORS, GRAPH = "weights.safetensors", "tuned.safetensors", "generator.onnx"
_MAX_BYTES = 32 << 20
_SHAPES = {"features": (1, None, 64, 64), "detail": (1, None, 128, 128), "code": (1, None)}
_KEY = "webcam-puppet"


def tuned_weights(avatar: Avatar) -> Path | None:
    """The avatar's own weights, or None where it was not calibrated. Not checked yet."""
    path = avatar.folder / WEIGHTS
    return path if path.is_file() and not path.is_symlink() else None


def tuned_weights_of(name_or_path: str | Path) -> Path | None:
    """The same for an avatar that is not loaded yet. Raises BundleError where there is none."""
    path = bundle_path(name_or_path) / WEIGHTS
    return path if path.is_file() and not path.is_symlink() else None


def tuned_tensors(avatar: Avatar, weights_sha256: str) -> dict[str, NDArray[np.float32]] | None:
    """The fitted tensors where they belong to these weights and this portrait, else None.

    Raises BundleError when they should but are damaged.
    """
    from safetensors import SafetensorError, safe_open

    path = avatar.folder / TENSORS
    if not path.is_file() or path.is_symlink():
        return None
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise ValueError("it is too large")
        with safe_open(path, "numpy") as file:
            if (file.metadata() or {}).get(_KEY) != _key(avatar, weights_sha256):
                return None
            tensors: dict[str, NDArray[np.float32]] = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
        _check(tensors)
    except (OSError, ValueError, SafetensorError) as error:
        raise BundleError(
            f"{path} is damaged ({error}). Run 'puppet calibrate {avatar.name}' again, or delete "
            "the file."
        ) from error
    return tensors


def save_tuning(
    avatar: Avatar,
    *,
    weights: bytes,
    tensors: Mapping[str, NDArray[np.float32]],
    graph: bytes,
) -> None:
    """Writes the three files, each beside and then renamed. Raises UserError.

    A kill between them leaves tensors that do not name the weights, which are then not used.
    """
    from safetensors.numpy import save

    plain = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    _check(plain)
    key = _key(avatar, hash_of(weights))
    try:
        for name, content in (
            (TENSORS, save(plain, metadata={_KEY: key})),
            (GRAPH, graph),
            (WEIGHTS, weights),
        ):
            beside = avatar.folder / f".{name}.{os.getpid()}"
            try:
                beside.write_bytes(content)
                os.replace(beside, avatar.folder / name)
            finally:
                beside.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"The calibration cannot be saved in {avatar.folder}: {error}") from error


def _check(tensors: Mapping[str, NDArray[np.float32]]) -> None:
    if tensors.keys() != _SHAPES.keys():
        raise ValueError(f"it holds {sorted(tensors)}")
    for name, tensor in tensors.items():
        wanted = _SHAPES[name]
        fits = len(tensor.shape) == len(wanted) and all(
            want in (None, have) for have, want in zip(tensor.shape, wanted, strict=True)
        )
        if tensor.dtype != np.float32 or not fits or not np.isfinite(tensor).all():
            raise ValueError(f"{name} is {tensor.dtype}{list(tensor.shape)}, or not finite")


def _key(avatar: Avatar, weights_sha256: str) -> str:
    pixels = avatar.portrait.tobytes() + avatar.matte.tobytes() + avatar.landmarks.points.tobytes()
    return hash_of(pixels + weights_sha256.encode())
