"""A part of the picture learned for the whole: painted only where it is judged closely.

The synthesis takes most of a step, and eyes and mouth, which most of the loss is about, lie in a
quarter of the picture. What is painted there is what would be painted there of the whole, but for
the outermost pixels, which are not judged.
"""

from __future__ import annotations

from torch import Tensor

from calibrate.cuts import SIZE
from calibrate.data import WINDOW
from calibrate.losses import windows
from engines.network import Moved, Warped

MARGIN = 8
"""Pixels around the window that are painted and not judged. A convolution reads beyond the part's
edge, where there is nothing: that is seen further in, but fades."""
PART = WINDOW + 2 * MARGIN
STEP = 4
"""Of the smallest picture's pixels: a part begins with one."""


def part_around(window: Tensor) -> Tensor:
    """First row and column of the part to paint, (B, 2), where `window` (B, 2) is judged."""
    return (window - MARGIN).clamp(0, SIZE - PART) // STEP * STEP


def cut_part(warped: Warped, corners: Tensor) -> Warped:
    """The part of a moved portrait of 256 x 256 that begins at `corners`, (B, 2)."""

    def part(x: Tensor) -> Tensor:
        scale = SIZE // x.shape[-1]
        return windows(x, corners // scale, PART // scale)

    return Warped(
        part(warped.moved), part(warped.half), part(warped.detail), part(warped.contours),
        part(warped.hidden), warped.keep, warped.residual,
    )  # fmt: skip


def judge_window(
    moved: Moved, batch: dict[str, Tensor], corners: Tensor
) -> tuple[Moved, dict[str, Tensor]]:
    """What was painted of the part at `corners`, and what it is compared with: both of the window
    alone."""
    window = batch["window"]
    compared = ("background", "contours", "target", "target_matte")
    batch = batch | {name: windows(batch[name], window, WINDOW) for name in compared}
    inside = window - corners
    seen = {
        name: windows(getattr(moved, name), inside, WINDOW)
        for name in ("rgb", "alpha", "mask", "painted")
    }
    return moved._replace(**seen), batch | {"window": window * 0}
