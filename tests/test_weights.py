"""Weights and graphs from strangers, the templates, and that these still are the network."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from engines.coarse import coarse_graph
from engines.contract import GeneratorSpec, SpecMismatch
from engines.graph import (
    GRAPH_VERSION,
    MAX_GRAPH_BYTES,
    METADATA_KEY,
    parse_graph,
    read_graph,
    write_metadata,
)
from engines.grids import identity_grid, interleaved_grid, name_of, named_grid
from engines.models import (
    TIERS,
    FileModel,
    WeightsModel,
    load_model_of,
    shipped_tiers,
    template,
    template_names,
    template_tiers,
)
from engines.weights import (
    MAX_WEIGHTS_BYTES,
    WEIGHTS_VERSION,
    fill_template,
    parse_weights,
    read_weights,
    template_weights,
    write_weights,
)
from puppet.draw import DRAW_STYLE
from tests.engine_models import random_model, random_weights

TRAINED = TIERS[1:]


def _file(header: Any, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


class TestWeightsFile:
    def test_there_and_back(self, tmp_path: Path) -> None:
        tensors = {"b": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.ones(1, np.float16)}
        path = tmp_path / "w.safetensors"
        write_weights(path, tensors, tier="small", draw_style="x/1")
        weights = read_weights(path)
        np.testing.assert_array_equal(weights.tensors["b"], tensors["b"])
        assert all(t.dtype == np.float16 for t in weights.tensors.values())
        assert (weights.tier, weights.draw_style, weights.version) == (
            "small",
            "x/1",
            WEIGHTS_VERSION,
        )
        again = tmp_path / "again.safetensors"
        write_weights(again, tensors, tier="small", draw_style="x/1")
        assert path.read_bytes() == again.read_bytes()

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"", "too short"),
            (b"\x80\x02}q\x00.", "too short"),  # a pickle
            (b"\x80\x02}q\x00." * 10, "not a safetensors"),
            (struct.pack("<Q", 2**63) + b"{}", "not a safetensors"),
            (_file(b"[" * 100_000), "header is damaged"),
            (_file([]), "header is damaged"),
            (_file({}), "does not say its tier"),
            (
                _file({"a": {"dtype": "I64", "shape": [1], "data_offsets": [0, 8]}}, bytes(8)),
                "float16 or float32",
            ),
            (
                _file({"a": {"dtype": "F32", "shape": [99], "data_offsets": [0, 8]}}, bytes(8)),
                "damaged",
            ),
            (
                _file(
                    {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, b"\0\0\xc0\x7f"
                ),
                "not finite",
            ),
        ],
    )
    def test_hostile_or_damaged_files_are_named(self, data: bytes, reason: str) -> None:
        with pytest.raises(SpecMismatch, match=reason):
            parse_weights(data)

    def test_every_cut_is_noticed(self, tmp_path: Path) -> None:
        path = tmp_path / "w.safetensors"
        write_weights(path, {"a": np.ones(50)}, tier="small", draw_style="x")
        data = path.read_bytes()
        for length in range(0, len(data), 7):
            with pytest.raises(SpecMismatch):
                parse_weights(data[:length])

    def test_size_is_bounded_before_reading(self, tmp_path: Path) -> None:
        path = tmp_path / "huge.safetensors"
        with path.open("wb") as file:
            file.truncate(MAX_WEIGHTS_BYTES + 1)
        with pytest.raises(SpecMismatch, match="at most"):
            read_weights(path)
        with pytest.raises(SpecMismatch, match="cannot be read"):
            read_weights(tmp_path / "absent.safetensors")


class TestTemplates:
    def test_both_trained_tiers_are_here_and_small(self) -> None:
        assert template_tiers() == list(TRAINED)
        for tier in TRAINED:
            for name in template_names(tier):
                assert template(name).ByteSize() < 64_000

    @pytest.mark.parametrize("tier", TRAINED)
    def test_they_are_for_this_drawing(self, tier: str) -> None:
        assert random_model(tier).generator().spec.draw_style == DRAW_STYLE

    @pytest.mark.parametrize("body", ["f32", "f16"])
    def test_filled_ones_carry_the_weights_and_their_hash(self, body: str) -> None:
        weights = random_weights()
        graph = WeightsModel(weights).generator(body)
        model = onnx.load_from_string(graph.data)
        stored = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        name = "generator.motion.join_64.0.weight"
        np.testing.assert_array_equal(stored[name].astype(np.float16), weights.tensors[name])
        assert stored[name].dtype == (np.float32 if body == "f32" else np.float16)
        assert graph.body == body
        assert graph.spec.weights_sha256 == weights.sha256

    def test_half_precision_leaves_positions_and_pixels_in_float32(self) -> None:
        model = onnx.shape_inference.infer_shapes(template("small.generator.f16.onnx"))
        kinds = {v.name: v.type.tensor_type.elem_type for v in model.graph.value_info}
        kinds |= {v.name: v.type.tensor_type.elem_type for v in model.graph.input}
        kinds |= {t.name: t.data_type for t in model.graph.initializer}
        convolutions = [n for n in model.graph.node if n.op_type == "Conv"]
        grids = [n.input[1] for n in model.graph.node if n.op_type == "GridSample"]
        assert {kinds[n.output[0]] for n in convolutions} == {TensorProto.FLOAT16}
        assert {kinds[g] for g in grids} == {TensorProto.FLOAT}

    @pytest.mark.parametrize("fault", ["missing", "extra", "shape"])
    def test_other_weights_are_refused_by_name(self, fault: str) -> None:
        weights = random_weights()
        name = "generator.motion.decide.bias"
        if fault == "missing":
            del weights.tensors[name]
        elif fault == "extra":
            weights.tensors["surprise"] = np.ones(1, np.float16)
            name = "surprise"
        else:
            weights.tensors[name] = np.ones(7, np.float16)
        with pytest.raises(SpecMismatch, match=name):
            WeightsModel(weights)

    def test_weights_of_another_drawing_are_refused(self) -> None:
        from dataclasses import replace

        weights = replace(random_weights(), draw_style="old/0")
        with pytest.raises(SpecMismatch, match="old/0"):
            fill_template(template("small.generator.f32.onnx").SerializeToString(), weights)

    @pytest.mark.parametrize("tier", [t for t in shipped_tiers() if t in TRAINED])
    def test_shipped_weights_load(self, tier: str) -> None:
        model = load_model_of(tier)
        assert model.generator().spec.draw_style == DRAW_STYLE
        encoder = model.encoder()
        assert encoder is not None

    @pytest.mark.slow
    @pytest.mark.parametrize("tier", TRAINED)
    def test_templates_still_are_the_network(self, tier: str) -> None:
        """Exports the torch network anew: graph and weights must be those in engines/data."""
        torch = pytest.importorskip("torch")
        pytest.importorskip("onnxscript")
        from engines.export import make_templates
        from engines.network import Network

        state = Network(tier).state_dict()
        shapes = {n: tuple(t.shape) for n, t in state.items()}
        kept = {n: template(n) for n in template_names(tier)}
        wanted = {
            **template_weights(kept[f"{tier}.generator.f32.onnx"]),
            **template_weights(kept[f"{tier}.encoder.f32.onnx"]),
        }
        assert wanted == shapes
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            fresh = make_templates(tier, DRAW_STYLE)  # compares pictures with torch, too
        finally:
            torch.set_num_threads(threads)
        for name, model in kept.items():
            assert _operators(fresh[name]) == _operators(model), name
            assert template_weights(fresh[name]) == template_weights(model)


def _operators(model: onnx.ModelProto) -> list[str]:
    return sorted(node.op_type for node in model.graph.node)


def _changed(change: Any) -> bytes:
    model = onnx.load_from_string(coarse_graph().data)
    change(model)
    return bytes(model.SerializeToString())


def _metadata(**fields: Any) -> Any:
    def change(model: onnx.ModelProto) -> None:
        (entry,) = model.metadata_props
        entry.value = json.dumps({**json.loads(entry.value), **fields})

    return change


def _external(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"


def _huge_tensor(model: onnx.ModelProto) -> None:
    shape = numpy_helper.from_array(np.array([2**20, 2**20], np.int64), "huge_shape")
    model.graph.initializer.append(shape)
    model.graph.node.append(helper.make_node("Expand", ["scale", "huge_shape"], ["huge"]))


def _loop(model: onnx.ModelProto) -> None:
    body = helper.make_graph([], "b", [], [])
    model.graph.node.append(helper.make_node("Loop", ["", ""], ["x"], body=body))


def _other_domain(model: onnx.ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("evil.example", 1))


def _opset_20(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 20


def _free_size(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "n"


def _no_metadata(model: onnx.ModelProto) -> None:
    del model.metadata_props[:]


def _other_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = "levels"
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT


def _size_unknown(model: onnx.ModelProto) -> None:
    """As large as the driver's landmarks say: two thousand million elements, should they wish."""
    model.graph.node.extend(
        [
            helper.make_node("Cast", ["motion"], ["whole"], to=TensorProto.INT64),
            helper.make_node("Reshape", ["whole", "flat"], ["row"]),
            helper.make_node("ConstantOfShape", ["row"], ["any"]),
        ]
    )
    model.graph.initializer.append(helper.make_tensor("flat", TensorProto.INT64, [1], [-1]))


