"""The generator's portrait inputs, kept beside the avatar so that they are computed once.

A cache: whatever is missing, made by other weights or not sound is made again, never refused.
"""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.contract import GeneratorSpec
from puppet.avatar.bundle import Avatar
from puppet.avatar.files import hash_of
from puppet.avatar.tuned import tuned_tensors, tuned_weights
from puppet.draw import draw_contours, picture_coordinates

_MAX_BYTES = 128 << 20
_KEY = "webcam-puppet"

Tensors = dict[str, NDArray[np.float32]]


def portrait_tensors(avatar: Avatar, spec: GeneratorSpec) -> Tensors:
    """The avatar's inputs for the generator of `spec`: read, or else encoded and kept.

    A bundle that cannot be written to still works. Raises what engines.encode raises.
    """
    fitted = tuned_tensors(avatar, spec.weights_sha256) or {}
    path = avatar.folder / f"tensors-{_safe(spec.tier)}.safetensors"
    key = _key(avatar, spec)
    kept = _read(path, key)
    if kept is not None:
        return kept | fitted
    from engines.encode import encode_portrait
    from engines.models import load_model_of

    contours = draw_contours(picture_coordinates(avatar.landmarks))
    model = load_model_of(weights=tuned_weights(avatar)) if fitted else None
    tensors = encode_portrait(avatar.portrait, avatar.matte, contours, tier=spec.tier, model=model)
    _write(path, tensors, key)
    return tensors | fitted


def _safe(tier: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in tier)[:32]


def _key(avatar: Avatar, spec: GeneratorSpec) -> str:
    """Of everything the tensors depend on."""
    pixels = avatar.portrait.tobytes() + avatar.matte.tobytes() + avatar.landmarks.points.tobytes()
    generator = [spec.tier, spec.draw_style, spec.weights_sha256, spec.version, spec.size]
    return hash_of(json.dumps([*generator, hash_of(pixels)]).encode())


def _read(path: Path, key: str) -> Tensors | None:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > _MAX_BYTES:
            return None
        data = path.read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + min(length, 1 << 20)])
        if header.get("__metadata__", {}).get(_KEY) != key + _body_hash(data, length):
            return None
        tensors: dict[str, NDArray[np.float32]] = load(data)
    except (OSError, ValueError, AttributeError, struct.error, SafetensorError):
        return None
    sound = all(t.dtype == np.float32 and bool(np.isfinite(t).all()) for t in tensors.values())
    return tensors if tensors and sound else None


def _body_hash(data: bytes, header_length: int) -> str:
    return hash_of(data[8 + header_length :])


def _write(path: Path, tensors: Tensors, key: str) -> None:
    from safetensors.numpy import save

    plain = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    draft = save(plain)
    (length,) = struct.unpack("<Q", draft[:8])
    content = save(plain, metadata={_KEY: key + _body_hash(draft, length)})
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if not path.parent.is_dir():
            return
        beside.write_bytes(content)
        os.replace(beside, path)
    except OSError:  # a bundle on a read-only medium: encoded anew each time
        beside.unlink(missing_ok=True)
