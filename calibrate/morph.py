"""Faces between two people: pure functions on cuts, and which frames of two clips go together.

Few people were filmed, and a network large enough to be of use learns by heart what theirs look
like when they smile or speak. Where two people make the same face in both frames of a pair, the one
is moved onto the other and shown through it, in both frames alike: a pair of somebody who was
never filmed, whose mouth, skin and folds have to be read off the portrait.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from calibrate.cuts import SIZE, Clip, Cut, cut, face_shape, fill_ring, mirror_points, warp_picture
from calibrate.eyes import EYES
from calibrate.mouths import mouth_shares
from puppet.draw import coarse_motion
from puppet.landmarks import FACE_OVAL, LEFT_LID_PAIRS, LIP_PAIRS, RIGHT_LID_PAIRS

_CORNERS, _NOSE, _SIDES = (61, 291), 4, (234, 454)
_GAPS = (2, 4, 6)
"""Of the pairs across the lips."""
_WEIGHTS = np.array((6, 6, 6, 3, 3, 3, 0.4, 1.0, 1.0), np.float32)
_ALIKE = 0.45
"""Distance of two frames' expressions up to which they go together."""
_SHUT = 0.02
"""Opening of the lips, of the eyes' distance, up to which they are closed."""
_SHARE = (0.4, 1.0)
"""How much of the other is seen."""
_OTHER_MOUTH = 0.7
"""Share of faces with the other's mouth. A mixture of two would have two rows of teeth."""


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
    sides = landmarks[list(_SIDES), :2]
    across = sides[1] - sides[0]
    width = float(np.linalg.norm(across))
    along = across / max(width, 1e-6)
    nose = (landmarks[_NOSE, :2] - sides.mean(0)) / max(width, 1e-6)
    turned = (nose @ along, nose @ np.array((-along[1], along[0]), np.float32))
    return np.array(
        (*(gap(LIP_PAIRS[i]) for i in _GAPS), gap(_CORNERS), left[1], right[1], np.mean(lids),
         *turned), np.float32,
    )  # fmt: skip


def cut_onto(clip: Clip, frame: int, face: Cut, mirrored: bool) -> Cut:
    """A frame of another clip, cut so that its face lies on another's, mirrored as that was."""
    goal = mirror_points(face.points) if mirrored else face.points
    here = np.ascontiguousarray(clip.landmarks[frame, :468, :2])
    there = ((goal[:468, :2] + 1) * (SIZE / 2)).astype(np.float32)
    matrix, _ = cv2.estimateAffinePartial2D(here, there, method=cv2.LMEDS)
    return cut(clip, frame, np.asarray(matrix, np.float32), mirrored)


def morph(faces: list[Cut], others: list[Cut], rng: np.random.Generator) -> list[Cut]:
    """Each face with as much of the other in it, and with one of their mouths; its own eyes,
    since those of two people never look the same way."""
    share = float(rng.uniform(*_SHARE))
    mouth = 1.0 if rng.random() < _OTHER_MOUTH else 0.0
    gain: NDArray[np.float32] | None = None
    morphed = []
    for face, other in zip(faces, others, strict=True):
        moved = warp_picture(other.rgb, coarse_motion(face.points, other.points))
        skin, lips = _skin(face.points), mouth_shares(face.points)[0]
        if gain is None:  # the same light for all
            gain = (_mean(face.rgb, skin) / np.maximum(_mean(moved, skin), 1)).clip(0.4, 2.5)
        around = cv2.GaussianBlur(cv2.dilate(lips, np.ones((7, 7), np.uint8)), (0, 0), 2)
        seen = (skin * (share + (mouth - share) * around))[..., None]
        rgb = face.rgb * (1 - seen) + np.clip(moved * gain, 0, 255) * seen
        morphed.append(replace(face, rgb=np.rint(rgb).astype(np.uint8)))
    return morphed


def _skin(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """(SIZE, SIZE) in [0, 1]: the face, fading towards its edge, without what lies between lids."""
    width = float(np.linalg.norm(points[_SIDES[0], :2] - points[_SIDES[1], :2])) * (SIZE / 2)
    soft = max(1.0, 0.05 * width)
    reach = 2 * round(2 * soft) + 1
    oval = cv2.erode(fill_ring(points, FACE_OVAL), np.ones((reach, reach), np.uint8))
    face = np.asarray(cv2.GaussianBlur(oval, (0, 0), soft), np.float32) / 255
    for ring, _, _ in EYES:
        eye = cv2.dilate(fill_ring(points, ring), np.ones((5, 5), np.uint8))
        face = face * (1 - np.asarray(cv2.GaussianBlur(eye, (0, 0), 1.5), np.float32) / 255)
    return face


def _mean(rgb: NDArray[np.uint8], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """(3,) mean colour under weights (SIZE, SIZE)."""
    total = (rgb * weight[..., None]).sum((0, 1)) / max(float(weight.sum()), 1e-3)
    return np.asarray(total, np.float32)
