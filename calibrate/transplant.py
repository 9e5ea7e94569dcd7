"""Other people's teeth: pure functions on cuts.

Behind the closed lips of a portrait anybody's teeth may be, but few people were filmed, and whose
teeth belong to which face is soon known by heart. So the inside of a target's mouth is exchanged
for one of somebody else, filmed or photographed, that is open as wide: what the portrait does not
show is then worth guessing only from what all mouths have in common.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from calibrate.cuts import Cut, warp_picture
from calibrate.morph import mean_colour, skin_share
from calibrate.mouths import lip_gap, mouth_shares
from puppet.draw import coarse_motion

_LIGHT = 0.5
"""Power of the ratio of the two skins' brightness that teeth take on: light changes both, but skins
differ by themselves as well. Their tint they take on as it is."""
_LIGHTEST = 2.0
_SHUT, _OPEN = 2.0, 3.0
"""Pixels between the lips up to which no teeth are seen, and from which on something is."""
_EDGE = 2.0
"""How much of the soft edge is left to the lips that are there."""


def fits(portrait: Cut, target: Cut) -> bool:
    """Whether the portrait leaves open what is between the target's lips."""
    return lip_gap(portrait.points) < _SHUT and lip_gap(target.points) > _OPEN


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
