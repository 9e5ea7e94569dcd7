"""What lies outside the picture where a crop reaches beyond it: carried on from the border.

Many portraits are framed more tightly than the crop. Repeated to the letter, a border of hair or
clothes goes on in streaks.
"""

from __future__ import annotations

from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from puppet.avatar.framing import CropBox

_BODY_GOES_ON = 0.03
"""Of a crop's side, how far above a picture's bottom its matte is carried on from: at the border
itself a segmentation is swayed by what lies outside, and a body goes on."""
_HEAD_ENDS = 0.08
"""Of a crop's side, how far above a picture a head that it cuts off has faded away."""
_BLUR_OUTSIDE = 0.5
"""Standard deviation of the blur of what lies outside a picture, in units of how far outside."""
_T = TypeVar("_T", np.uint8, np.float32)


def continue_border(
    values: NDArray[_T], box: CropBox, width: int, height: int, *, bottom: float = 0.0
) -> NDArray[_T]:
    """`values` of the crop, (H, W) or (H, W, C) uint8 or float32, with what lies outside the
    picture carried on from its border, the more blurred the further out. A new array.

    `bottom`: by how much of the crop further in it begins there.
    """
    size = values.shape[0]
    scale = size / box.side
    low, high = _inside(box.y, height, scale, size, bottom)
    carried = _carried_on(values, low, high)
    low, high = _inside(box.x, width, scale, size)
    return np.ascontiguousarray(_carried_on(carried.swapaxes(0, 1), low, high).swapaxes(0, 1))


def continue_matte(
    matte: NDArray[np.float32], box: CropBox, width: int, height: int
) -> NDArray[np.float32]:
    """As `continue_border`, for the matte (H, W) of a crop whose colours were carried on: a body
    goes on, and a head that the picture cuts off fades away instead of becoming a tower."""
    carried = continue_border(matte, box, width, height, bottom=_BODY_GOES_ON)
    size = len(matte)
    above = -box.y * size / box.side - np.arange(size)
    left = np.clip(1 - above / (_HEAD_ENDS * size), 0, 1)
    return np.asarray(carried * left[:, None], np.float32)


def _inside(
    start: float, length: int, scale: float, size: int, margin: float = 0.0
) -> tuple[int, int]:
    """First and last row of the crop that show the picture and nothing else."""
    begin, end = -start * scale, (length - start) * scale
    first = min(int(np.ceil(begin)), size - 1) if begin > 0 else 0
    last = int(np.floor(end - margin * size)) - 1 if end < size else size - 1
    return first, max(first, last)


def _carried_on(values: NDArray[_T], first: int, last: int) -> NDArray[_T]:
    """Rows outside `first` to `last` from the nearest of these, blurred along it."""
    carried = values.copy()
    for row in (*range(first), *range(last + 1, len(values))):
        nearest = min(max(row, first), last)
        sigma = _BLUR_OUTSIDE * abs(row - nearest)
        line = np.ascontiguousarray(values[nearest])[None]  # (1, W) or (1, W, C)
        blurred = cv2.GaussianBlur(line, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
        carried[row] = blurred.reshape(values.shape[1:])
    return carried
