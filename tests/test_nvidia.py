"""What is said of an NVIDIA GPU that cannot be used: the driver's answers are injected faults."""

from __future__ import annotations

import ctypes
from importlib.metadata import distributions
from typing import Any

import pytest

from engines.contract import RuntimeUnavailable
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
