"""What a training run shows of itself while it goes on: terms of its loss, and pictures."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from torch import Tensor
from torch.nn import functional as F

from engines.network import Moved


def save_preview(path: Path, batch: dict[str, Tensor], result: Tensor, moved: Moved) -> None:
    """Rows of portrait, contours, result, truth, kept motion, mask, alpha."""

    def strip(x: Tensor) -> np.ndarray[Any, Any]:
        x = F.interpolate(x[:8].detach().float(), size=(128, 128), mode="area")
        x = x.expand(-1, 3, -1, -1)
        picture = (x.clamp(0, 1) * 255).byte().permute(0, 2, 3, 1).cpu().numpy()
        return np.concatenate(picture, 0)

    columns = (
        batch["portrait"][:, :3], batch["contours"], result, batch["target"], moved.keep / 2,
        moved.mask, moved.alpha,
    )  # fmt: skip
    sheet = np.concatenate([strip(x) for x in columns], 1)
    part = path.with_suffix(".part.png")
    cv2.imwrite(str(part), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR))
    os.replace(part, path)


class CsvLog:
    """Appends rows `step, term, value`, readable while the run goes on."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", newline="")
        self._writer = csv.writer(self._file)

    def write(self, step: int, terms: dict[str, float]) -> None:
        for name, value in terms.items():
            self._writer.writerow((step, name, f"{value:.6f}"))
        self._file.flush()
