"""What a measurement was made on: machine, system and the versions that matter."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

from puppet import __version__

PACKAGES = (
    "mediapipe",
    "opencv-contrib-python",
    "numpy",
    "openvino",
    "onnxruntime",
    "av",
    "pyvirtualcam",
    "tensorrt",
    "tensorrt-rtx",
)


def versions() -> dict[str, str]:
    """Package -> version of what is installed; imports none of them."""
    found = {"webcam-puppet": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, str | int | None]:
    """The processor, the cores this process may use, memory and system."""
    return {
        "cpu": cpu_name(),
        "cores": usable_cores(),
        "memory_gib": _memory_gib(),
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
    }


def usable_cores() -> int:
    """Cores that this process may run on (a container often has fewer than the machine)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cpu_name() -> str:
    """The processor's marketing name, or the architecture where the system hides it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory_gib() -> int | None:
    try:
        pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on Windows
        return None
    return round(pages * size / 2**30)
