"""The NVIDIA GPU, asked through its driver alone: no CUDA toolkit and no framework needed."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass

from engines.contract import RuntimeUnavailable

_MAJOR_ATTRIBUTE, _MINOR_ATTRIBUTE = 75, 76


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
            f"The NVIDIA driver found no usable GPU (CUDA error {code}). Check nvidia-smi."
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
