"""The real TensorRT engine, built without a GPU: layers, targets, determinism, size.

Running an engine needs a supported GPU (marker gpu): where there is none, those tests say so.
"""

from __future__ import annotations

import re
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

from engines.build import (
    CLASSIC,
    DEFAULT_TARGETS,
    RTX,
    BuiltEngine,
    build_engine,
    cached_engine,
    engine_key,
    engine_targets,
    load_module,
)
from engines.cache import EngineCache
from engines.coarse import coarse_graph
from engines.contract import EngineFailed, RuntimeUnavailable
from engines.graph import Graph
from engines.parity import check_parity, make_reference
from engines.runtime_tensorrt import TensorRtGenerator, explain_missing
from puppet.cli.build import build
from puppet.contract import UserError
from tests.engine_models import random_model

try:
    load_module(RTX)
except RuntimeUnavailable as missing:
    pytest.skip(str(missing), allow_module_level=True)

NO_WORK = ("signal", "wait")
MEMBERS = {"small": 1, "base": 3}
MOST_KERNELS = {"small": 54, "base": 110}  # 43 and 94
RUNTIME_FUNCTIONS = {"__myl_Resi"}  # enlarges the motion branch's features for the synthesis
MOST_BYTES = {"small": 14_500_000, "base": 17_500_000}  # 13.9 and 16.8; 5 are sampling grids


