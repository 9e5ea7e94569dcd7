"""What an avatar made from one frame holds, prepared by the avatar's own functions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engines.contract import PICTURE_SIZE
from puppet.avatar.background import remove_person
from puppet.avatar.border import continue_border, continue_matte
from puppet.avatar.framing import CropBox, cut
from puppet.avatar.matting import refine_matte
from puppet.avatar.person import Segmenter, person_in_crop
from puppet.contract import Landmarks, Rgb


@dataclass(frozen=True, slots=True)
class Sitter:
    """The person of one portrait; arrays are 512 x 512."""

    plain: Rgb
    """The square of the picture, as the generator takes it."""
    matte: NDArray[np.uint8]
    background: Rgb
    """The square without the person."""
    landmarks: Landmarks


def prepare(segmenter: Segmenter, picture: Rgb, box: CropBox, face: Landmarks) -> Sitter:
    """`picture` (H, W, 3) with `face` in its own pixels, cut to `box`. About a second."""
    height, width = picture.shape[:2]
    square = cut(picture, box)
    plain = continue_border(square, box, width, height)
    landmarks = box.to_crop(face)
    rough = person_in_crop(segmenter, square, landmarks)
    alpha = refine_matte(square, rough)
    alpha = continue_matte(alpha, box, width, height)
    return Sitter(
        plain=plain,
        matte=np.asarray(np.rint(alpha * 255), np.uint8),
        background=remove_person(plain, alpha),
        landmarks=landmarks,
    )


def compose(rgba: NDArray[np.uint8], background: Rgb) -> Rgb:
    """(512, 512, 3): the generator's straight RGBA before the background."""
    assert rgba.shape == (PICTURE_SIZE, PICTURE_SIZE, 4)
    alpha = rgba[..., 3:].astype(np.float32) / 255
    mixed = rgba[..., :3] * alpha + background * (1 - alpha)
    return np.asarray(np.rint(mixed), np.uint8)
