"""Eyes and mouth as openings: how far open, where the gaze goes, and how to set it on a face.

Lids and lips that touch are events the eye never misses, so openings are carried over as
relative measures and set exactly, instead of hoping that added offsets meet.
All points are (478, 3) in the head's frame.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from puppet import landmarks as lm

Shape = NDArray[np.float64]

LOWER_LID_SHARE = 0.15
"""Part of a blink's way that the lower lid goes."""
GLANCE = 0.12
"""Gaze, in eye widths, from which on an eye looks well to the side."""
WINK = (0.4, 0.8)
"""Difference of two eyes' openings that is none yet, and one that is surely one."""


@dataclass(frozen=True, slots=True)
class Eye:
    """Indices of one eye."""

    outer: int
    inner: int
    lower: NDArray[np.intp]
    upper: NDArray[np.intp]
    iris: NDArray[np.intp]  # centre first


def _eye(ring: tuple[int, ...], pairs: tuple[tuple[int, int], ...], iris: tuple[int, ...]) -> Eye:
    lower, upper = np.array(pairs).T
    return Eye(ring[0], ring[8], lower, upper, np.array(iris))


EYES = (
    _eye(lm.RIGHT_EYE, lm.RIGHT_LID_PAIRS, (lm.RIGHT_IRIS_CENTRE, *lm.RIGHT_IRIS_RIM)),
    _eye(lm.LEFT_EYE, lm.LEFT_LID_PAIRS, (lm.LEFT_IRIS_CENTRE, *lm.LEFT_IRIS_RIM)),
)
LIP_LOWER, LIP_UPPER = np.array(lm.LIP_PAIRS).T
MOUTH_CORNERS = (61, 291)

# For every inner-lip pair the outer-lip points that move with it, so that lips keep their
# thickness when they are opened or closed.
_OUTER_LOWER = np.array(lm.LIPS_OUTER[1:10])
_OUTER_UPPER = np.array(lm.LIPS_OUTER[:10:-1])


def eye_width(shape: Shape, eye: Eye) -> float:
    return float(np.linalg.norm(shape[eye.inner] - shape[eye.outer]))


def eye_openness(shape: Shape, eye: Eye) -> float:
    """Mean lid gap over eye width: about 0.3 open, 0.1 closed as MediaPipe reports it."""
    gaps = np.linalg.norm(shape[eye.upper] - shape[eye.lower], axis=1)
    return float(gaps.mean()) / eye_width(shape, eye)


def gaze(shape: Shape, eye: Eye) -> NDArray[np.float64]:
    """(2,) iris centre from the middle of the eye corners, along and across, in eye widths."""
    along, across, width = _eye_axes(shape, eye)
    offset = shape[eye.iris[0]] - (shape[eye.inner] + shape[eye.outer]) / 2
    return np.array((offset @ along, offset @ across)) / width


def lids_at_glance(lids: NDArray[np.float64], looks: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2,) lid openings, the eye that looks outwards freed of the tracker's error.

    `looks` (2, 2) as `gaze`, from rest. MediaPipe draws the lids of an eye that looks to the
    temple closer together, by up to a third of the opening, though both lids stay up: that would
    be a squint on the portrait. A wider difference is a wink, and stays.
    """
    turned = np.clip(-looks[:, 0] / GLANCE, 0, 1)  # `along` points to the nose
    missing = np.maximum(lids[::-1] - lids, 0)
    wink = np.clip((missing - WINK[0]) / (WINK[1] - WINK[0]), 0, 1)
    lifted: NDArray[np.float64] = lids + turned * missing * (1 - wink)
    return lifted


def lip_gaps(shape: Shape) -> NDArray[np.float64]:
    """(9,) signed downward distance from upper to lower inner lip."""
    gaps: NDArray[np.float64] = shape[LIP_LOWER, 1] - shape[LIP_UPPER, 1]
    return gaps


def mouth_width(shape: Shape) -> float:
    return float(np.linalg.norm(shape[MOUTH_CORNERS[0]] - shape[MOUTH_CORNERS[1]]))


def set_eye(
    shape: Shape, rest: Shape, eye: Eye, openness: float, turn: NDArray[np.float64]
) -> None:
    """Opens one eye of `shape` to `openness` times its gap at `rest` (0: the lids touch) and
    turns the gaze by `turn` (2,) eye widths from rest. In place."""
    gap = rest[eye.upper] - rest[eye.lower]
    lifted = LOWER_LID_SHARE * max(0.0, 1 - openness)
    corner_shift = (shape[eye.inner] + shape[eye.outer] - rest[eye.inner] - rest[eye.outer]) / 2
    shape[eye.lower] = rest[eye.lower] + lifted * gap + corner_shift
    shape[eye.upper] = shape[eye.lower] + openness * gap
    along, across, width = _eye_axes(rest, eye)
    shape[eye.iris] = rest[eye.iris] + corner_shift + width * (turn[0] * along + turn[1] * across)


def set_lip_gaps(shape: Shape, gaps: NDArray[np.float64]) -> None:
    """Sets the (9,) inner-lip gaps about each pair's middle; outer lips come along. In place."""
    change = (gaps - lip_gaps(shape)) / 2
    shape[LIP_LOWER, 1] += change
    shape[LIP_UPPER, 1] -= change
    shape[_OUTER_LOWER, 1] += change
    shape[_OUTER_UPPER, 1] -= change
    closed = gaps <= 0
    # Lips that touch also touch in depth and sideways, or a turned head would part them again.
    for axis in (0, 2):
        middle = (shape[LIP_LOWER[closed], axis] + shape[LIP_UPPER[closed], axis]) / 2
        shape[LIP_LOWER[closed], axis] = middle
        shape[LIP_UPPER[closed], axis] = middle


def _eye_axes(shape: Shape, eye: Eye) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Unit vectors along the corners and across (downwards), and the eye's width."""
    span = shape[eye.inner] - shape[eye.outer]
    width = float(np.linalg.norm(span))
    along = span / width
    down = np.array((0.0, 1.0, 0.0))
    across = down - (down @ along) * along
    return along, across / np.linalg.norm(across), width
