"""Training's imagined eyes: other irises, and landmarks that miss them a little."""

from __future__ import annotations

import numpy as np

from calibrate.cuts import SIZE, Cut
from calibrate.eyes import iris_share, misplace_eyes, recolour_irises
from puppet.landmarks import LEFT_EYE, RIGHT_EYE, RIGHT_IRIS_CENTRE, RIGHT_LID_PAIRS, mean_face

CHIN, FOREHEAD = 152, 10


def face(*, closed: bool = False) -> np.ndarray:
    """(478, 3) a mean face in the middle of the picture; eyes 64 pixels apart."""
    points = mean_face() * 0.5
    if closed:
        for lower, upper in RIGHT_LID_PAIRS:
            points[upper] = points[lower]
    return points.astype(np.float32)


def grey(points: np.ndarray) -> Cut:
    return Cut(np.full((SIZE, SIZE, 3), 90, np.uint8), np.full((SIZE, SIZE), 255, np.uint8), points)


def pixel(points: np.ndarray, index: int) -> tuple[int, int]:
    x, y = (points[index, :2] + 1) * (SIZE / 2)
    return int(y), int(x)


def test_irises_take_another_colour_in_all_pictures_and_nothing_else_does() -> None:
    here, there = face(), face() + np.float32((0.1, 0.05, 0))
    one, two = recolour_irises([grey(here), grey(there)], np.random.default_rng(2))
    share = iris_share(here)
    assert (one.rgb[share == 0] == 90).all()
    assert 10 < (share > 0.5).sum() < 200
    colours = [each.rgb[iris_share(each.points) > 0.9].mean(0) for each in (one, two)]
    assert np.ptp(colours[0]) > 20, "a colour, where all was grey"
    assert np.allclose(*colours, atol=4)
    row, column = pixel(here, RIGHT_IRIS_CENTRE)
    assert share[row, column] < 0.5, "the pupil stays"


def test_a_closed_eye_shows_no_iris() -> None:
    row, column = pixel(face(), RIGHT_IRIS_CENTRE)
    around = np.s_[row - 8 : row + 9, column - 8 : column + 9]
    assert iris_share(face())[around].max() > 0.8
    assert iris_share(face(closed=True))[around].max() == 0


def test_eyes_are_missed_by_the_same_way_in_all_pictures() -> None:
    here, there = face(), face() + np.float32((0.1, 0.05, 0))
    one, two = misplace_eyes([grey(here), grey(there)], np.random.default_rng(4))
    moved = one.points - here
    assert np.allclose(moved, two.points - there, atol=1e-5)
    for ring in (RIGHT_EYE, LEFT_EYE):
        off = moved[list(ring), :2]
        assert np.linalg.norm(off.mean(0)) > 0.001
        assert np.ptp(off, axis=0).max() < 0.3 * np.linalg.norm(off.mean(0))
    assert np.abs(moved[[CHIN, FOREHEAD]]).max() < 1e-4
    assert (moved[:, 2] == 0).all()
