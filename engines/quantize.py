"""8-bit convolutions for processors: a quarter of the work of float32 where there is VNNI.

Only convolutions, and only those whose inputs were measured, become 8-bit; positions, warp and
blend stay as they are. Written as QuantizeLinear and DequantizeLinear around each convolution,
which a runtime folds into one integer kernel (Jacob et al., CVPR 2018, section 2).

All channels that come into a convolution share one step, and some are far smaller than others: a
motion of a hundredth beside features of three would be four levels. Channels are therefore brought
nearer to each other first, and the weights the other way round (Xiao et al., ICML 2023, section
4); the factors become part of rounding, and cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

Ranges = Mapping[str, NDArray[np.float32]]
"""By convolution, named as its weight without '.weight': the least and greatest input seen, (2,
channels), or (2, 1) of all channels together."""
IN_FLOAT = ("generator.motion.decide",)
"""Decides where every pixel comes from: a hundredth of the work, and the finest result."""
BALANCE = 0.9
"""Of the difference between channels, how much is taken from what comes in and left to the weights.
Of 0.65, 0.8 and 0.9 what lets the cut-out shimmer least (figures: MODEL_CARD.md)."""
LEAST_REACH = 1e-3
"""Of the greatest channel's, below which channels count alike."""
MAX_RANGE = 1e6
MAX_CHANNELS = 4096


def quantize(data: bytes, ranges: Ranges, *, pairs_overflow: bool = False) -> bytes:
    """The ONNX bytes of a float32 generator with the convolutions of `ranges` in 8 bits.

    With `pairs_overflow` (see engines.overflow) weights are small enough for the products of two
    neighbouring channels to add up in 16 bits.
    """
    import onnx

    model = onnx.ModelProto()
    model.ParseFromString(data)
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    added: list[onnx.TensorProto] = []
    for node in model.graph.node:
        name = node.input[1].removesuffix(".weight") if node.op_type == "Conv" else ""
        if name in ranges and name not in IN_FLOAT and node.input[1] in weights:
            weight = weights[node.input[1]]
            before, tensors = _around(node, name, weight, ranges[name], pairs_overflow)
            nodes += before
            added += tensors
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(added)
    return bytes(model.SerializeToString())


def check_ranges(ranges: Any) -> Ranges:
    """`ranges` as read from a file of anybody's. Raises ValueError."""
    checked: dict[str, NDArray[np.float32]] = {}
    if not isinstance(ranges, dict) or len(ranges) > 1000:
        raise ValueError("ranges are no table")
    for name, ends in ranges.items():
        limits = np.array(ends, np.float32)
        limits = limits[:, None] if limits.ndim == 1 else limits
        if limits.ndim != 2 or len(limits) != 2 or not 1 <= limits.shape[1] <= MAX_CHANNELS:
            raise ValueError(f"the range of {name!r} is of the shape {limits.shape}")
        low, high = limits
        sound = (low <= 0) & (high >= 0) & (low > -MAX_RANGE) & (high < MAX_RANGE)
        if not sound.all() or (low == high).all():
            raise ValueError(f"the range of {name!r} is {low.min()} to {high.max()}")
        checked[str(name)] = limits
    return checked


def _around(
    node: onnx.NodeProto, name: str, weight: onnx.TensorProto, limits: NDArray[np.float32],
    pairs_overflow: bool,
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:  # fmt: skip
    """What goes before a convolution; it is made to read from there."""
    from onnx import helper, numpy_helper

    kernels = numpy_helper.to_array(weight)
    factors = balance(kernels, limits)
    low, high = float((limits[0] * factors).min()), float((limits[1] * factors).max())
    scale = (high - low) / 255
    tensors = {
        "factors": factors.reshape(1, -1, 1, 1),
        "scale": np.array(scale, np.float32),
        "zero": np.array(round(-low / scale), np.uint8),
        **dict(_integer_weight(kernels / factors[:, None, None], pairs_overflow)),
    }
    factor, step, zero, kernel, kernel_scale, kernel_zero = (f"{name}.q.{key}" for key in tensors)
    level, coded, decoded, decoded_weight = (
        f"{name}.q.{key}" for key in ("level", "coded", "x", "w")
    )
    nodes = [
        helper.make_node("Mul", [node.input[0], factor], [level]),
        helper.make_node("QuantizeLinear", [level, step, zero], [coded]),
        helper.make_node("DequantizeLinear", [coded, step, zero], [decoded]),
        helper.make_node(
            "DequantizeLinear", [kernel, kernel_scale, kernel_zero], [decoded_weight], axis=0
        ),
    ]
    node.input[0], node.input[1] = decoded, decoded_weight
    return nodes, [
        numpy_helper.from_array(values, f"{name}.q.{key}") for key, values in tensors.items()
    ]


def balance(weight: NDArray[np.float32], limits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Factors, (channels,), to multiply a convolution's input by and divide its weight (out,
    channels, h, w) by. `limits`: (2, channels) or (2, 1), see Ranges."""
    if limits.shape[1] == 1:
        return np.ones(weight.shape[1], np.float32)
    strength = np.abs(weight).max((0, 2, 3))
    parts = []
    for size, share in ((np.abs(limits).max(0), -BALANCE), (strength, 1 - BALANCE)):
        parts.append(np.maximum(size, max(LEAST_REACH * size.max(), 1e-12)) ** share)
    return np.asarray(parts[0] * parts[1], np.float32)


def _integer_weight(
    weight: NDArray[np.float32], pairs_overflow: bool
) -> Iterator[tuple[str, NDArray[Any]]]:
    """Symmetric, with a scale for every output channel."""
    greatest = np.abs(weight.reshape(len(weight), -1)).max(1)
    if pairs_overflow:
        greatest = np.maximum(greatest, _greatest_pairs(weight))
    scale = (np.maximum(greatest, 1e-12) / 127).astype(np.float32)
    rounded = np.rint(weight / scale.reshape(-1, *[1] * (weight.ndim - 1)))
    yield "kernel", rounded.astype(np.int8)
    yield "kernel_scale", scale
    yield "kernel_zero", np.zeros(len(weight), np.int8)


def _greatest_pairs(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """What two neighbouring channels' weights (out, channels, h, w) come to at most, (out,): where
    their signs differ one product takes from the other, or has nothing to be added to.

    As 127 steps (128 with both rounded up), times the greatest input of 255, that is 32,640.
    """
    outputs, inputs = weight.shape[:2]
    even = np.pad(weight, ((0, 0), (0, inputs % 2), (0, 0), (0, 0)))
    pairs = even.reshape(outputs, -1, 2, *weight.shape[2:])
    sums = np.maximum(np.maximum(pairs, 0).sum(2), np.maximum(-pairs, 0).sum(2))
    return np.asarray(sums.reshape(outputs, -1).max(1), np.float32)
