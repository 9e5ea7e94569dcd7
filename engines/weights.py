"""Trained weights: read safely, and filled into the graph template of their tier.

A template is the exported ONNX graph with its weights left out, shipped as a file of some
kilobytes; weights travel as float16 safetensors. Filling takes milliseconds and needs no
training framework.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engines.contract import GeneratorSpec, SpecMismatch
from engines.graph import (
    GRAPH_VERSION,
    MAX_GRAPH_BYTES,
    METADATA_KEY,
    read_metadata,
    write_metadata,
)
from engines.grids import is_grid, named_grid
from engines.quantize import Ranges, check_ranges

if TYPE_CHECKING:
    import onnx

WEIGHTS_VERSION = 2
"""Of the network's layers; that of the graph around them is graph.GRAPH_VERSION."""
MAX_WEIGHTS_BYTES = 128 * 2**20
MAX_HEADER_BYTES = 2**20
_DTYPES = {"F16": np.dtype(np.float16), "F32": np.dtype(np.float32)}


@dataclass(frozen=True, slots=True)
class Weights:
    """The tensors of one weights file by name, float16 or float32, and what they are."""

    tensors: dict[str, NDArray[Any]]
    tier: str
    draw_style: str
    version: int
    sha256: str
    """Of the file."""
    ranges: Ranges = field(default_factory=dict)
    """What comes into the convolutions, for 8 bits; empty where nobody measured it."""

    @property
    def spec(self) -> GeneratorSpec:
        """The spec of a generator that runs on these weights."""
        return GeneratorSpec(self.tier, self.draw_style, self.sha256, GRAPH_VERSION)


def read_weights(path: Path) -> Weights:
    """Reads a weights file, which may come from anybody. Raises SpecMismatch."""
    try:
        size = path.stat().st_size
        if size > MAX_WEIGHTS_BYTES:
            raise SpecMismatch(
                f"{path} is {size / 2**20:.0f} MB; weights are at most "
                f"{MAX_WEIGHTS_BYTES // 2**20} MB."
            )
        data = path.read_bytes()
    except OSError as error:
        raise SpecMismatch(f"The weights {path} cannot be read: {error}.") from error
    return parse_weights(data, origin=str(path))


def parse_weights(data: bytes, *, origin: str = "the weights") -> Weights:
    """Checks the bytes of a safetensors file. Raises SpecMismatch."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    header = _header(data, origin)
    metadata = header.pop("__metadata__", None)
    for name, entry in header.items():
        if not isinstance(entry, dict) or entry.get("dtype") not in _DTYPES:
            raise SpecMismatch(f"{origin}: {name!r} is not a float16 or float32 tensor.")
    try:
        tensors = load(data)
    except SafetensorError as error:
        raise SpecMismatch(f"{origin} is damaged: {error}. Copy or create it again.") from error
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise SpecMismatch(f"{origin}: {name!r} holds numbers that are not finite.")
    try:
        fields = json.loads(metadata[METADATA_KEY])
        tier, style = str(fields["tier"]), str(fields["draw_style"])
        version = int(fields["version"])
        ranges = fields.get("ranges", {})
    except (KeyError, RecursionError, TypeError, ValueError) as error:
        raise SpecMismatch(
            f"{origin} does not say its tier, draw_style and version: it is no webcam-puppet file."
        ) from error
    try:
        checked = check_ranges(ranges)
        for name, limits in checked.items():
            channels = tensors[f"{name}.weight"].shape[1] if f"{name}.weight" in tensors else 1
            if limits.shape[1] not in (1, channels):
                raise ValueError(f"the range of {name!r} is of {limits.shape[1]} channels")
    except (IndexError, TypeError, ValueError) as error:
        raise SpecMismatch(
            f"{origin}: its ranges for 8 bits do not fit ({error}). Measure them again with "
            "'python -m calibrate.ranges'."
        ) from error
    return Weights(tensors, tier, style, version, hashlib.sha256(data).hexdigest(), checked)


def write_weights(
    path: Path,
    tensors: dict[str, NDArray[Any]],
    *,
    tier: str,
    draw_style: str,
    ranges: Ranges | None = None,
) -> None:
    """Writes a weights file as float16, beside and then renamed."""
    import os

    from safetensors.numpy import save

    halves = {name: np.ascontiguousarray(t, np.float16) for name, t in sorted(tensors.items())}
    fields: dict[str, Any] = {
        "tier": tier, "draw_style": draw_style, "version": WEIGHTS_VERSION,
    }  # fmt: skip
    if ranges:
        fields["ranges"] = {
            name: [[float(f"{end:.4g}") for end in ends] for ends in limits]
            for name, limits in ranges.items()
        }
    # One entry: the library writes several in an order that changes from run to run.
    metadata = {METADATA_KEY: json.dumps(fields, sort_keys=True)}
    beside = path.with_name(path.name + ".part")
    beside.write_bytes(save(halves, metadata))
    os.replace(beside, path)


def _header(data: bytes, origin: str) -> dict[str, Any]:
    if len(data) < 8:
        raise SpecMismatch(f"{origin} is too short for a weights file. Copy or create it again.")
    (length,) = struct.unpack("<Q", data[:8])
    if length > min(MAX_HEADER_BYTES, len(data) - 8):
        raise SpecMismatch(f"{origin} is not a safetensors file, or it is cut off.")
    try:
        header = json.loads(data[8 : 8 + length])
    except (ValueError, RecursionError) as error:
        raise SpecMismatch(f"{origin}: its header is damaged: {error}.") from error
    if not isinstance(header, dict):
        raise SpecMismatch(f"{origin}: its header is damaged.")
    return header


def template_weights(template: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights that a template leaves out."""
    return {
        tensor.name: tuple(tensor.dims)
        for tensor in template.graph.initializer
        if _is_empty(tensor) and not is_grid(tensor.name)
    }


