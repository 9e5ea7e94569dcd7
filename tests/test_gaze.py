"""Synthetic glances of stills: the iris is where its landmarks say, the lids stay."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from calibrate.cuts import SIZE
from calibrate.gaze import glance, set_gaze
from puppet.draw import coarse_motion
from puppet.landmarks import (
    LEFT_EYE,
    LEFT_IRIS_CENTRE,
    RIGHT_EYE,
    RIGHT_IRIS_CENTRE,
)
from tests.faces import face

Points = NDArray[np.float32]
CENTRES = [RIGHT_IRIS_CENTRE, LEFT_IRIS_CENTRE]


def eyes(**options: float) -> Points:
    """A face in [-1, 1] of its picture."""
    found = face(unit=200.0, **options)  # type: ignore[arg-type]
    return (found.points / (found.width / 2) - np.array((1, 1, 0))).astype(np.float32)


def looking(points: Points, x: float, y: float = 0.0) -> Points:
    moved = points.copy()
    moved[468:, :2] += np.array((x, y), np.float32)
    return moved


def at(field: NDArray[np.float32], places: Points) -> Points:
    """The field's offsets at the pixels nearest to places (N, 2)."""
    column, row = np.clip(((places + 1) * (SIZE / 2)).astype(int), 0, SIZE - 1).T
    return np.asarray(field[row, column], np.float32)


def grown(field: NDArray[np.float32]) -> NDArray[np.float32]:
    """The coarse motion by itself."""
    return np.asarray(cv2.resize(field, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR), np.float32)


@pytest.mark.parametrize("x", [-0.04, -0.02, 0.03, 0.04])
def test_the_iris_comes_from_where_it_was(x: float) -> None:
    portrait = eyes()
    driving = looking(portrait, x, x / 4)
    coarse = coarse_motion(driving, portrait)
    wanted = (portrait - driving)[CENTRES, :2]
    got = at(set_gaze(coarse, driving, portrait, SIZE), driving[CENTRES, :2])
    assert np.allclose(got, wanted, atol=0.15 * abs(x))
    alone = at(grown(coarse), driving[CENTRES, :2])
    assert (np.abs(alone) < 0.6 * np.abs(wanted)).all(), "the coarse motion alone would do"


def test_lids_and_all_around_stay_and_nothing_folds() -> None:
    portrait = eyes()
    driving = looking(portrait, 0.04)
    coarse = coarse_motion(driving, portrait)
    field = set_gaze(coarse, driving, portrait, SIZE)
    change = np.abs(field - grown(coarse)).max(2)
    inside = np.zeros((SIZE, SIZE), np.uint8)
    for ring in (RIGHT_EYE, LEFT_EYE):
        corners = np.rint((driving[list(ring), :2] + 1) * (SIZE / 2)).astype(np.int32)
        cv2.fillPoly(inside, [corners], (1,))
    assert change[cv2.dilate(inside, np.ones((5, 5), np.uint8)) == 0].max() < 2e-3
    assert change[inside == 1].max() > 0.01
    for centre in CENTRES:
        row = int((driving[centre, 1] + 1) * SIZE / 2)
        source = (np.arange(SIZE) + 0.5) * (2 / SIZE) - 1 + field[row, :, 0]
        assert (np.diff(source) > 0).all(), "the white folds"


def test_eyes_that_are_shut_have_no_gaze() -> None:
    portrait = eyes(lids=0.0)
    driving = looking(portrait, 0.04)
    coarse = coarse_motion(driving, portrait)
    apart = np.abs(set_gaze(coarse, driving, portrait, SIZE) - grown(coarse))
    assert apart.max() < 0.02


def test_glances_stay_between_the_corners_and_both_eyes_look_alike() -> None:
    points = eyes()
    rng = np.random.default_rng(5)
    sideways = []
    for _ in range(200):
        found = glance(points, rng)
        assert np.array_equal(found[:468], points[:468])
        moves = (found - points)[CENTRES, 0]
        assert moves[0] * moves[1] > -1e-5  # across, they do differ
        sideways.append(float(moves.mean()))
        for ring, centre in ((RIGHT_EYE, CENTRES[0]), (LEFT_EYE, CENTRES[1])):
            low, high = sorted((found[ring[0], 0], found[ring[8], 0]))
            assert low < found[centre, 0] < high
    width = abs(float(points[33, 0] - points[133, 0]))
    assert 0.04 < np.std(sideways) / width < 0.15
    assert abs(np.mean(sideways)) < 0.03 * width * 3
