"""Eyes that really look where the landmarks of an imagined motion say.

The coarse motion is too smooth for an iris between lids that stay: it takes it along for 10 to 30 %
of its way. A still that is moved by it alone teaches that portraits do not move their eyes.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from calibrate.eyes import EYES

_GLANCE = (0.09, 0.03)
"""Standard deviation of a glance along the eye and across, in its width."""
_WHITE_LEFT = 0.35
"""Of the white between an iris and its corner, the least that a glance leaves."""
_SUBPIXEL = 4  # bits


def glance(points: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """(478, 3) landmarks whose irises have gone aside, both by the same share of their eyes'
    widths, and no further than eyes go."""
    looking = points.copy()
    aside = rng.normal(0, _GLANCE)
    for ring, centre, rim in EYES:
        outer, inner = points[ring[0], :2], points[ring[8], :2]
        if outer[0] > inner[0]:  # both eyes along the picture's x
            outer, inner = inner, outer
        along = inner - outer
        across = np.array((-along[1], along[0]), np.float32)
        middle = points[centre, :2]
        radius = float(np.linalg.norm(points[list(rim), :2] - middle, axis=1).mean())
        width = float(np.linalg.norm(along))
        place = float((middle - outer) @ along) / max(width**2, 1e-9)
        low = max(place - radius / max(width, 1e-6), 0) * (1 - _WHITE_LEFT)
        high = max(1 - place - radius / max(width, 1e-6), 0) * (1 - _WHITE_LEFT)
        shift = np.clip(aside[0], -low, high) * along + aside[1] * across
        looking[[centre, *rim], :2] += shift.astype(np.float32)
    return looking


def set_gaze(
    offset: NDArray[np.float32],
    driving: NDArray[np.float32],
    portrait: NDArray[np.float32],
    size: int,
) -> NDArray[np.float32]:
    """The motion `offset` (h, w, 2) as (size, size, 2), which between the lids takes the irises
    where `driving` has them; landmarks (478, 2 or 3), all in [-1, 1] of the picture.

    The iris moves as a whole, the white beside it is stretched and squeezed up to the corners, and
    the lids stay: it goes behind them.
    """
    field = np.asarray(cv2.resize(offset, (size, size), interpolation=cv2.INTER_LINEAR), np.float32)
    axis = (np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1
    for ring, centre, rim in EYES:
        middle = driving[centre, :2]
        column, row = np.clip((middle + 1) * (size / 2), 0, size - 1).astype(int)
        missing = portrait[centre, :2] - middle - field[row, column]
        outer, inner = driving[ring[0], :2], driving[ring[8], :2]
        width = float(np.linalg.norm(inner - outer))
        along = (inner - outer) / max(width, 1e-6)
        radius = float(np.linalg.norm(driving[list(rim), :2] - middle, axis=1).mean())
        place = np.add.outer((axis - middle[1]) * along[1], (axis - middle[0]) * along[0])
        before = max(float((middle - outer) @ along) - radius, 1e-6)
        after = max(float((inner - middle) @ along) - radius, 1e-6)
        white = np.where(place < 0, before, after)  # from the iris to the corner on this side
        share = np.clip(1 - (np.abs(place) - radius) / white, 0, 1)
        share *= _opening(driving[list(ring), :2], size)
        field += share[..., None].astype(np.float32) * missing
    return field


def _opening(ring: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """(size, size) in [0, 1]: between the lids; nothing where they meet."""
    seen = np.zeros((size, size), np.uint8)
    placed = np.rint(((ring + 1) * (size / 2) - 0.5) * 2**_SUBPIXEL).astype(np.int32)
    cv2.fillPoly(seen, [placed], (255,), cv2.LINE_AA, _SUBPIXEL)
    # A filled polygon has its outline too: that is lid.
    cv2.polylines(seen, [placed], True, (0,), 1, cv2.LINE_AA, _SUBPIXEL)
    return np.asarray(cv2.GaussianBlur(seen, (0, 0), 0.5), np.float32) / 255
