"""Mouths of other colours: the same in all pictures of a sample, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from calibrate.cuts import SIZE, Cut
from calibrate.mouths import mouth_shares, recolour_mouths
from puppet.landmarks import LIPS_INNER, LIPS_OUTER


def face(opening: float) -> Cut:
    """Grey, with a mouth in the middle: an ellipse of lips, open by so much of its height."""
    points = np.zeros((478, 3), np.float32)
    for ring, height in ((LIPS_OUTER, 0.2), (LIPS_INNER, 0.2 * opening)):
        angle = np.linspace(np.pi, -np.pi, len(ring), endpoint=False)
        points[list(ring), 0] = 0.3 * np.cos(angle) * (1.0 if ring is LIPS_OUTER else 0.8)
        points[list(ring), 1] = height * np.sin(angle)
    rgb = np.full((SIZE, SIZE, 3), 100, np.uint8)
    return Cut(rgb, np.full((SIZE, SIZE), 255, np.uint8), points)


def test_lips_and_what_is_between_them_are_told_apart() -> None:
    outer, inner = mouth_shares(face(0.5).points)
    middle = SIZE // 2
    assert inner[middle, middle] > 0.95
    assert inner[middle - 20, middle] < 0.05 < 0.95 < outer[middle - 20, middle]
    assert outer[middle - 40, middle] < 0.02
    assert (inner <= outer).all()


def test_a_closed_mouth_shows_nothing_inside() -> None:
    outer, inner = mouth_shares(face(0.0).points)
    assert inner.max() == 0
    assert outer.max() > 0.95


@pytest.mark.parametrize("seed", range(5))
def test_all_pictures_change_alike(seed: int) -> None:
    wide, narrow, shut = recolour_mouths(
        [face(0.6), face(0.3), face(0.0)], np.random.default_rng(seed)
    )
    middle = SIZE // 2
    assert np.array_equal(wide.rgb[middle, middle], narrow.rgb[middle, middle])
    lips = [each.rgb[middle - 20, middle].astype(int) for each in (wide, narrow, shut)]
    assert np.abs(lips[0] - lips[1]).max() <= 3
    assert np.abs(lips[1] - lips[2]).max() <= 3
    assert not np.array_equal(wide.rgb[middle, middle], lips[0])
    assert (wide.rgb[:60] == 100).all()  # the rest of the face stays as it is
