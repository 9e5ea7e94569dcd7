"""The topology of MediaPipe's 478 face points: rings and groups by anatomical name.

'Right' and 'left' are the subject's own, so the right eye lies on the left of an unmirrored
picture. Rings are in drawing order. Points 0..467 are the face mesh, 468..477 the two irises
(centre, then four points on the rim).
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from puppet.contract import N_LANDMARKS

FACE_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip

# Both lip rings start at the subject's right corner and run over the lower lip first.
LIPS_OUTER = (
    61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185,
)  # fmt: skip
LIPS_INNER = (
    78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191,
)  # fmt: skip

# Both eye rings start at the outer corner and run along the lower lid first.
RIGHT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
LEFT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)

RIGHT_BROW_UPPER = (70, 63, 105, 66, 107)
RIGHT_BROW_LOWER = (46, 53, 52, 65, 55)
LEFT_BROW_UPPER = (300, 293, 334, 296, 336)
LEFT_BROW_LOWER = (276, 283, 282, 295, 285)

NOSE_BRIDGE = (168, 6, 197, 195, 5, 4)
NOSE_BASE = (64, 98, 97, 2, 326, 327, 294)

RIGHT_IRIS_CENTRE, RIGHT_IRIS_RIM = 468, (469, 470, 471, 472)
LEFT_IRIS_CENTRE, LEFT_IRIS_RIM = 473, (474, 475, 476, 477)

FACE_SIDES = (234, 454)  # where the oval is widest: right and left

# Facing pairs (lower, upper) across an opening; the gap between them is the opening.
LIP_PAIRS = tuple(zip(LIPS_INNER[1:10], LIPS_INNER[:10:-1], strict=True))
RIGHT_LID_PAIRS = tuple(zip(RIGHT_EYE[1:8], RIGHT_EYE[:8:-1], strict=True))
LEFT_LID_PAIRS = tuple(zip(LEFT_EYE[1:8], LEFT_EYE[:8:-1], strict=True))

# Points that expressions hardly move: forehead, temples, the bridge and the sides of the nose,
# the outer eye corners and the cheekbones. Head pose is fitted on these.
STABLE = (
    10, 67, 109, 338, 297, 103, 332, 54, 284, 151, 9, 8, 168, 6, 197, 195, 5, 4,
    127, 356, 162, 389, 234, 454, 93, 323, 33, 263, 133, 362, 98, 327, 129, 358,
)  # fmt: skip


def opening_halves(
    points: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Polygons (20, 2) of the upper and the lower half of what is between the lips, of landmarks
    (478, 2 or 3) in any coordinates; the halves meet half-way."""
    ring = points[list(LIPS_INNER), :2]
    corners, below, above = ring[[0, 10]], ring[1:10], ring[:10:-1]
    middle = np.concatenate((corners[:1], (below + above) / 2, corners[1:]))
    back = middle[-2:0:-1]
    upper = np.concatenate((corners[:1], above, corners[1:], back))
    lower = np.concatenate((corners[:1], below, corners[1:], back))
    return upper, lower


@cache
def mean_face() -> NDArray[np.float32]:
    """(478, 3) float32, read-only: the symmetric mean face, frontal, x right, y down, z towards
    the viewer negative, origin between the eyes' outer corners, unit = distance between them.

    Statistics of the training clips' landmarks, made by `python -m calibrate.mean_face`.
    """
    with (files("puppet") / "data" / "mean_face.npy").open("rb") as f:
        points: NDArray[np.float32] = np.load(f, allow_pickle=False)
    points.setflags(write=False)
    return points


@cache
def mirror_order() -> NDArray[np.intp]:
    """(478,): index of each point's partner across the face; `points[order]` relabels a
    mirrored face."""
    face = mean_face()
    mirrored = face * np.array((-1, 1, 1), np.float32)
    distance = ((mirrored[:, None] - face[None]) ** 2).sum(-1)
    # Eyes' rims and mesh overlap in space: a point's partner stays in its own group.
    mesh = np.arange(N_LANDMARKS) < 468
    distance[mesh[:, None] != mesh[None]] = np.inf
    order: NDArray[np.intp] = distance.argmin(1)
    if not np.array_equal(order[order], np.arange(N_LANDMARKS)):
        raise ValueError("the mean face is not symmetric")
    return order