@pytest.fixture(scope="module", params=["small", "base"])
def tier(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def graph(tier: str) -> Graph:
    return random_model(tier).generator("f16")


@pytest.fixture(scope="module")
def engine(graph: Graph) -> BuiltEngine:
    return build_engine(graph, with_layers=True)


def test_layers_are_fused_kernels_in_half_precision(engine: BuiltEngine, tier: str) -> None:
    kinds = Counter(layer.kind for layer in engine.layers)
    kernels = sum(n for kind, n in kinds.items() if kind not in NO_WORK)
    assert kinds["correlation"] >= 20 * MEMBERS[tier]
    assert kernels <= MOST_KERNELS[tier], kinds
    functions = [layer.name for layer in engine.layers if layer.kind == "runtime_function"]
    assert {name.partition("_myl0")[0] for name in functions} <= RUNTIME_FUNCTIONS, functions
    assert len(functions) <= MEMBERS[tier]
    convolutions = [x for x in engine.layers if x.name.startswith("node_conv2d")]
    assert len(convolutions) >= 20 * MEMBERS[tier]
    for layer in convolutions:
        assert re.findall(r"Datatype: (\w+)", layer.outputs) == ["Half"], layer
        assert "NHWC" in layer.outputs, layer


def test_positions_and_pixels_stay_in_float32(engine: BuiltEngine) -> None:
    sampled = [x for x in engine.layers if "Grid" in x.name and "Cast" not in x.name]
    assert len(sampled) >= 2  # the builder fuses the samplings of positions into one kernel
    for layer in sampled:
        assert set(re.findall(r"Datatype: (\w+)", layer.outputs)) == {"Float"}, layer
    assert "UInt8" in engine.layers[-1].outputs


def test_targets_size_and_time(engine: BuiltEngine, tier: str) -> None:
    assert engine_targets(engine.data) == DEFAULT_TARGETS
    assert engine.version == load_module(RTX).__version__
    assert len(engine.data) <= MOST_BYTES[tier]
    assert engine.seconds < 60  # 0.3 s when nothing else runs; this only catches a hang


def test_two_builds_are_byte_identical(graph: Graph) -> None:
    assert build_engine(graph).data == build_engine(graph).data


@pytest.mark.parametrize("targets", [("SM75",), ("SM80",), ("SM86",), ("SM120", "SM121")])
def test_other_targets_on_request(targets: tuple[str, ...]) -> None:
    graph = random_model("small").generator("f16")
    assert engine_targets(build_engine(graph, targets=targets).data) == targets


def test_coarse_and_float32_build_too() -> None:
    assert build_engine(coarse_graph()).data
    assert build_engine(random_model("small").generator("f32")).data


@pytest.mark.parametrize("targets", [("SM90",), (), ("SM89", "sm_100")])
def test_targets_that_do_not_exist_are_refused(targets: tuple[str, ...]) -> None:
    with pytest.raises(RuntimeUnavailable, match="has no target"):
        build_engine(coarse_graph(), targets=targets)


def test_a_graph_it_does_not_take_is_named() -> None:
    from dataclasses import replace

    graph = coarse_graph()
    with pytest.raises(EngineFailed, match="does not take the coarse"):
        build_engine(replace(graph, data=graph.data[:1000]))


def test_built_once_then_cached_and_rebuilt_when_damaged(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    graph = coarse_graph()
    first, key = cached_engine(graph, cache, module=RTX, targets=("SM89",))
    (file,) = tmp_path.glob("engine-*.bin")
    file.write_bytes(file.read_bytes()[:-100])
    again, same_key = cached_engine(graph, cache, module=RTX, targets=("SM89",))
    assert first == again == file.read_bytes()
    assert key == same_key
    _, other = cached_engine(graph, cache, module=RTX, targets=("SM86",))
    assert other.digest != key.digest
    assert '"targets"' in next(tmp_path.glob("engine-*.json")).read_text()


def _has(module: str) -> bool:
    try:
        explain_missing(module)
    except RuntimeUnavailable:
        return False
    return True


@pytest.mark.skipif(find_spec(CLASSIC) is not None, reason="classic TensorRT is installed")
def test_a_module_that_is_missing_says_how_to_get_it() -> None:
    with pytest.raises(RuntimeUnavailable, match="installation guide"):
        load_module(CLASSIC)


class TestCommand:
    def test_engines_land_where_a_run_looks_for_them(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PUPPET_CACHE", str(tmp_path))
        build(base=True, tier="coarse", targets="sm86, SM89")
        for target in ("SM86", "SM89"):
            key = engine_key(coarse_graph(), module=RTX, targets=(target,))
            engine = EngineCache(tmp_path).load(key)
            assert engine is not None
            assert engine_targets(engine) == (target,)

    def test_a_folder_for_another_computer_is_a_cache_for_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PUPPET_CACHE", str(tmp_path / "cache"))
        out = tmp_path / "out"
        build(base=True, tier="coarse", targets="SM120", out=out)
        assert not (tmp_path / "cache").exists()
        build(base=True, tier="small", targets="SM120", out=out)  # beside it, not in its place
        monkeypatch.setenv("PUPPET_CACHE", str(out))
        key = engine_key(coarse_graph(), module=RTX, targets=("SM120",))
        engine = EngineCache().load(key)
        assert engine is not None
        assert engine_targets(engine) == ("SM120",)
        assert len(list(out.glob("engine-*.bin"))) == 2

    def test_mistakes_are_named(self) -> None:
        with pytest.raises(UserError, match="--base"):
            build()
        with pytest.raises(UserError, match="openvino"):
            build(base=True, runtime="openvino")
        with pytest.raises(RuntimeUnavailable, match="SM99"):
            build(base=True, tier="coarse", targets="SM99")


@pytest.mark.skipif(_has(RTX), reason="a GPU for it is here")
def test_without_a_gpu_running_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(RuntimeUnavailable, match=r"driver|GPU|serve"):
        TensorRtGenerator(coarse_graph(), EngineCache(tmp_path), module=RTX)


@pytest.mark.gpu
@pytest.mark.parametrize("module", [RTX, CLASSIC])
def test_running_on_the_gpu(module: str, tmp_path: Path) -> None:
    try:
        explain_missing(module)
    except RuntimeUnavailable as error:
        pytest.skip(f"not run: {error}")
    cache = EngineCache(tmp_path)
    model = random_model("small")
    for _ in range(2):  # built and compiled, then both from the cache
        generator = TensorRtGenerator(model.generator("f16"), cache, module=module)
        check_parity(generator, make_reference(model, cache))
        generator.close()