def _size_claimed(model: onnx.ModelProto) -> None:
    """As _size_unknown, in three dimensions that the file claims to be 1."""
    _size_unknown(model)
    *_, last = model.graph.node
    last.input[0] = "first"
    index = len(model.graph.node) - 1
    model.graph.node.insert(index, helper.make_node("Slice", ["row", "from", "to"], ["first"]))
    for name, value in (("from", 0), ("to", 3)):
        model.graph.initializer.append(helper.make_tensor(name, TensorProto.INT64, [1], [value]))
    claim = helper.make_tensor_value_info("any", TensorProto.FLOAT, [1, 1, 1])
    model.graph.value_info.append(claim)


def _deep_metadata(model: onnx.ModelProto) -> None:
    model.metadata_props[0].value = "[" * 4000


def _many_nodes(model: onnx.ModelProto) -> None:
    for index in range(6000):
        model.graph.node.append(helper.make_node("Identity", ["scale"], [f"i{index}"]))


class TestHostileGraphs:
    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (_no_metadata, "no webcam-puppet metadata"),
            (_metadata(version=99), "graph version 99"),
            (_metadata(role="virus"), "damaged"),
            (_metadata(tier=7), "damaged"),
            (_metadata(surprise=1), "damaged"),
            (_metadata(size=1024), "512x512"),
            (_external, "outside the file"),
            (_other_domain, r"evil\.example"),
            (_opset_20, "opset 20"),
            (_loop, "'Loop'"),
            (_huge_tensor, "'huge' has"),
            (_free_size, "motion|fixed shape|beforehand"),
            (_other_output, "picture|valid"),
            (_many_nodes, "nodes"),
            (_size_unknown, "cannot be told beforehand"),
            (_size_claimed, "'any' cannot be told beforehand"),
            (_deep_metadata, "damaged"),
        ],
    )
    def test_are_refused_with_the_reason(self, change: Any, reason: str) -> None:
        with pytest.raises(SpecMismatch, match=reason):
            parse_graph(_changed(change))

    @pytest.mark.parametrize("data", [b"", b"GIF89a", bytes(1000), b"\xff" * 1000])
    def test_what_is_no_graph(self, data: bytes) -> None:
        with pytest.raises(SpecMismatch):
            parse_graph(data)

    def test_every_cut_is_noticed(self) -> None:
        data = coarse_graph().data
        for length in np.linspace(0, len(data) - 1, 40).astype(int):
            with pytest.raises(SpecMismatch):
                parse_graph(data[:length])

    def test_another_drawing_is_refused_with_a_sentence(self) -> None:
        data = random_model().generator().data
        assert parse_graph(data, expected_draw_style=DRAW_STYLE).spec.tier == "small"
        with pytest.raises(SpecMismatch, match="Create the avatar again"):
            parse_graph(data, expected_draw_style="newer/2")

    def test_size_is_bounded_before_reading(self, tmp_path: Path) -> None:
        path = tmp_path / "huge.onnx"
        with path.open("wb") as file:
            file.truncate(MAX_GRAPH_BYTES + 1)
        with pytest.raises(SpecMismatch, match="at most"):
            read_graph(path)

    def test_an_avatar_s_own_file_runs(self, tmp_path: Path) -> None:
        path = tmp_path / "generator.onnx"
        path.write_bytes(random_model().generator().data)
        assert FileModel(path).tier == "small"
        encoder = random_model().encoder()
        assert encoder is not None
        path.write_bytes(encoder.data)
        with pytest.raises(SpecMismatch, match="no generator"):
            _ = FileModel(path).tier

    def test_metadata_is_replaced_not_repeated(self) -> None:
        model = onnx.load_from_string(coarse_graph().data)
        spec = GeneratorSpec("coarse", "any", "f" * 64, GRAPH_VERSION)
        write_metadata(model, spec, role="generator", body="f32")
        assert [p.key for p in model.metadata_props] == [METADATA_KEY]
        assert parse_graph(model.SerializeToString()).spec == spec


class TestGrids:
    @pytest.mark.parametrize("name", ["identity_grid_512", "interleaved_grid_256"])
    def test_is_found_by_its_name_and_named_by_its_values(self, name: str) -> None:
        grid = named_grid(name)
        assert grid is not None
        assert name_of(grid) == name

    @pytest.mark.parametrize("name", ["identity_grid_", "interleaved_grid_99999999", "grid_64"])
    def test_another_name_or_an_absurd_size_is_none(self, name: str) -> None:
        assert named_grid(name) is None

    def test_interleaving_enlarges_both_planes_as_sampling_each_would(self) -> None:
        torch = pytest.importorskip("torch")

        def sample(planes: Any, grid: Any) -> Any:
            return torch.nn.functional.grid_sample(
                planes, torch.from_numpy(grid), padding_mode="border", align_corners=False
            )

        planes = torch.rand(1, 2, 128, 128, generator=torch.Generator().manual_seed(0))
        wanted = sample(planes, identity_grid(512)).permute(0, 2, 3, 1)
        stacked = sample(planes.reshape(1, 1, 256, 128), interleaved_grid(512))
        assert torch.allclose(stacked.reshape(1, 512, 512, 2), wanted, atol=1e-5)
