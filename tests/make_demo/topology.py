"""Which of MediaPipe's 478 face points belong to which part of the drawn face."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

# The names right and left are the drawn person's, so "right" is on the left of the picture.
# fmt: off
OVAL = np.array([10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378,
                 400, 377, 152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54,
                 103, 67, 109])
LIPS_OUTER = np.array([61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291,
                       375, 321, 405, 314, 17, 84, 181, 91, 146])
LIPS_INNER = np.array([78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308,
                       324, 318, 402, 317, 14, 87, 178, 88, 95])
RIGHT_UPPER_LID = np.array([33, 246, 161, 160, 159, 158, 157, 173, 133])
RIGHT_LOWER_LID = np.array([33, 7, 163, 144, 145, 153, 154, 155, 133])
LEFT_UPPER_LID = np.array([263, 466, 388, 387, 386, 385, 384, 398, 362])
LEFT_LOWER_LID = np.array([263, 249, 390, 373, 374, 380, 381, 382, 362])
RIGHT_BROW_TOP = np.array([70, 63, 105, 66, 107])
RIGHT_BROW_LOW = np.array([46, 53, 52, 65, 55])
LEFT_BROW_TOP = np.array([300, 293, 334, 296, 336])
LEFT_BROW_LOW = np.array([276, 283, 282, 295, 285])
# fmt: on
RIGHT_IRIS, LEFT_IRIS = 468, 473
EYES = {
    "right": (RIGHT_UPPER_LID, RIGHT_LOWER_LID, RIGHT_IRIS, RIGHT_BROW_TOP, RIGHT_BROW_LOW),
    "left": (LEFT_UPPER_LID, LEFT_LOWER_LID, LEFT_IRIS, LEFT_BROW_TOP, LEFT_BROW_LOW),
}
N_SURFACE = 468  # the points of the face's surface; the ten after them are the irises


def eye_ring(side: str) -> Ints:
    """The closed outline of an eye's opening: upper lid, then the lower one back."""
    upper, lower = EYES[side][:2]
    ring: Ints = np.concatenate([upper, lower[-2:0:-1]])
    return ring
