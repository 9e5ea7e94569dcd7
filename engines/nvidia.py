"""The NVIDIA GPU, asked through its driver alone: no CUDA toolkit and no framework needed."""

from __future__ import annotations

import ctypes
import re
import sys
from dataclasses import dataclass
from importlib.metadata import distributions

from engines.contract import RuntimeUnavailable

_MAJOR_ATTRIBUTE, _MINOR_ATTRIBUTE = 75, 76
_DRIVER_OF_CUDA = {11: 450, 12: 525, 13: 580}
"""The oldest driver that serves each CUDA version (NVIDIA's compatibility tables)."""
_REMEDIES = {
    2: "its memory is full: close other programs that use it",
    35: "the driver is older than its CUDA library: update it",
    100: "it sees no card: check that one is plugged in, and its power",
    802: "the card is not ready: wait a minute, or reboot",
    803: "driver and library are of different versions: reboot, as after an update",
    804: "the driver is older than its CUDA library, and this card cannot bridge that: update it",
}
"""By the number of the CUDA error (CUresult in cuda.h)."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """The first CUDA device."""

    name: str
    capability: tuple[int, int]
    driver_cuda: tuple[int, int]
    """The newest CUDA version that the driver serves."""

    @property
    def architecture(self) -> str:
        """As in 'SM89'."""
        return f"SM{self.capability[0]}{self.capability[1]}"


def find_gpu() -> Gpu:
    """The first NVIDIA GPU. Raises RuntimeUnavailable with the reason."""
    try:
        cuda = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError as error:
        raise RuntimeUnavailable(
            "No NVIDIA driver was found (libcuda does not load). A card needs its driver."
        ) from error
    if code := cuda.cuInit(0):
        raise RuntimeUnavailable(
            f"The NVIDIA driver gives no GPU (CUDA error {code}): "
            f"{_REMEDIES.get(code, 'see what nvidia-smi says, or reboot')}."
        )
    device, version = ctypes.c_int(), ctypes.c_int()
    if cuda.cuDeviceGet(ctypes.byref(device), 0) or cuda.cuDriverGetVersion(ctypes.byref(version)):
        raise RuntimeUnavailable("The NVIDIA driver lists no GPU. Check nvidia-smi.")
    name = ctypes.create_string_buffer(100)
    cuda.cuDeviceGetName(name, len(name), device)
    numbers = []
    for attribute in (_MAJOR_ATTRIBUTE, _MINOR_ATTRIBUTE):
        value = ctypes.c_int()
        cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        numbers.append(value.value)
    return Gpu(
        name=name.value.decode(errors="replace"),
        capability=(numbers[0], numbers[1]),
        driver_cuda=(version.value // 1000, version.value % 1000 // 10),
    )


def check_driver(gpu: Gpu, package: str) -> None:
    """Raises RuntimeUnavailable where the installed `package` is built for a newer CUDA than the
    driver serves. Packages name it, as in tensorrt_rtx_cu13; within one number all fit."""
    pattern = re.compile(rf"{re.escape(package)}[_-]cu(\d+)", re.IGNORECASE)
    built = [m for d in distributions() if (m := pattern.fullmatch(str(d.metadata["Name"])))]
    served = gpu.driver_cuda[0]
    if built and served < (needed := min(int(m[1]) for m in built)):
        driver = _DRIVER_OF_CUDA.get(needed)
        raise RuntimeUnavailable(
            f"The installed {package} is built for CUDA {needed}, the driver of the {gpu.name} "
            f"serves CUDA {'.'.join(map(str, gpu.driver_cuda))}. Update the driver"
            + (f" to {driver} or newer" if driver else "")
            + f", or look for a build for CUDA {served}: pip install "
            + f"{package.replace('_', '-')}-cu{served}"
        )
