"""What is said of an NVIDIA GPU that cannot be used: the driver's answers are injected faults."""

from __future__ import annotations

import ctypes
from importlib.metadata import distributions
from typing import Any

import pytest

from engines.contract import EngineFailed, RuntimeUnavailable
from engines.cuda import Device
from engines.nvidia import Gpu, check_driver, find_gpu


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
