"""Faces for tests that need no picture: the mean face, posed and with an expression."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from puppet.contract import Landmarks
from puppet.landmarks import LIP_PAIRS, LIPS_INNER, LIPS_OUTER, mean_face
from puppet.retarget.pose import to_matrix

SIZE = 512


def face(
    *,
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0),
    centre: tuple[float, float] = (256.0, 230.0),
    unit: float = 130.0,
    mouth_open: float = 0.0,
    lids: float = 1.0,
    look: tuple[float, float] = (0.0, 0.0),
    width: int = SIZE,
    height: int = SIZE,
) -> Landmarks:
    """`turn`: rotation vector in radians (pitch, yaw, roll); `unit`: pixels between the outer
    eye corners; `mouth_open` and `look` in units of that distance; `lids`: 0 shut, 1 as is."""
    shape = shaped(mouth_open, lids, look)
    points = unit * shape @ to_matrix(np.array(turn, float)).T
    points += (*centre, 0)
    return Landmarks(points.astype(np.float32), width, height)


def _round_the_ring() -> NDArray[np.float64]:
    """(20,) 0 at the mouth's corners, 1 in the middle, in the order of the lip rings."""
    return np.abs(np.sin(np.arange(20) * np.pi / 10))


def shaped(
    mouth_open: float = 0.0, lids: float = 1.0, look: tuple[float, float] = (0.0, 0.0)
) -> NDArray[np.float64]:
    """(478, 3) the mean face with closed lips, then opened as asked."""
    from puppet.retarget.openings import EYES, set_eye, set_lip_gaps

    rest = mean_face().astype(np.float64)
    set_lip_gaps(rest, np.zeros(len(LIP_PAIRS)))
    shape = rest.copy()
    profile = np.sin(np.linspace(0, np.pi, len(LIP_PAIRS) + 2))[1:-1]
    set_lip_gaps(shape, mouth_open * profile)
    # The upper lip stays and the jaw goes along: openings are set about their middle.
    shape[list(LIPS_OUTER + LIPS_INNER), 1] += mouth_open / 2 * np.tile(_round_the_ring(), 2)
    below = np.clip((rest[:, 1] - rest[14, 1]) / 0.12, 0, 1)
    below[list(LIPS_OUTER + LIPS_INNER)] = 0
    shape[:, 1] += mouth_open * below * np.exp(-((rest[:, 0] / 0.45) ** 2))
    for eye in EYES:
        # `along` points to the nose, so that it is opposite for the two eyes.
        along = np.sign(rest[eye.inner, 0] - rest[eye.outer, 0]) * look[0]
        set_eye(shape, rest, eye, lids, np.array((along, look[1])))
    return shape
