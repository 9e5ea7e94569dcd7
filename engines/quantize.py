"""8-bit convolutions for processors: a quarter of the work of float32 where there is VNNI.

Only convolutions, and only those whose inputs were measured, become 8-bit; positions, warp and
blend stay as they are. Written as QuantizeLinear and DequantizeLinear around each convolution,
which a runtime folds into one integer kernel (Jacob et al., CVPR 2018, section 2).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

Ranges = Mapping[str, tuple[float, float]]
"""By convolution, named as its weight without '.weight': least and greatest input seen."""
IN_FLOAT = ("generator.motion.decide",)
"""Decides where every pixel comes from: a hundredth of the work, and the finest result."""
MAX_RANGE = 1e6


def quantize(data: bytes, ranges: Ranges) -> bytes:
    """The ONNX bytes of a float32 generator with the convolutions of `ranges` in 8 bits."""
    import onnx

    model = onnx.ModelProto()
    model.ParseFromString(data)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    added: list[onnx.TensorProto] = []
    for node in model.graph.node:
        name = node.input[1].removesuffix(".weight") if node.op_type == "Conv" else ""
        if name in ranges and name not in IN_FLOAT and node.input[1] in weights:
            before, tensors = _around(node, name, weights[node.input[1]], ranges[name])
            nodes += before
            added += tensors
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(added)
    return bytes(model.SerializeToString())


def check_ranges(ranges: Any) -> Ranges:
    """`ranges` as read from a file of anybody's. Raises ValueError."""
    checked: dict[str, tuple[float, float]] = {}
    if not isinstance(ranges, dict) or len(ranges) > 1000:
        raise ValueError("ranges are no table")
    for name, pair in ranges.items():
        low, high = (float(end) for end in pair)
        if not -MAX_RANGE < low <= 0 <= high < MAX_RANGE or low == high:
            raise ValueError(f"the range of {name!r} is {low} to {high}")
        checked[str(name)] = low, high
    return checked


def _around(
    node: onnx.NodeProto, name: str, weight: onnx.TensorProto, limits: tuple[float, float]
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """What goes before a convolution; it is made to read from there."""
    from onnx import helper, numpy_helper

    low, high = limits
    scale = (high - low) / 255
    tensors = {
        "scale": np.array(scale, np.float32),
        "zero": np.array(round(-low / scale), np.uint8),
        **dict(_integer_weight(numpy_helper.to_array(weight))),
    }
    step, zero, kernel, kernel_scale, kernel_zero = (f"{name}.q.{key}" for key in tensors)
    coded, decoded, decoded_weight = (f"{name}.q.{key}" for key in ("coded", "x", "w"))
    nodes = [
        helper.make_node("QuantizeLinear", [node.input[0], step, zero], [coded]),
        helper.make_node("DequantizeLinear", [coded, step, zero], [decoded]),
        helper.make_node(
            "DequantizeLinear", [kernel, kernel_scale, kernel_zero], [decoded_weight], axis=0
        ),
    ]
    node.input[0], node.input[1] = decoded, decoded_weight
    return nodes, [
        numpy_helper.from_array(values, f"{name}.q.{key}") for key, values in tensors.items()
    ]


def _integer_weight(weight: NDArray[np.float32]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Symmetric, with a scale for every output channel."""
    greatest = np.abs(weight.reshape(len(weight), -1)).max(1)
    scale = (np.maximum(greatest, 1e-12) / 127).astype(np.float32)
    rounded = np.rint(weight / scale.reshape(-1, *[1] * (weight.ndim - 1)))
    yield "kernel", rounded.astype(np.int8)
    yield "kernel_scale", scale
    yield "kernel_zero", np.zeros(len(weight), np.int8)
