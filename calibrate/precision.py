"""Which precision, and which layout in memory, a step of training takes less time in here."""

from __future__ import annotations

import time

import torch
from torch import nn

_TRIALS = 4


def bf16_is_quicker(device: torch.device) -> bool:
    """Whether a convolution, there and back, takes less time in bfloat16 than in float32.

    Tried out on a CPU: having bf16 instructions says little. They double the speed of a Zen 4,
    and halve that of a Xeon whose AMX is switched off. GPUs of the last years all gain. Takes
    about 0.2 s.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    least = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    steps = {dtype: _layer(dtype) for dtype in least}
    for trial in range(_TRIALS + 1):
        for dtype, (layer, picture) in steps.items():
            began = time.perf_counter()
            layer(picture).sum().backward()
            if trial > 0:  # the first one also chooses a kernel
                least[dtype] = min(least[dtype], time.perf_counter() - began)
    return least[torch.bfloat16] < least[torch.float32]


def quicker_layout(device: torch.device, *, bf16: bool) -> torch.memory_format:
    """Channels last, as kernels for GPUs and for bfloat16 want them; but not in float32 on a CPU,
    where a convolution's gradients then take up to four times as long (timed once on AVX2; 84 to 48
    channels, 128 x 128)."""
    on_cpu_in_float32 = device.type == "cpu" and not bf16
    return torch.contiguous_format if on_cpu_in_float32 else torch.channels_last


def _layer(dtype: torch.dtype) -> tuple[nn.Module, torch.Tensor]:
    layout = quicker_layout(torch.device("cpu"), bf16=dtype == torch.bfloat16)
    layer = nn.Conv2d(48, 48, 3, padding=1).to(dtype, memory_format=layout)  # type: ignore[call-overload]
    picture = torch.zeros(2, 48, 64, 64, dtype=dtype, requires_grad=True)
    return layer, picture.contiguous(memory_format=layout)
