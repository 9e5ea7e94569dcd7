"""TensorRT engines from ONNX graphs: one thin layer over tensorrt 10, 11 and TensorRT for RTX.

TensorRT for RTX builds on any computer, with or without a GPU, for the architectures it is told;
classic TensorRT builds on and for the GPU at hand. Engines are bound to the exact version of the
module that built them, hence the cache key.
"""

from __future__ import annotations

import importlib
import re
import time
from collections import deque
from dataclasses import dataclass
from functools import cache
from typing import Any

from engines.cache import CacheKey, EngineCache
from engines.contract import EngineFailed, RuntimeUnavailable
from engines.graph import Graph

RTX = "tensorrt_rtx"
CLASSIC = "tensorrt"
DEFAULT_TARGETS = ("SM86", "SM89", "SM120")
"""Ampere, Ada and Blackwell RTX cards; SM75 (Turing) and SM80 (A100) on request."""
TARGETS = ("SM75", "SM80", "SM86", "SM89", "SM120", "SM121")
_TARGET_BITS = {"SM75": 1, "SM80": 2, "SM86": 4, "SM89": 8, "SM120": 16, "SM121": 32}
_HEADER_TARGETS = 0x20
_LAYER = re.compile(r"Name: (\S+), LayerType: (\w+), Inputs: (.*?), Outputs: (.*?), TacticName")
_INSTALL = {
    RTX: 'pip install "webcam-puppet[tensorrt]"',
    CLASSIC: "see NVIDIA's installation guide for TensorRT 10 or 11",
}


@dataclass(frozen=True, slots=True)
class Layer:
    """One row of the engine's layer table."""

    name: str
    kind: str
    """'correlation' is a convolution, 'kgen' a generated kernel, 'runtime_function' an opaque
    library call (costs layout changes), 'signal' and 'wait' are no work."""
    outputs: str
    """Text with dimensions, strides and data types."""


@dataclass(frozen=True, slots=True)
class BuiltEngine:
    """A serialized engine and what it is."""

    data: bytes
    module: str
    version: str
    targets: tuple[str, ...]
    seconds: float
    layers: tuple[Layer, ...]
    """Empty unless asked for."""


def load_module(name: str) -> Any:
    """Imports tensorrt_rtx or tensorrt. Raises RuntimeUnavailable."""
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:
        raise RuntimeUnavailable(
            f"{name} is not installed or does not load ({error}). To use it: {_INSTALL[name]}"
        ) from error


def build_engine(
    graph: Graph,
    *,
    module: str = RTX,
    targets: tuple[str, ...] = DEFAULT_TARGETS,
    with_layers: bool = False,
) -> BuiltEngine:
    """Builds an engine, strongly typed: precisions are those written in the graph.

    Targets are for RTX only; classic TensorRT builds for the GPU at hand. Takes about a second.
    Raises RuntimeUnavailable (module missing, unknown target) and EngineFailed.
    """
    trt = load_module(module)
    log = _logger(module)
    log.clear(keep_all=with_layers)
    started = time.monotonic()
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(graph.data):
        errors = "; ".join(str(parser.get_error(i).desc()) for i in range(parser.num_errors))
        raise EngineFailed(f"TensorRT does not take the {graph.spec.tier} generator: {errors}")
    config = builder.create_builder_config()
    if module == RTX:
        _set_targets(trt, config, targets)
    if with_layers:
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineFailed(
            f"{module} {trt.__version__} cannot build the {graph.spec.tier} generator for "
            f"{', '.join(targets)}: {log.last_error() or 'no reason given'}"
        )
    data = bytes(memoryview(plan))
    layers = _layer_table(log.lines) if with_layers else ()
    seconds = time.monotonic() - started
    return BuiltEngine(data, module, trt.__version__, targets, seconds, layers)


def cached_engine(
    graph: Graph, cache: EngineCache, *, module: str, targets: tuple[str, ...]
) -> tuple[bytes, CacheKey]:
    """The engine from the cache, or built and kept. For classic TensorRT `targets` names the GPU
    at hand. Raises like build_engine."""
    key = engine_key(graph, module=module, targets=targets)
    data = cache.get_or_build(key, lambda: build_engine(graph, module=module, targets=targets).data)
    return data, key


def engine_key(graph: Graph, *, module: str, targets: tuple[str, ...]) -> CacheKey:
    """What an engine depends on."""
    shapes = ";".join(f"{n}{list(s.shape)}" for n, s in sorted(graph.inputs.items()))
    return CacheKey(
        graph_sha256=graph.sha256,
        kind="engine",
        module=module,
        version=str(load_module(module).__version__),
        targets=tuple(sorted(targets)),
        precision=graph.body,
        shapes=shapes,
    )


def engine_targets(data: bytes) -> tuple[str, ...]:
    """Architectures named in the header of an engine for RTX (observed, undocumented: for
    messages and tests only)."""
    bits = int.from_bytes(data[_HEADER_TARGETS : _HEADER_TARGETS + 4], "little")
    return tuple(name for name, bit in _TARGET_BITS.items() if bits & bit)


def shared_logger(module: str) -> Any:
    """The module's one logger: TensorRT keeps the first it is given for the whole process."""
    return _logger(module)


def _set_targets(trt: Any, config: Any, targets: tuple[str, ...]) -> None:
    unknown = sorted(set(targets) - set(TARGETS))
    if unknown or not targets:
        raise RuntimeUnavailable(
            f"TensorRT for RTX has no target {', '.join(unknown) or '(none given)'}; it has "
            f"{', '.join(TARGETS)}. Hopper and other data-centre GPUs need classic TensorRT."
        )
    config.num_compute_capabilities = len(targets)
    for index, target in enumerate(targets):
        config.set_compute_capability(getattr(trt.ComputeCapability, target), index)


def _layer_table(lines: list[str]) -> tuple[Layer, ...]:
    found: dict[str, Layer] = {}  # the log prints the table more than once
    for name, kind, _, outputs in _LAYER.findall("\n".join(lines)):
        found.setdefault(name, Layer(name, kind, outputs))
    return tuple(found.values())


@cache
def _logger(module: str) -> Any:
    trt: Any = load_module(module)
    serious = (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR)

    class Log(trt.ILogger):  # type: ignore[misc]
        """Keeps the last errors, and every line while a layer table is wanted."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.clear(keep_all=False)

        def clear(self, *, keep_all: bool) -> None:
            self.errors: deque[str] = deque(maxlen=4)
            self.lines: list[str] = []
            self._keep_all = keep_all

        def log(self, severity: Any, message: str) -> None:
            if severity in serious:
                self.errors.append(message)
            if self._keep_all:
                self.lines.append(message)

        def last_error(self) -> str:
            return self.errors[-1] if self.errors else ""

    return Log()
