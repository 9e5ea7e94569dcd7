"""A batch of samples, from the loader's bytes to what the network takes."""

from __future__ import annotations

import torch
from torch import Tensor


def to_device(
    raw: dict[str, Tensor], device: torch.device,
    layout: torch.memory_format = torch.contiguous_format,
) -> dict[str, Tensor]:  # fmt: skip
    """Bytes travel, floats are made on the device: pictures to (B, C, H, W) in [0, 1]."""

    def picture(name: str) -> Tensor:
        x = raw[name].to(device, non_blocking=True)
        x = x[..., None] if x.dim() == 3 else x
        return (x.permute(0, 3, 1, 2).float() / 255).contiguous(memory_format=layout)

    batch = {
        "portrait": torch.cat((picture("portrait"), picture("matte")), 1),
        "background": picture("background"),
        "portrait_contours": picture("portrait_contours"),
        "contours": picture("contours"),
        "motion": raw["motion"].to(device, non_blocking=True).permute(0, 3, 1, 2).contiguous(),
        "target": picture("target"),
        "target_matte": picture("target_matte"),
        "window": raw["window"],  # stays here: it addresses memory
    }
    if "extra" in raw:
        extra = raw["extra"].to(device, non_blocking=True)
        batch["extra"] = extra.permute(0, 1, 4, 2, 3).float() / 255
        batch["extra_weight"] = raw["extra_weight"].to(device, non_blocking=True)
    return batch
