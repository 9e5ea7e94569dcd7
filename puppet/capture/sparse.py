"""From the 68 points of other trackers to the 478 of this program, by deforming the mean face.

The mean face is posed like the points that expressions hardly move (scaled orthographic
projection, least squares), then what is left over at the points is spread over the face with a
biharmonic kernel (|r|), in the plane of a mean face with open lips, so that upper and lower lip do
not pull at each other. Depth is that of the posed mean face.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from puppet.contract import N_LANDMARKS, Landmarks
from puppet.landmarks import (
    LEFT_IRIS_CENTRE,
    LEFT_IRIS_RIM,
    LIP_PAIRS,
    RIGHT_IRIS_CENTRE,
    RIGHT_IRIS_RIM,
    mean_face,
)

N_SPARSE = 68
"""66 of the face, then the pupils of the subject's right and left eye."""
# OpenSeeFace's order: that of iBUG's 68 points, with the mouth's corners only once (58 and 62).
_MESH = np.array((
    127, 234, 93, 132, 58, 172, 150, 176, 152, 400, 379, 397, 288, 361, 323, 454, 356,  # jaw
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,  # brows
    168, 197, 5, 4, 98, 97, 2, 326, 327,  # nose
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,  # eyes
    39, 37, 0, 267, 269, 405, 314, 17, 84, 181,  # lips, outside
    61, 82, 13, 312, 291, 317, 14, 87,  # lips, corners and inside
))  # fmt: skip
_FIRM = np.array((0, 1, 15, 16, 27, 28, 29, 30, 31, 33, 35, 36, 39, 42, 45))
_IRISES = (
    np.array((RIGHT_IRIS_CENTRE, *RIGHT_IRIS_RIM)),
    np.array((LEFT_IRIS_CENTRE, *LEFT_IRIS_RIM)),
)
_SMOOTHING = 0.01
_OPEN_LIPS = 0.15


def dense_from_sparse(
    points: NDArray[np.float64], width: int, height: int, eyes_open: tuple[bool, bool]
) -> Landmarks:
    """(68, 2) finite pixels, x right and y down, to the 478 landmarks.

    `eyes_open`, right and left: the pupil of a shut eye is not known and stays in its middle.
    """
    posed = _posed(points)
    left_over = points[: len(_MESH)] - posed[_MESH, :2]
    posed[:, :2] += _spread() @ left_over
    for iris, pupil, is_open in zip(_IRISES, points[66:], eyes_open, strict=True):
        if is_open:
            posed[iris, :2] += pupil - posed[iris[0], :2]
    return Landmarks(posed.astype(np.float32), width, height)


def sparse_from_dense(landmarks: Landmarks) -> NDArray[np.float64]:
    """(68, 2) pixels: what such a tracker would see of these landmarks."""
    chosen = [*_MESH, RIGHT_IRIS_CENTRE, LEFT_IRIS_CENTRE]
    return landmarks.points[chosen, :2].astype(np.float64)


def _posed(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """(478, 3) the mean face in the picture, as the firm points have it."""
    face = mean_face().astype(np.float64)
    model, target = face[_MESH[_FIRM]], points[_FIRM]
    a, b = model - model.mean(0), target - target.mean(0)
    affine = np.linalg.lstsq(a, b, rcond=None)[0].T  # (2, 3)
    u, s, vt = np.linalg.svd(affine, full_matrices=False)
    rows = u @ vt
    rotation = np.stack([rows[0], rows[1], np.cross(rows[0], rows[1])])
    scale = float(s.mean())
    posed: NDArray[np.float64] = scale * (face - model.mean(0)) @ rotation.T
    posed[:, :2] += target.mean(0)
    posed[:, 2] -= posed[:, 2].mean()
    return posed


@cache
def _spread() -> NDArray[np.float64]:
    """(478, 66): how much each landmark follows each point; rows of the points sum to one."""
    from puppet.retarget.openings import set_lip_gaps

    face = mean_face().astype(np.float64)
    set_lip_gaps(face, np.full(len(LIP_PAIRS), _OPEN_LIPS))
    at, known = face[:, :2], face[_MESH, :2]
    n = len(_MESH)
    system = np.zeros((n + 3, n + 3))
    system[:n, :n] = _distances(known, known) - _SMOOTHING * np.eye(n)
    system[:n, n:] = np.column_stack([np.ones(n), known])
    system[n:, :n] = system[:n, n:].T
    weights = np.linalg.solve(system, np.eye(n + 3)[:, :n])
    basis = np.column_stack([_distances(at, known), np.ones(N_LANDMARKS), at])
    spread = np.asarray(basis @ weights, np.float64)
    spread.setflags(write=False)
    return spread


def _distances(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.norm(a[:, None] - b[None], axis=2), np.float64)
