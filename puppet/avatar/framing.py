"""The square of a picture that becomes the portrait: the face always has the same place in it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.contract import PICTURE_SIZE
from puppet.contract import Landmarks

FACE_SHARE = 0.46
"""Height of the face oval, in units of the crop's side."""
_BODY_GOES_ON = 0.03
"""Of a crop's side, how far above a picture's bottom its matte is carried on from: at the border
itself a segmentation is swayed by what lies outside, and a body goes on."""
_HEAD_ENDS = 0.08
"""Of a crop's side, how far above a picture a head that it cuts off has faded away."""
_BLUR_OUTSIDE = 0.5
"""Standard deviation of the blur of what lies outside a picture, in units of how far outside."""
_T = TypeVar("_T", np.uint8, np.float32)
FACE_CENTRE = (0.5, 0.5)
"""Centre of the face oval in the crop, in units of the side (x, y)."""

# MediaPipe's face oval, clockwise from the top of the forehead (FACEMESH_FACE_OVAL).
FACE_OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)


@dataclass(frozen=True, slots=True)
class CropBox:
    """A square in picture pixels, which may reach outside the picture."""

    x: float
    y: float
    side: float

    def to_crop(self, landmarks: Landmarks, size: int = PICTURE_SIZE) -> Landmarks:
        """Landmarks of the picture in the pixels of the crop at `size`."""
        points = landmarks.points.copy()
        points[:, :2] -= np.array([self.x, self.y], np.float32)
        points *= np.float32(size / self.side)
        return replace(landmarks, points=points, width=size, height=size)

    def to_picture(self, landmarks: Landmarks, width: int, height: int) -> Landmarks:
        """The other way round."""
        points = landmarks.points * np.float32(self.side / landmarks.width)
        points[:, :2] += np.array([self.x, self.y], np.float32)
        return replace(landmarks, points=points, width=width, height=height)


def frame_face(face: Landmarks) -> CropBox:
    """The crop for a face found in a picture: upright, centred on the face oval."""
    oval = face.points[list(FACE_OVAL), :2]
    low, high = oval.min(axis=0), oval.max(axis=0)
    # A face seen from the side or lying down is wider than high: take the larger for the height.
    height = max(float(high[1] - low[1]), float(high[0] - low[0]) * 1.05)
    side = height / FACE_SHARE
    x, y = (float(v) for v in (low + high) / 2)
    return CropBox(x - FACE_CENTRE[0] * side, y - FACE_CENTRE[1] * side, side)


def cut(image: NDArray[np.uint8], box: CropBox, size: int = PICTURE_SIZE) -> NDArray[np.uint8]:
    """The crop at `size` x `size`; what lies outside the picture repeats its border.

    `image`: (H, W) or (H, W, C) uint8. Shrinks with an area filter, grows with Lanczos.
    """
    scale = size / box.side
    if scale < 0.75:
        image = np.asarray(
            cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8
        )
        box, scale = CropBox(box.x * scale, box.y * scale, float(size)), 1.0
    # Pixel centres lie at +0.5: keep them there under the scaling.
    shift = 0.5 * scale - 0.5
    matrix = np.array(
        [[scale, 0, shift - box.x * scale], [0, scale, shift - box.y * scale]], np.float64
    )
    interpolation = cv2.INTER_LINEAR if scale <= 1 else cv2.INTER_LANCZOS4
    crop = cv2.warpAffine(
        image, matrix, (size, size), flags=interpolation, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(crop, np.uint8)


def continue_border(
    values: NDArray[_T], box: CropBox, width: int, height: int, *, bottom: float = 0.0
) -> NDArray[_T]:
    """`values` of the crop, (H, W) or (H, W, C) uint8 or float32, with what lies outside the
    picture carried on from its border, the more blurred the further out. A new array.

    A picture that ends in hair or clothes would go on in streaks. `bottom`: by how much of the
    crop further in it begins there.
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


def paste_matrix(box: CropBox, size: int = PICTURE_SIZE) -> NDArray[np.float64]:
    """(2, 3): maps crop pixels at `size` to picture pixels, for cv2.warpAffine."""
    scale = box.side / size
    shift = 0.5 * scale - 0.5
    return np.array([[scale, 0, shift + box.x], [0, scale, shift + box.y]], np.float64)


def oval_mask(face: Landmarks) -> NDArray[np.uint8]:
    """(height, width) uint8: 255 inside the face oval."""
    mask = np.zeros((face.height, face.width), np.uint8)
    outline = np.round(face.points[list(FACE_OVAL), :2]).astype(np.int32)
    cv2.fillPoly(mask, [outline], (255,))
    return mask
