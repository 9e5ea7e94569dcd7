"""What is said of an NVIDIA GPU that cannot be used: the driver's answers are injected faults."""

from __future__ import annotations

import ctypes
import logging
from importlib.metadata import distributions
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from engines import runtime_tensorrt
from engines.build import CLASSIC, RTX
from engines.cache import EngineCache
from engines.coarse import coarse_graph, coarse_portrait
from engines.contract import EngineFailed, RuntimeUnavailable
from engines.cuda import Device
from engines.nvidia import Gpu, check_driver, find_gpu
from engines.parity import reference_images, reference_portrait_arrays
from engines.runtime_tensorrt import TensorRtGenerator


@pytest.mark.parametrize(
    ("code", "remedy"), [(803, "reboot"), (100, "plugged in"), (35, "update"), (999, "nvidia-smi")]
)
def test_a_driver_without_a_gpu_names_the_remedy(
    code: int, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Driver:
        def cuInit(self, flags: int) -> int:
            return code

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver())
    with pytest.raises(RuntimeUnavailable, match=rf"CUDA error {code}.*{remedy}"):
        find_gpu()


def test_no_driver_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise OSError("no such library")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    with pytest.raises(RuntimeUnavailable, match="No NVIDIA driver"):
        find_gpu()


def test_a_build_for_a_newer_cuda_than_the_driver_s_is_said(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("tensorrt_rtx_cu13", "tensorrt_rtx_cu13_libs", "tensorrt_rtx"):
        folder = tmp_path / f"{name}-1.7.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.7.0\n")
    found = list(distributions(path=[str(tmp_path)]))
    monkeypatch.setattr("engines.nvidia.distributions", lambda: found)
    old = Gpu("RTX 3060", (8, 6), (12, 4))
    with pytest.raises(RuntimeUnavailable, match=r"CUDA 13.*12\.4.*580.*tensorrt-rtx-cu12"):
        check_driver(old, "tensorrt_rtx")
    check_driver(Gpu("RTX 3060", (8, 6), (13, 0)), "tensorrt_rtx")
    check_driver(old, "tensorrt")  # another package, not installed


class FailingDriver:
    """A driver whose calls succeed but for one; it notes what was taken and what was freed."""

    def __init__(self, failing: str) -> None:
        self._failing = failing
        self.called: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> int:
            self.called.append(name)
            if name == self._failing:
                return 2
            if name == "cuDevicePrimaryCtxRetain":
                arguments[0]._obj.value = 7
            return 0

        return call


@pytest.mark.parametrize("failing", ["cuCtxSetCurrent", "cuStreamCreate"])
def test_a_gpu_that_gives_no_stream_is_let_go(
    failing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Out of memory: another runtime may need what is left."""
    driver = FailingDriver(failing)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    with pytest.raises(EngineFailed, match=rf"{failing}.*CUDA error 2"):
        Device()
    assert driver.called[-1] == "cuDevicePrimaryCtxRelease_v2"
    assert "cuStreamDestroy_v2" not in driver.called


class PaperDriver:
    """A driver that computes nothing: it lends memory and notes what it is asked, in order."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Any]] = []
        self._lent: list[Any] = []
        self._handles = 100

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> int:
            first = arguments[0] if arguments else None
            if name == "cuMemHostAlloc":
                self._lent.append((ctypes.c_uint8 * arguments[1].value)())
                first._obj.value = ctypes.addressof(self._lent[-1])
            elif hasattr(first, "_obj"):  # a handle is asked for
                self._handles += 1
                first._obj.value = self._handles
            self.asked.append((name, getattr(first, "value", None)))
            return 0

        return call

    def names(self) -> list[str]:
        return [name.removesuffix("_v2") for name, _ in self.asked]


def paper_tensorrt(driver: PaperDriver) -> SimpleNamespace:
    """As much of TensorRT as the runtime asks for."""

    def execute(stream: int) -> bool:
        driver.asked.append(("execute", stream))
        return True

    context = SimpleNamespace(set_tensor_address=lambda *_: True, execute_async_v3=execute)
    compiled = SimpleNamespace(deserialize=lambda data: True, serialize=lambda: b"compiled")
    config = SimpleNamespace(
        create_runtime_cache=lambda: compiled, set_runtime_cache=lambda cache: None
    )
    engine = SimpleNamespace(
        create_execution_context=lambda *_: context, create_runtime_config=lambda: config
    )
    runtime = SimpleNamespace(deserialize_cuda_engine=lambda data: engine)
    strategy = SimpleNamespace(WHOLE_GRAPH_CAPTURE=1)
    return SimpleNamespace(__version__="0", Runtime=lambda log: runtime, CudaGraphStrategy=strategy)


@pytest.mark.parametrize("module", [RTX, CLASSIC])
def test_a_frame_is_queued_while_the_one_before_is_at_work(
    module: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order of calls, since there is no GPU to run them on."""
    driver = PaperDriver()
    trt, gpu = paper_tensorrt(driver), Gpu("paper", (8, 9), (13, 0))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    monkeypatch.setattr(runtime_tensorrt, "explain_missing", lambda name: gpu)
    monkeypatch.setattr(runtime_tensorrt, "load_module", lambda name: trt)
    monkeypatch.setattr(runtime_tensorrt, "shared_logger", lambda name: logging.getLogger(name))
    monkeypatch.setattr(runtime_tensorrt, "cached_engine", lambda *a, **k: (b"", None))
    generator = TensorRtGenerator(coarse_graph(), EngineCache(tmp_path), module=module)
    generator.set_portrait(coarse_portrait(*reference_portrait_arrays()[:2]))
    first, second = reference_images()[1:3]

    driver.asked.clear()
    generator.begin(first)
    generator.begin(second)
    begun = driver.names()
    pictures = [generator.finish(), generator.finish()]
    names = driver.names()
    assert "cuEventSynchronize" not in begun
    assert "cuStreamSynchronize" not in names  # only ever for its own picture
    assert begun.count("cuEventRecord") == 2
    assert not {name for name in names if "Alloc" in name or "Create" in name}
    marks = [handle for name, handle in driver.asked if name == "cuEventRecord"]
    waits = [handle for name, handle in driver.asked if name == "cuEventSynchronize"]
    assert marks == waits
    assert len(set(marks)) == 2
    assert not np.shares_memory(*pictures)
    if module == CLASSIC:  # a graph per set of page-locked memory
        launched = [handle for name, handle in driver.asked if name == "cuGraphLaunch"]
        assert len(set(launched)) == 2
    else:
        assert begun.count("execute") == 2
        sources = [name for name in begun if name in ("cuMemcpyHtoDAsync", "cuMemcpyDtoHAsync")]
        assert sources == ["cuMemcpyHtoDAsync", "cuMemcpyDtoHAsync"] * 2
    with pytest.raises(RuntimeError, match="no picture was begun"):
        generator.finish()
    generator.close()
    assert driver.names().count("cuEventDestroy") == 2
    with pytest.raises(EngineFailed, match="closed"):
        generator.begin(first)
