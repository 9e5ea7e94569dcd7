"""What lies outside a picture that is framed more tightly than the crop."""

from __future__ import annotations

import numpy as np

from puppet.avatar.border import continue_border, continue_matte
from puppet.avatar.framing import CropBox


def test_what_a_picture_ends_in_does_not_go_on_in_streaks() -> None:
    """A single hair ends there; a body goes on, and a head fades away."""
    box = CropBox(0, -100, 512)
    matte = np.zeros((512, 512), np.float32)
    matte[100:, 156:356] = 1
    matte[100:, 50:53] = 1
    carried = continue_border(matte, box, 512, 412)
    assert (carried[100:] == matte[100:]).all()
    assert carried[80, 51] < 0.3, "the hair"
    assert carried[80, 256] > 0.99, "the head"
    assert carried[40, 256] > 0.95
    assert 0.2 < carried[40, 160] < 0.8
    colours = np.repeat((matte * 255).astype(np.uint8)[..., None], 3, 2)
    again = continue_border(colours, box, 512, 412)
    assert np.abs(again[..., 1] / 255.0 - carried).max() < 0.02
    faded = continue_matte(matte, box, 512, 412)
    assert (faded[100:] == matte[100:]).all()
    assert 0.3 < faded[80, 256] < 0.7
    assert not faded[:50].any()
    below = continue_matte(matte, CropBox(0, 0, 512), 512, 400)
    assert below[511, 256] > 0.85
