"""Faces between two people: pure functions on cuts.

Few people were filmed, and a network large enough to be of use learns by heart what theirs look
like when they smile or speak. Where two people make the same face in both frames of a pair, the one
is moved onto the other and shown through it, in both frames alike: a pair of somebody who was
never filmed, whose mouth, skin and folds have to be read off the portrait.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from calibrate.cuts import SIZE, Clip, Cut, cut, fill_ring, mirror_points, warp_picture
from calibrate.eyes import EYES
from calibrate.mouths import mouth_shares
from puppet.draw import coarse_motion
from puppet.landmarks import FACE_OVAL, FACE_SIDES

_SHARE = (0.4, 1.0)
"""How much of the other is seen."""
_OTHER_MOUTH = 0.7
"""Share of faces with the other's mouth. A mixture of two would have two rows of teeth."""


def cut_onto(clip: Clip, frame: int, face: Cut, mirrored: bool) -> Cut:
    """A frame of another clip, cut so that its face lies on another's, mirrored as that was."""
    goal = mirror_points(face.points) if mirrored else face.points
    here = np.ascontiguousarray(clip.landmarks[frame, :468, :2])
    there = ((goal[:468, :2] + 1) * (SIZE / 2)).astype(np.float32)
    matrix, _ = cv2.estimateAffinePartial2D(here, there, method=cv2.LMEDS)
    return cut(clip, frame, np.asarray(matrix, np.float32), mirrored)


def morph(faces: list[Cut], others: list[Cut], rng: np.random.Generator) -> tuple[list[Cut], bool]:
    """Each face with as much of the other in it, and with one of their mouths, and whether that is
    the other's; its own eyes, since those of two people never look the same way."""
    share = float(rng.uniform(*_SHARE))
    others_mouth = bool(rng.random() < _OTHER_MOUTH)
    mouth = float(others_mouth)
    gain: NDArray[np.float32] | None = None
    morphed = []
    for face, other in zip(faces, others, strict=True):
        moved = warp_picture(other.rgb, coarse_motion(face.points, other.points))
        skin, lips = skin_share(face.points), mouth_shares(face.points)[0]
        if gain is None:  # the same light for all
            here, there = mean_colour(face.rgb, skin), mean_colour(moved, skin)
            gain = (here / np.maximum(there, 1)).clip(0.4, 2.5)
        around = cv2.GaussianBlur(cv2.dilate(lips, np.ones((7, 7), np.uint8)), (0, 0), 2)
        seen = (skin * (share + (mouth - share) * around))[..., None]
        rgb = face.rgb * (1 - seen) + np.clip(moved * gain, 0, 255) * seen
        morphed.append(replace(face, rgb=np.rint(rgb).astype(np.uint8)))
    return morphed, others_mouth


def skin_share(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """(SIZE, SIZE) in [0, 1]: the face, fading towards its edge, without what lies between lids."""
    width = float(np.linalg.norm(points[FACE_SIDES[0], :2] - points[FACE_SIDES[1], :2])) * (
        SIZE / 2
    )
    soft = max(1.0, 0.05 * width)
    reach = 2 * round(2 * soft) + 1
    oval = cv2.erode(fill_ring(points, FACE_OVAL), np.ones((reach, reach), np.uint8))
    face = np.asarray(cv2.GaussianBlur(oval, (0, 0), soft), np.float32) / 255
    for ring, _, _ in EYES:
        eye = cv2.dilate(fill_ring(points, ring), np.ones((5, 5), np.uint8))
        face = face * (1 - np.asarray(cv2.GaussianBlur(eye, (0, 0), 1.5), np.float32) / 255)
    return face


def mean_colour(rgb: NDArray[np.uint8], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """(3,) mean colour under weights (SIZE, SIZE)."""
    total = (rgb * weight[..., None]).sum((0, 1)) / max(float(weight.sum()), 1e-3)
    return np.asarray(total, np.float32)