def check_names(weights: Weights, wanted: dict[str, tuple[int, ...]]) -> None:
    """Weights must hold exactly the tensors wanted. Raises SpecMismatch."""
    given = {name: tuple(tensor.shape) for name, tensor in weights.tensors.items()}
    if given == wanted:
        return
    wrong = sorted(n for n in given.keys() & wanted.keys() if given[n] != wanted[n])
    missing, extra = sorted(wanted.keys() - given.keys()), sorted(given.keys() - wanted.keys())
    raise SpecMismatch(
        f"These weights are not of the {weights.tier!r} network of this version "
        f"(missing: {_some(missing)}; unknown: {_some(extra)}; other shape: {_some(wrong)}). "
        "Create the avatar again with this version."
    )


def fill_template(template: bytes, weights: Weights) -> bytes:
    """The runnable ONNX bytes: weights put in, spec written. Raises SpecMismatch."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    model = onnx.ModelProto()
    try:
        model.ParseFromString(template)
    except DecodeError as error:
        raise SpecMismatch(f"The graph template is damaged: {error}. Reinstall.") from error
    template_spec, role, body = read_metadata(model, origin="The graph template")
    expected = (template_spec.tier, template_spec.draw_style, WEIGHTS_VERSION)
    if (weights.tier, weights.draw_style, weights.version) != expected:
        raise SpecMismatch(
            f"These weights are for tier, drawing and version "
            f"{(weights.tier, weights.draw_style, weights.version)}, the graph is for {expected}. "
            "Create the avatar again with this version."
        )
    total = 0
    for tensor in model.graph.initializer:
        if _is_empty(tensor):
            values = _values(tensor, weights)
            total += values.nbytes
            if total > MAX_GRAPH_BYTES:
                raise SpecMismatch("The graph template asks for more weights than a graph holds.")
            tensor.raw_data = values.tobytes()
    write_metadata(model, weights.spec, role=role, body=body)
    return bytes(model.SerializeToString(deterministic=True))


def _values(tensor: onnx.TensorProto, weights: Weights) -> NDArray[Any]:
    import onnx

    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
    shape = tuple(tensor.dims)
    found: NDArray[Any] | None = weights.tensors.get(tensor.name)
    if is_grid(tensor.name):
        found = named_grid(tensor.name)
        if found is None:
            raise SpecMismatch(f"The graph template asks for the grid {tensor.name!r}.")
    if found is None or found.shape != shape:
        given = "nothing" if found is None else list(found.shape)
        raise SpecMismatch(
            f"The weights give {given} for {tensor.name!r}, the {weights.tier!r} network needs "
            f"{list(shape)}. Create the avatar again with this version."
        )
    return found.astype(dtype)


def _is_empty(tensor: onnx.TensorProto) -> bool:
    return (
        not tensor.raw_data
        and not tensor.float_data
        and not tensor.int32_data
        and not tensor.int64_data
        and int(np.prod(tuple(tensor.dims))) > 0
    )


def _some(names: list[str]) -> str:
    return (
        ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") or "none"
    )
