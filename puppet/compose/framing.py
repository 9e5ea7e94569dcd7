"""Which part of the avatar's picture is shown, and where the animated square lands in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

_FACE_HEIGHT = 0.45  # where the face's centre lies in a wide frame, from the top
_LOWEST_FACE, _HIGHEST_FACE = 0.56, 0.40
_LOWEST_FACE_TALL = 0.74  # in a frame that is taller than wide
_NO_NECK = 0.66  # where it may lie rather than that a bust ends above the frame's lower edge
_VIEW_IN_CROPS = 1.15  # height of a wide view, in sides of the crop: head and shoulders
_TIGHTEST = 0.62  # a picture that ends at the neck may fill the frame this much
_NARROWEST = 0.72  # width of the view, in sides of the crop: head and hair
_SLACK = 0.02  # of the side: how far the crop may reach below the picture unnoticed
_SIDE_SHIFT = 0.12  # of the view's width: how far the face may leave the middle


class Box(Protocol):
    """A square of the picture, in its pixels; may reach outside of it."""

    @property
    def x(self) -> float: ...
    @property
    def y(self) -> float: ...
    @property
    def side(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Framing:
    """The animated square is `side` output pixels wide at (x, y), which may be outside."""

    width: int
    height: int
    x: int
    y: int
    side: int
    scale: float
    """Output pixels per picture pixel."""
    origin: tuple[float, float]
    """The picture's pixel-corner coordinates of the output's top left corner."""

    @property
    def is_crop(self) -> bool:
        """The output is the animated square and nothing else."""
        return (self.x, self.y, self.side, self.side) == (0, 0, self.width, self.height)

    def sampling(self) -> NDArray[np.float64]:
        """(2, 3) affine from output to picture pixels (for cv2 with WARP_INVERSE_MAP)."""
        step = 1 / self.scale
        shift_x, shift_y = (o + step / 2 - 0.5 for o in self.origin)
        return np.array([[step, 0.0, shift_x], [0.0, step, shift_y]])

    def picture_edges(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of a picture of this size, in output pixels."""
        left, top = (-o * self.scale for o in self.origin)
        return left, top, left + width * self.scale, top + height * self.scale

    def visible(self) -> tuple[slice, slice]:
        """Rows and columns of the output that the animated square covers."""
        return (
            slice(max(0, self.y), min(self.height, self.y + self.side)),
            slice(max(0, self.x), min(self.width, self.x + self.side)),
        )


def frame_portrait(
    size: tuple[int, int], crop: Box, picture_size: tuple[int, int], floor: float | None = None
) -> Framing:
    """Head and shoulders with headroom for any shape of output.

    A square shows the crop itself, unless the picture ends above the crop's lower edge.
    `size` and `picture_size` are (width, height). `floor`: the lowest picture row that may be
    shown because the body ends there (the picture's lower edge when None).
    """
    width, height = size
    picture_width, picture_height = picture_size
    lowest = min(picture_height, picture_height if floor is None else floor)
    if width == height and crop.y + crop.side <= lowest + _SLACK * crop.side:
        return _snapped(size, crop, (crop.x, crop.y), crop.side)
    face_x, face_y = crop.x + crop.side / 2, crop.y + crop.side / 2
    aspect = width / height
    lowest_face = _LOWEST_FACE if aspect >= 1 else _LOWEST_FACE_TALL
    wanted = 1.0 if aspect == 1 else _VIEW_IN_CROPS
    view = max(wanted * crop.side, 0.95 * crop.side / aspect)
    # The body must not end in mid-air: rather move up, then in, then up again, until the floor is
    # out of sight.
    if face_y + (1 - lowest_face) * view > lowest:
        tightest = max(_TIGHTEST, _NARROWEST / aspect) * crop.side
        view = max((lowest - face_y) / (1 - lowest_face), tightest)
    top = min(face_y - _FACE_HEIGHT * view, lowest - view)
    if top < 0:  # less headroom rather than an invented sky, within limits
        top = max(top, min(0.0, face_y - _HIGHEST_FACE * view, lowest - view))
    top = max(top, face_y - max(lowest_face, _NO_NECK) * view)

    view_width = view * aspect
    left = face_x - view_width / 2
    if view_width <= picture_width:
        inside = min(max(left, 0.0), picture_width - view_width)
        limit = _SIDE_SHIFT * view_width
        left += min(max(inside - left, -limit), limit)
    return _snapped(size, crop, (left, top), view)


def _snapped(
    size: tuple[int, int], crop: Box, origin: tuple[float, float], view_height: float
) -> Framing:
    """Rounds so that the crop lands on whole output pixels, and the picture follows it."""
    side = max(1, round(crop.side * size[1] / view_height))
    scale = side / crop.side
    x, y = round((crop.x - origin[0]) * scale), round((crop.y - origin[1]) * scale)
    origin = (crop.x - x / scale, crop.y - y / scale)
    return Framing(size[0], size[1], x, y, side, scale, origin)
