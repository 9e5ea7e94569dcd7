"""Every way to run a generator: a runtime on a device, how to ask for it, how to open it."""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from engines.cache import EngineCache
from engines.contract import Generator, RuntimeUnavailable
from engines.models import Model, WeightsModel

AUTO = "auto"
EXACT = "exact"


@dataclass(frozen=True, slots=True)
class Wish:
    """How a generator is wanted."""

    precision: str = AUTO
    """'auto', 'f32', 'bf16', 'f16' or 'int8'."""
    threads: int | None = None
    """CPU threads; None for the runtime's default."""


@dataclass(frozen=True, slots=True)
class Way:
    """A runtime on a device: how to ask whether it can run, and how to open it."""

    runtime: str
    device: str
    is_gpu: bool
    automatic: bool
    """Tried by 'auto'; the others run on request only."""
    probe: Callable[[], None]
    """Raises RuntimeUnavailable."""
    open: Callable[[Model, Wish, EngineCache], Generator]
    exact: str = AUTO
    """The precision for pictures that must come out the same each time: 'auto' may try out which
    is quickest just now."""

    @property
    def largest_tier(self) -> str:
        """That 'auto' takes here. 'base' is three times the work of 'small': little for a graphics
        card, and a delay that is seen on the GPU inside a laptop's processor."""
        return "base" if self.device == "cuda" else "small"


def ways() -> tuple[Way, ...]:
    """Every way to run, in the order of choice."""
    return (
        _tensorrt("tensorrt_rtx"),
        _tensorrt("tensorrt"),
        _torch("cuda"),
        _onnxruntime("cuda", gpu=True),
        _onnxruntime("directml", gpu=True),
        _openvino("CPU"),
        _openvino("GPU"),
        _openvino("NPU"),
        _onnxruntime("coreml", gpu=True),
        _onnxruntime("cpu"),
        _torch("cpu"),
    )


def usable_ways() -> list[Way]:
    """Those of ways() that 'auto' may try and that can be gone here."""
    found = []
    for way in ways():
        if way.automatic:
            with suppress(Exception):  # a library's edge; candidates() tells the reason
                way.probe()
                found.append(way)
    return found


def _tensorrt(module: str) -> Way:
    def probe() -> None:
        from engines.runtime_tensorrt import explain_missing

        explain_missing(module)

    def open_way(model: Model, wish: Wish, cache: EngineCache) -> Generator:
        from engines.runtime_tensorrt import TensorRtGenerator

        if wish.precision not in (AUTO, "f32", "f16"):
            raise RuntimeUnavailable(f"TensorRT is built in f16 or f32, not in {wish.precision}.")
        graph = model.generator("f32" if wish.precision == "f32" else "f16")
        return TensorRtGenerator(graph, cache, module=module)

    return Way(module, "cuda", True, True, probe, open_way)


def _torch(device: str) -> Way:
    # Imported by name: torch is no part of the live loop, and this is its only way in.
    module = "engines.runtime_torch"

    def probe() -> None:
        if device == "cuda":
            from engines.nvidia import find_gpu

            find_gpu()
        found = importlib.util.find_spec("torch")
        if found is None or found.origin is None:
            raise RuntimeUnavailable("torch is not installed. Run: pip install torch")
        if device == "cuda" and not _is_built_for_cuda(Path(found.origin).parent):
            raise RuntimeUnavailable(
                "The torch that is installed was built without CUDA. Install one that has it: "
                "https://pytorch.org/get-started names the command."
            )

    def open_way(model: Model, wish: Wish, cache: EngineCache) -> Generator:
        if not isinstance(model, WeightsModel):
            raise RuntimeUnavailable("The torch runtime runs trained weights only.")
        try:
            runtime = importlib.import_module(module)
        except (ImportError, OSError) as error:
            raise RuntimeUnavailable(f"torch does not load: {error}") from error
        generator: Generator = runtime.TorchGenerator(
            model.generator(), model.weights, device=device, precision=wish.precision
        )
        return generator

    return Way("torch", device, device == "cuda", device == "cuda", probe, open_way)


def _is_built_for_cuda(torch: Path) -> bool:
    """From torch's folder, without importing it, which takes seconds."""
    try:
        text = (torch / "version.py").read_text(encoding="utf-8")
    except OSError:
        return True  # opening it will tell
    return re.search(r"^cuda\b[^=]*=\s*['\"]", text, re.MULTILINE) is not None


def _openvino(device: str) -> Way:
    def probe() -> None:
        from engines.runtime_openvino import available_devices

        devices = available_devices()
        if device not in {name.split(".")[0] for name in devices}:
            raise RuntimeUnavailable(
                f"OpenVINO sees no {device} here, only {', '.join(devices)}. "
                "An Intel GPU or NPU needs its driver."
            )

    def open_way(model: Model, wish: Wish, cache: EngineCache) -> Generator:
        from engines.runtime_openvino import OpenVinoGenerator

        return OpenVinoGenerator(
            model.generator("f32"),
            device=device,
            precision=wish.precision,
            threads=wish.threads,
            ranges=model.ranges,
        )

    on_cpu = device == "CPU"
    exact = "f32" if on_cpu else AUTO
    return Way("openvino", device, not on_cpu, on_cpu, probe, open_way, exact)


def _onnxruntime(device: str, *, gpu: bool = False) -> Way:
    def probe() -> None:
        from engines.runtime_onnxruntime import explain_missing

        if device == "cuda":
            from engines.nvidia import find_gpu

            find_gpu()
        explain_missing(device)

    def open_way(model: Model, wish: Wish, cache: EngineCache) -> Generator:
        from engines.runtime_onnxruntime import OnnxRuntimeGenerator

        bodies: Mapping[str, str] = {AUTO: "f16" if gpu else "f32", "f32": "f32", "f16": "f16"}
        if wish.precision not in bodies or (wish.precision == "f16" and not gpu):
            raise RuntimeUnavailable(
                f"ONNX Runtime does not compute in {wish.precision} on {device}; use f32."
            )
        graph = model.generator(bodies[wish.precision])
        return OnnxRuntimeGenerator(graph, device=device, threads=wish.threads)

    return Way("onnxruntime", device, gpu, device != "coreml", probe, open_way)
