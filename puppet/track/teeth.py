"""How light it is between the driver's lips: two numbers that landmarks cannot tell.

Lips drawn open say nothing of what is seen between them: teeth, a tongue, or the dark. The mean
green of the upper and of the lower half of the opening, against the skin's, tells these apart in
any light (lips and tongue have little green, teeth as much as skin or more). Nothing else of the
driver's picture is kept.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from puppet.contract import Rgb, Teeth
from puppet.landmarks import LIP_PAIRS, LIPS_INNER, opening_halves

_GREEN = 1
_SKIN = (205, 425, 50, 280)
"""Middles of the cheeks."""
_EYES = (33, 263)
_PATCH = 0.06
"""Half-width of a patch of skin, of the eyes' distance."""
_LEAST_GAP = 0.03
"""Between the lips, of the eyes' distance, from which on there is something to see."""
_SUBPIXEL = 4  # bits


def measure_teeth(rgb: Rgb, points: NDArray[np.float32]) -> Teeth | None:
    """Of a (H, W, 3) picture and landmarks (478, 2 or 3) in its pixels: how light the upper and
    the lower half of what is between the lips are, in (0, 1), 0.5 as light as the cheeks.

    None with closed lips, or where they or the cheeks are out of the picture.
    """
    eyes = float(np.linalg.norm(points[_EYES[0], :2] - points[_EYES[1], :2]))
    lower, upper = (points[[pair[i] for pair in LIP_PAIRS], :2] for i in (0, 1))
    if float(np.linalg.norm(lower - upper, axis=1).max()) < _LEAST_GAP * eyes:
        return None
    skin = _skin(rgb, points, max(1, round(_PATCH * eyes)))
    if skin is None:
        return None
    halves = []
    corner = np.floor(points[list(LIPS_INNER), :2].min(0)).astype(int) - 1
    size = np.ceil(points[list(LIPS_INNER), :2].max(0)).astype(int) + 2 - corner
    left, top = corner
    if left < 0 or top < 0 or left + size[0] > rgb.shape[1] or top + size[1] > rgb.shape[0]:
        return None
    green = rgb[top : top + size[1], left : left + size[0], _GREEN].astype(np.float32)
    for area in opening_halves(points):
        weight = np.zeros(green.shape, np.uint8)
        placed = np.rint((area - corner - 0.5) * (1 << _SUBPIXEL)).astype(np.int32)
        cv2.fillPoly(weight, [placed], (255,), cv2.LINE_AA, _SUBPIXEL)
        total = float(weight.sum())
        mean = float((green * weight).sum()) / total if total else 0.0
        halves.append((mean + 1) / (mean + skin + 2))
    return halves[0], halves[1]


def _skin(rgb: Rgb, points: NDArray[np.float32], reach: int) -> float | None:
    """Green of the cheeks, the median of their patches; None where they are out of the picture."""
    seen = []
    for x, y in np.floor(points[list(_SKIN), :2]).astype(int):
        rows, columns = (slice(max(0, at - reach), max(0, at + reach + 1)) for at in (y, x))
        patch = rgb[rows, columns, _GREEN]
        if patch.size:
            seen.append(float(patch.mean()))
    return float(np.median(seen)) if seen else None
