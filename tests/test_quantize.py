"""8-bit convolutions: where they are put, what is believed of a file, what a network is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from calibrate.ranges import measuring, united
from engines.cache import EngineCache
from engines.contract import RuntimeUnavailable, SpecMismatch
from engines.models import load_model_of, shipped_tiers
from engines.parity import check_parity, make_reference
from engines.quantize import IN_FLOAT, check_ranges, quantize
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
    error = np.abs(integers * scale[:, None, None, None] - weight)
    assert (error <= scale[:, None, None, None] / 2 + 1e-7).all()
    assert (np.abs(integers).reshape(len(integers), -1).max(1) == 127).all()


def test_without_ranges_a_graph_stays_as_it_is() -> None:
    data = measured_model().generator("f32").data
    assert {n.op_type for n in onnx.load_from_string(quantize(data, {})).graph.node} == {
        n.op_type for n in onnx.load_from_string(data).graph.node
    }


@pytest.mark.parametrize(
    "ranges",
    [[], {"a": [0, 0]}, {"a": [1, 2]}, {"a": [0, float("nan")]}, {"a": [0, 1e30]}, {"a": [0]},
     {"a": None}, {str(n): [0, 1] for n in range(2000)}],
)  # fmt: skip
def test_ranges_that_make_no_sense_are_refused(ranges: Any) -> None:
    with pytest.raises((ValueError, TypeError)):
        check_ranges(ranges)


def test_ranges_travel_with_the_weights(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    tensors = {"a": np.ones(3, np.float32)}
    write_weights(path, tensors, tier="small", draw_style="x", ranges={"a": (-0.5, 2.0)})
    assert read_weights(path).ranges == {"a": (-0.5, 2.0)}
    hostile = path.read_bytes().replace(b"-0.5", b"99.5")
    with pytest.raises(SpecMismatch, match="does not say its tier"):
        parse_weights(hostile)


def test_what_comes_into_convolutions_is_measured_over_all_passes() -> None:
    network = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU(), nn.Conv2d(1, 1, 1))
    with torch.no_grad():
        network[0].weight.fill_(2.0)
        network[0].bias.fill_(0.0)
        with measuring(network) as ranges:
            network(torch.full((1, 1, 4, 4), 3.0))
            network(torch.full((1, 1, 4, 4), -1.0))
        network(torch.full((1, 1, 4, 4), 50.0))  # no longer
    assert ranges == {"generator.0": (-1.0, 3.0), "generator.2": (0.0, 6.0)}
    assert united(ranges, {"generator.0": (-2.0, 1.0)}) == {"generator.0": (-2.0, 3.0)}


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
