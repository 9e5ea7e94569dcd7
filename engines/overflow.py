"""Whether sums of 8-bit products overflow on this processor.

Where there is no VNNI, a convolution multiplies four neighbouring channels in 8 bits and adds two
products at a time in 16: above 32,767 the sum stays at that, and the picture is wrong. Found out
by a sum that is known, since every system tells otherwise what instructions there are, and none
which of them the library uses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from engines.quantize import quantize

if TYPE_CHECKING:
    import openvino

_CHANNELS, _SIDE = 4, 8


def pairs_overflow(core: openvino.Core) -> bool:
    """Tries it out with OpenVINO on the CPU; some tens of milliseconds. Raises RuntimeError where
    OpenVINO cannot compute in 8 bits."""
    ones = {"x": np.ones((1, _CHANNELS, _SIDE, _SIDE), np.float32)}
    data = quantize(_summing(), {"sum": np.array(((0,), (1,)), np.float32)})
    settings = {"INFERENCE_PRECISION_HINT": "f32"}  # of what is not in 8 bits
    compiled = core.compile_model(core.read_model(data), "CPU", settings)
    sums = compiled.create_infer_request().infer(ones)[0]
    return bool(sums.min() < 0.75 * _CHANNELS)  # at half, where pairs stay at the most there is


def _summing() -> bytes:
    """A convolution that adds up its channels: the greatest inputs times the greatest weights."""
    from onnx import TensorProto, helper, numpy_helper

    shape = (1, _CHANNELS, _SIDE, _SIDE)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy")
    weight = np.ones((_CHANNELS, _CHANNELS, 1, 1), np.float32)
    node = helper.make_node("Conv", ["x", "sum.weight"], ["y"])
    graph = helper.make_graph(
        [node], "sum", [x], [y], [numpy_helper.from_array(weight, "sum.weight")]
    )
    opset = [helper.make_opsetid("", 18)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    return bytes(model.SerializeToString())
