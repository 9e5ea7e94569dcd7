"""Closed mouths of stills opened: pure functions on cuts.

Two out of three stills have their lips closed, and of painted and drawn faces nearly all. Where
only filmed people open theirs, a network learns that paintings do not. So a still's mouth is opened
as somebody filmed opened theirs, with the inside of that mouth behind its lips, in the still's own
light.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from calibrate.cuts import Cut, move_person, warp_picture
from calibrate.morph import mean_colour, skin_share
from calibrate.mouths import mouth_shares
from puppet.draw import coarse_motion
from puppet.landmarks import mean_face

_NOSE, _UPPER_LIP = 4, 13
_LIGHT = 0.5
"""Power of the ratio of the two skins' brightness that teeth take on: light changes both, but skins
differ by themselves as well. Their tint they take on as it is."""
_LIGHTEST = 2.0
_EDGE = 2.0
"""How much of the soft edge is left to the lips that are there."""


def open_lips(face: Cut, change: NDArray[np.float32]) -> Cut:
    """The face with its lips and jaw moved by a change of expression (478, 3), in units of the
    outer eye corners' distance. What is between the lips is stretched from their edges."""
    unit = float(np.linalg.norm(face.points[33, :2] - face.points[263, :2]))
    points = (face.points + change * (unit * _lower_face())).astype(np.float32)
    return move_person(face, coarse_motion(points, face.points), points)


def transplant(face: Cut, donor: Cut) -> Cut:
    """The face with the inside of the donor's mouth, in the face's light. `face.matte` and
    `face.points` are shared with the result."""
    inside = np.clip(mouth_shares(face.points)[1] * _EDGE - (_EDGE - 1), 0, 1)[..., None]
    moved = warp_picture(donor.rgb, coarse_motion(face.points, donor.points))
    here = mean_colour(face.rgb, skin_share(face.points))
    there = mean_colour(donor.rgb, skin_share(donor.points))
    ratio = (here + 1) / (there + 1)
    lighter = (here.mean() + 1) / (there.mean() + 1)
    gain = (ratio * lighter ** (_LIGHT - 1)).clip(1 / _LIGHTEST, _LIGHTEST)
    rgb = face.rgb * (1 - inside) + np.clip(moved * gain, 0, 255) * inside
    return replace(face, rgb=np.rint(rgb).astype(np.uint8))


def _lower_face() -> NDArray[np.float32]:
    """(478, 1) in [0, 1]: 1 from the upper lip down, 0 from the tip of the nose up."""
    down = mean_face()[:, 1:2]
    nose, lip = (float(down[i, 0]) for i in (_NOSE, _UPPER_LIP))
    return np.asarray(np.clip((down - nose) / (lip - nose), 0, 1), np.float32)
