"""The contours: the face's lines and openings as a three-channel picture.

Channel 0 holds the structure (face oval, brows, nose) and, where it is known, how light it is
between the lips (teeth are light, an open throat is dark), channel 1 the eyes (opening filled, lid
lines, iris), channel 2 the mouth (lips filled, the opening between them brighter). Seen as RGB
it is a readable drawing, which makes a wrong one easy to spot.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.contract import CONTOURS_CHANNELS, CONTOURS_SIZE
from puppet import landmarks as lm
from puppet.contract import Teeth

LINE = 255
OPENING = 110  # the white of the eye, and the lips
LID = 180
DARKEST = 40  # between the lips; 0 is where that is not known
DARK, LIGHT = 0.1, 0.55  # an open throat, and teeth; drawn as DARKEST and LINE
_SUBPIXEL_BITS = 4

_STRUCTURE = (
    (lm.FACE_OVAL, True),
    (lm.RIGHT_BROW_UPPER, False),
    (lm.RIGHT_BROW_LOWER, False),
    (lm.LEFT_BROW_UPPER, False),
    (lm.LEFT_BROW_LOWER, False),
    (lm.NOSE_BRIDGE, False),
    (lm.NOSE_BASE, False),
)
_EYES = (
    (lm.RIGHT_EYE, lm.RIGHT_IRIS_CENTRE, lm.RIGHT_IRIS_RIM),
    (lm.LEFT_EYE, lm.LEFT_IRIS_CENTRE, lm.LEFT_IRIS_RIM),
)


def draw_contours(
    points: NDArray[np.float32],
    out: NDArray[np.uint8] | None = None,
    teeth: Teeth | None = None,
) -> NDArray[np.uint8]:
    """Draws (478, 2 or 3) points given in [-1, 1] picture coordinates, and between the lips how
    light the upper and the lower half are, in [0, 1], unless that is not known.

    Returns (256, 256, 3) uint8: `out` when given (cleared first), else a new array. Lines are
    anti-aliased and placed to a sixteenth of a pixel, so that slow motion moves them smoothly.
    """
    if out is None:
        out = np.zeros((CONTOURS_SIZE, CONTOURS_SIZE, CONTOURS_CHANNELS), np.uint8)
    else:
        out[:] = 0
    # OpenCV counts from pixel centres, hence the half; far-away points must not overflow int32.
    pixels = (np.clip(points[:, :2], -8, 8) + 1) * (CONTOURS_SIZE / 2) - 0.5
    fixed = np.round(pixels * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    plane = np.zeros((CONTOURS_SIZE, CONTOURS_SIZE), np.uint8)

    for line, closed in _STRUCTURE:
        _line(plane, fixed[list(line)], closed, LINE)
    if teeth is not None:
        for half, light in zip(lm.opening_halves(fixed), teeth, strict=True):
            shown = min(max((light - DARK) / (LIGHT - DARK), 0.0), 1.0)
            _fill(plane, half.astype(np.int32), round(DARKEST + (LINE - DARKEST) * shown))
    out[..., 0] = plane

    plane[:] = 0
    iris = np.zeros_like(plane)
    for ring, centre, rim in _EYES:
        _fill(plane, fixed[list(ring)], OPENING)
        radius = float(np.linalg.norm(pixels[list(rim)] - pixels[centre], axis=1).mean())
        cv2.circle(
            iris,
            (int(fixed[centre, 0]), int(fixed[centre, 1])),
            int(radius * (1 << _SUBPIXEL_BITS)),
            (LINE,),
            -1,
            cv2.LINE_AA,
            _SUBPIXEL_BITS,
        )
    # The iris shows only where the lids are open.
    cv2.max(plane, cv2.multiply(iris, plane, scale=1 / OPENING), dst=plane)
    for ring, _, _ in _EYES:
        _line(plane, fixed[list(ring)], True, LID)
    out[..., 1] = plane

    plane[:] = 0
    _fill(plane, fixed[list(lm.LIPS_OUTER)], OPENING)
    _fill(plane, fixed[list(lm.LIPS_INNER)], LINE)
    out[..., 2] = plane
    return out


def _line(plane: NDArray[np.uint8], points: NDArray[np.int32], closed: bool, value: int) -> None:
    cv2.polylines(plane, [points], closed, (value,), 1, cv2.LINE_AA, _SUBPIXEL_BITS)


def _fill(plane: NDArray[np.uint8], points: NDArray[np.int32], value: int) -> None:
    cv2.fillPoly(plane, [points], (value,), cv2.LINE_AA, _SUBPIXEL_BITS)
