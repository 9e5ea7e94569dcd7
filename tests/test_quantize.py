"""8-bit convolutions: where they are put, what is believed of a file, what a network is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from calibrate.ranges import measuring, united
from engines.cache import EngineCache
from engines.contract import RuntimeUnavailable, SpecMismatch
from engines.discreet import import_onnxruntime, import_openvino
from engines.models import load_model_of, shipped_tiers
from engines.overflow import pairs_overflow
from engines.parity import check_parity, make_reference
from engines.quantize import IN_FLOAT, balance, check_ranges, quantize
from engines.ways import Wish, ways
from engines.weights import parse_weights, read_weights, write_weights
from tests.engine_models import measured_model


def test_every_measured_convolution_but_the_finest_gets_integers() -> None:
    model = measured_model()
    graph = onnx.load_from_string(quantize(model.generator("f32").data, model.ranges))
    onnx.checker.check_model(graph, full_check=True)
    makers = {name: node for node in graph.graph.node for name in node.output}
    convolutions = [node for node in graph.graph.node if node.op_type == "Conv"]
    kept = [n for n in convolutions if n.input[1].removesuffix(".weight") in IN_FLOAT]
    assert len(kept) == len(IN_FLOAT)
    for node in convolutions:
        if node not in kept:
            assert makers[node.input[0]].op_type == makers[node.input[1]].op_type
            assert makers[node.input[1]].op_type == "DequantizeLinear"
    integers = [t for t in graph.graph.initializer if t.name.endswith(".q.kernel")]
    assert len(integers) == len(convolutions) - len(kept) == len(model.ranges) - 1
    assert {t.data_type for t in integers} == {onnx.TensorProto.INT8}


def test_weights_are_rounded_to_a_127th_of_each_channel_s_greatest() -> None:
    model = measured_model()
    graph = onnx.load_from_string(quantize(model.generator("f32").data, model.ranges))
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in graph.graph.initializer}
    name = "generator.synthesis.blocks.0.first"
    integers, scale = tensors[f"{name}.q.kernel"], tensors[f"{name}.q.kernel_scale"]
    weight = model.weights.tensors[f"{name}.weight"].astype(np.float32)
    weight /= tensors[f"{name}.q.factors"].reshape(-1, 1, 1)
    error = np.abs(integers * scale[:, None, None, None] - weight)
    assert (error <= scale[:, None, None, None] / 2 + 1e-7).all()
    assert (np.abs(integers).reshape(len(integers), -1).max(1) == 127).all()


@pytest.mark.parametrize("channels", [3, 16])
def test_where_pairs_overflow_no_two_neighbours_weigh_more_than_16_bits_hold(channels: int) -> None:
    weight = np.random.default_rng(0).normal(size=(8, channels, 3, 3)).astype(np.float32)
    weight[0] = 1  # the worst there is
    unit = np.array(((0,), (1,)), np.float32)
    data = quantize(convolution(weight), {"a": unit}, pairs_overflow=True)
    graph = onnx.load_from_string(data).graph
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in graph.initializer}
    integers = tensors["a.q.kernel"].astype(np.int32)
    for first in range(0, channels, 2):
        pair = integers[:, first : first + 2]
        for part in (np.maximum(pair, 0), np.maximum(-pair, 0)):
            assert part.sum(1).max() * 255 <= np.iinfo(np.int16).max
    assert np.abs(integers).max() > 80, "two signs, or an odd one out, leave more room than half"
    again = integers * tensors["a.q.kernel_scale"].reshape(-1, 1, 1, 1)
    assert np.abs(again - weight).max() <= tensors["a.q.kernel_scale"].max() / 2 + 1e-6


@pytest.mark.parametrize(("channels", "side"), [(3, 1), (16, 3), (48, 3), (112, 3), (23, 3)])
def test_openvino_adds_up_in_8_bits_what_this_processor_can(channels: int, side: int) -> None:
    """Neighbours alike and inputs at their greatest: what overflows if anything does."""
    rng = np.random.default_rng(0)
    weight = rng.uniform(0.8, 1, (16, channels, side, side)).astype(np.float32)
    weight *= rng.choice((-1, 1), (16, (channels + 1) // 2)).repeat(2, 1)[:, :channels, None, None]
    x = np.ones((1, channels, 16, 16), np.float32)
    core = import_openvino().Core()
    unit = np.array(((0,), (1,)), np.float32)
    data = quantize(convolution(weight), {"a": unit}, pairs_overflow=pairs_overflow(core))
    settings = {"INFERENCE_PRECISION_HINT": "f32"}  # of what is not in 8 bits
    compiled = core.compile_model(core.read_model(data), "CPU", settings)
    found = compiled.create_infer_request().infer({"x": x})[0][0, :, 8, 8]
    exact = weight.sum((1, 2, 3))
    np.testing.assert_allclose(found, exact, atol=channels * side * side / 127)


def test_channels_that_differ_share_the_steps_of_8_bits() -> None:
    """A channel of hundredths beside one of hundreds: balanced, both have steps of their own."""
    rng = np.random.default_rng(0)
    x = (rng.uniform(-1, 1, (1, 2, 8, 8)) * np.reshape((0.01, 100), (2, 1, 1))).astype(np.float32)
    weight = np.array([[[[100]], [[0.01]]]], np.float32)
    exact = np.einsum("nchw,oc->nohw", x, weight[:, :, 0, 0])
    limits = np.array(((-0.01, -100), (0.01, 100)), np.float32)
    apart, together = limits, np.array(((-100,), (100,)), np.float32)
    off = [np.abs(run_quantized(x, weight, each) - exact).max() for each in (apart, together)]
    assert off[0] < 0.1
    assert off[1] > 0.5  # the small channel is all but lost
    assert (balance(weight, together) == 1).all()


def test_channels_that_are_always_empty_are_balanced_too() -> None:
    limits = np.array(((0, 0, -1), (2, 0, 1)), np.float32)
    factors = balance(np.ones((4, 3, 3, 3), np.float32), limits)
    assert np.isfinite(factors).all()
    assert (factors > 0).all()
    assert np.isfinite(balance(np.zeros((4, 3, 3, 3), np.float32), limits)).all()


def run_quantized(
    x: NDArray[np.float32], weight: NDArray[np.float32], limits: NDArray[np.float32]
) -> NDArray[np.float32]:
    """What a convolution in 8 bits makes of x (1, channels, h, w)."""
    quantized = quantize(convolution(weight), {"a": limits})
    runtime = import_onnxruntime()
    (y,) = runtime.InferenceSession(quantized, providers=["CPUExecutionProvider"]).run(
        None, {"x": x}
    )
    return np.asarray(y, np.float32)


def convolution(weight: NDArray[np.float32]) -> bytes:
    """The ONNX bytes of a graph that is one convolution, of x to y by a.weight."""
    from onnx import helper, numpy_helper

    def shaped(name: str, channels: int) -> onnx.ValueInfoProto:
        shape = (1, channels, None, None)
        return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)

    outputs, inputs, side, _ = weight.shape
    node = helper.make_node("Conv", ["x", "a.weight"], ["y"], pads=[side // 2] * 4)
    graph = helper.make_graph(
        [node], "g", [shaped("x", inputs)], [shaped("y", outputs)],
        [numpy_helper.from_array(weight, "a.weight")],
    )  # fmt: skip
    opset = [helper.make_opsetid("", 18)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString())


def test_without_ranges_a_graph_stays_as_it_is() -> None:
    data = measured_model().generator("f32").data
    assert {n.op_type for n in onnx.load_from_string(quantize(data, {})).graph.node} == {
        n.op_type for n in onnx.load_from_string(data).graph.node
    }


@pytest.mark.parametrize(
    "ranges",
    [[], {"a": [0, 0]}, {"a": [1, 2]}, {"a": [0, float("nan")]}, {"a": [0, 1e30]}, {"a": [0]},
     {"a": None}, {"a": [[0, 0], [1]]}, {"a": [[0, 0], [0, 0]]}, {"a": [[0, 1], [1, 2]]},
     {"a": [[], []]}, {"a": [[[0]], [[1]]]}, {str(n): [0, 1] for n in range(2000)}],
)  # fmt: skip
def test_ranges_that_make_no_sense_are_refused(ranges: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        check_ranges(ranges)


def test_ranges_travel_with_the_weights(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    tensors = {"a.weight": np.ones((3, 2, 1, 1), np.float32)}
    limits = np.array(((-0.5, 0), (2, 3)), np.float32)
    write_weights(path, tensors, tier="small", draw_style="x", ranges={"a": limits})
    assert (read_weights(path).ranges["a"] == limits).all()
    hostile = path.read_bytes().replace(b"-0.5", b"99.5")
    with pytest.raises(SpecMismatch, match="the range of 'a' is 0"):
        parse_weights(hostile)


@pytest.mark.parametrize("shape", [(3, 3, 1, 1), (3,)])
def test_ranges_of_other_channels_than_the_weights_have_are_refused(
    shape: tuple[int, ...], tmp_path: Path
) -> None:
    path = tmp_path / "w.safetensors"
    limits = np.array(((-0.5, 0), (2, 3)), np.float32)
    tensors = {"a.weight": np.ones(shape, np.float32)}
    write_weights(path, tensors, tier="small", draw_style="x", ranges={"a": limits})
    with pytest.raises(SpecMismatch, match="ranges for 8 bits do not fit"):
        read_weights(path)


def test_ranges_of_all_channels_together_are_read_as_well() -> None:
    """As files of earlier versions have them."""
    assert check_ranges({"a": [-0.5, 2.0]})["a"].tolist() == [[-0.5], [2.0]]


def test_what_comes_into_convolutions_is_measured_over_all_passes() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 1, 1))
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor((2.0, -1.0)).reshape(2, 1, 1, 1))
        network[0].bias.fill_(0.0)
        with measuring(network) as ranges:
            network(torch.full((1, 1, 4, 4), 3.0))
            network(torch.full((1, 1, 4, 4), -1.0))
        network(torch.full((1, 1, 4, 4), 50.0))  # no longer
    assert {name: limits.tolist() for name, limits in ranges.items()} == {
        "generator.0": [[-1], [3]], "generator.2": [[0, 0], [6, 1]]
    }  # fmt: skip
    both = united(ranges, {"generator.0": np.array(((-2,), (1,)), np.float32)})
    assert {name: limits.tolist() for name, limits in both.items()} == {"generator.0": [[-2], [3]]}


@pytest.mark.parametrize("tier", shipped_tiers())
def test_shipped_networks_pass_the_gate_in_8_bits(tier: str, tmp_path: Path) -> None:
    """Where the gate refuses 8 bits most computers would take twice the time."""
    model, cache = load_model_of(tier), EngineCache(tmp_path)
    way = next(w for w in ways() if (w.runtime, w.device) == ("openvino", "CPU"))
    try:
        generator = way.open(model, Wish("int8"), cache)
    except RuntimeUnavailable as error:
        pytest.skip(str(error))
    assert check_parity(generator, make_reference(model, cache)).mean < 0.4
    generator.close()
