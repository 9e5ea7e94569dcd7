"""The tier that has learned nothing: the portrait moved by the coarse motion alone.

It needs no weights, runs everywhere, and is what a stage further on can be tested with. The graph
is small enough to be written by hand, so no exporter and no file is needed.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.contract import MOTION_SIZE, PICTURE_SIZE, GeneratorSpec
from engines.graph import GENERATOR, GRAPH_VERSION, OUTPUT, Graph, parse_graph, write_metadata
from engines.grids import identity_grid, interleaved_grid

TIER = "coarse"
ANY_STYLE = "any"
"""The warp reads no contours, so it fits every drawing style."""
PORTRAIT = "portrait"
"""(1, 4, 512, 512) float32: RGB and matte, 0 to 1."""


def coarse_graph() -> Graph:
    """Builds the generator: motion (128, 128, 2), portrait (1, 4, 512, 512) -> picture."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    constants: dict[str, NDArray[Any]] = {
        "identity": identity_grid(PICTURE_SIZE),
        "interleaved": interleaved_grid(PICTURE_SIZE),
        "stacked_shape": np.array([1, 1, 2 * MOTION_SIZE, MOTION_SIZE], np.int64),
        "grid_shape": np.array([1, PICTURE_SIZE, PICTURE_SIZE, 2], np.int64),
        "batch": np.array([0], np.int64),
        "scale": np.array(255, np.float32),
        "half": np.array(0.5, np.float32),
        "low": np.array(0, np.float32),
        "high": np.array(255, np.float32),
    }
    sample: dict[str, Any] = {"mode": "bilinear", "padding_mode": "border", "align_corners": 0}
    nodes = [
        helper.make_node("Transpose", ["motion"], ["planes"], perm=[2, 0, 1]),
        helper.make_node("Reshape", ["planes", "stacked_shape"], ["stacked"]),
        # Sampled, not resized: OpenVINO's bf16 mode would run Resize in bf16, whose 8 bits move
        # the picture by up to a pixel, while GridSample stays in float32.
        helper.make_node("GridSample", ["stacked", "interleaved"], ["enlarged"], **sample),
        helper.make_node("Reshape", ["enlarged", "grid_shape"], ["offset"]),
        helper.make_node("Add", ["offset", "identity"], ["grid"]),
        helper.make_node("GridSample", [PORTRAIT, "grid"], ["moved"], **sample),
        helper.make_node("Mul", ["moved", "scale"], ["scaled"]),
        helper.make_node("Clip", ["scaled", "low", "high"], ["clipped"]),
        helper.make_node("Add", ["clipped", "half"], ["rounded"]),
        helper.make_node("Transpose", ["rounded"], ["rounded_nhwc"], perm=[0, 2, 3, 1]),
        helper.make_node("Squeeze", ["rounded_nhwc", "batch"], ["levels"]),
        # Last, because TensorRT takes bytes only as graph inputs and outputs.
        helper.make_node("Cast", ["levels"], [OUTPUT], to=TensorProto.UINT8),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "coarse",
        [
            value("motion", TensorProto.FLOAT, [MOTION_SIZE, MOTION_SIZE, 2]),
            value(PORTRAIT, TensorProto.FLOAT, [1, 4, PICTURE_SIZE, PICTURE_SIZE]),
        ],
        [value(OUTPUT, TensorProto.UINT8, [PICTURE_SIZE, PICTURE_SIZE, 4])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model: onnx.ModelProto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )
    no_weights = hashlib.sha256(b"").hexdigest()
    spec = GeneratorSpec(TIER, ANY_STYLE, no_weights, GRAPH_VERSION, PICTURE_SIZE)
    write_metadata(model, spec, role=GENERATOR, body="f32")
    return parse_graph(model.SerializeToString(deterministic=True), origin="the coarse generator")


def coarse_portrait(
    rgb: NDArray[np.uint8], matte: NDArray[np.uint8]
) -> dict[str, NDArray[np.float32]]:
    """Packs a portrait (512, 512, 3) and its matte (512, 512) for the coarse tier."""
    packed = np.concatenate([rgb, matte[:, :, None]], axis=2).transpose(2, 0, 1)[None]
    return {PORTRAIT: np.ascontiguousarray(packed, dtype=np.float32) / np.float32(255)}
