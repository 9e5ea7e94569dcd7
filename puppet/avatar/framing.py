"""The square of a picture that becomes the portrait: the face always has the same place in it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.contract import PICTURE_SIZE
from puppet.contract import Landmarks

FACE_SHARE = 0.46
"""Height of the face oval, in units of the crop's side."""
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
