"""What lips, lids and head do in every frame of a clip, to find who makes the same face."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibrate.cuts import Clip, face_shape
from puppet.landmarks import FACE_SIDES, LEFT_LID_PAIRS, LIP_PAIRS, RIGHT_LID_PAIRS

_CORNERS, _NOSE = (61, 291), 4
_GAPS = (2, 4, 6)
"""Of the pairs across the lips."""
_WEIGHTS = np.array((6, 6, 6, 3, 3, 3, 0.4, 1.0, 1.0), np.float32)
_ALIKE = 0.45
"""Distance of two frames' expressions up to which they go together."""
_SHUT = 0.02
"""Opening of the lips, of the eyes' distance, up to which they are closed."""
_APART = 0.06
"""The same in their middle, from which on much is seen between them."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """Expressions of one clip's usable frames."""

    clip: Clip
    vectors: NDArray[np.float32]
    """(usable, 9) opening of the lips, width and height of the mouth's corners, lids, and pose."""

    def nearest(self, wanted: NDArray[np.float32]) -> int | None:
        """The frame whose expression is nearest to a vector (9,), if any is near."""
        apart = np.linalg.norm(self.vectors - wanted, axis=1)
        best = int(np.argmin(apart))
        return int(self.clip.usable[best]) if apart[best] < _ALIKE else None

    def shut(self) -> NDArray[np.intp]:
        """The frames with closed lips."""
        closed = (self.vectors[:, :3] < _SHUT * _WEIGHTS[:3]).all(1)
        return np.asarray(self.clip.usable[closed], np.intp)

    def apart(self) -> NDArray[np.intp]:
        """The frames with lips wide enough apart to see behind them."""
        opened = self.vectors[:, 1] > _APART * _WEIGHTS[1]
        return np.asarray(self.clip.usable[opened], np.intp)

    def of(self, frame: int) -> NDArray[np.float32]:
        """(9,) the expression of a usable frame."""
        vector: NDArray[np.float32] = self.vectors[int(np.searchsorted(self.clip.usable, frame))]
        return vector


def likeness(clip: Clip) -> Likeness:
    """What a mouth's corners and the lids do counts from what they usually do in the clip: people
    differ in that; whether lips touch is the same for all."""
    rows = np.array([_expression(clip.landmarks[i]) for i in clip.usable], np.float32)
    usual = np.median(rows, 0)
    rows[:, 3:6] -= usual[3:6]
    rows[:, 6] /= max(float(np.percentile(rows[:, 6], 90)), 1e-3)
    return Likeness(clip, rows * _WEIGHTS)


def _expression(landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
    shape = face_shape(landmarks)

    def gap(pair: tuple[int, int]) -> float:
        return float(np.linalg.norm(shape[pair[0]] - shape[pair[1]]))

    left, right = shape[_CORNERS[0]], shape[_CORNERS[1]]
    lids = [gap(pairs[3]) for pairs in (LEFT_LID_PAIRS, RIGHT_LID_PAIRS)]
    sides = landmarks[list(FACE_SIDES), :2]
    across = sides[1] - sides[0]
    width = float(np.linalg.norm(across))
    along = across / max(width, 1e-6)
    nose = (landmarks[_NOSE, :2] - sides.mean(0)) / max(width, 1e-6)
    turned = (nose @ along, nose @ np.array((-along[1], along[0]), np.float32))
    return np.array(
        (*(gap(LIP_PAIRS[i]) for i in _GAPS), gap(_CORNERS), left[1], right[1], np.mean(lids),
         *turned), np.float32,
    )  # fmt: skip
