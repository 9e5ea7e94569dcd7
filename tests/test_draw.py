"""The landmark image: goldens, and what the motion field must do."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.contract import CONTOURS_SIZE, MOTION_SIZE
from puppet.contract import Landmarks
from puppet.draw import LandmarkPainter, coarse_motion, draw_contours, picture_coordinates
from puppet.draw.motion import head_reach
from puppet.landmarks import FACE_OVAL, LIPS_OUTER, mean_face, mirror_order
from tests.faces import face
from tests.golden import assert_like_golden


def coordinates(landmarks: Landmarks) -> np.ndarray:
    return picture_coordinates(landmarks)


def at(offset: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(N, 2) the field read at (N, 2) positions in [-1, 1]."""
    cells = ((points + 1) * (len(offset) / 2) - 0.5).astype(np.float32)
    return cv2.remap(offset, cells[:, None, 0], cells[:, None, 1], cv2.INTER_LINEAR)[:, 0]


@pytest.mark.parametrize(
    ("name", "landmarks"),
    [
        ("contours-rest", face()),
        ("contours-talking", face(turn=(0.1, 0.5, -0.2), mouth_open=0.3, look=(0.1, 0))),
        ("contours-blink", face(lids=0.0, centre=(200, 300), unit=90)),
    ],
)
def test_contours_look_as_they_did(name: str, landmarks: Landmarks) -> None:
    assert_like_golden(name, draw_contours(coordinates(landmarks)))


def test_motion_looks_as_it_did() -> None:
    moved, portrait = face(turn=(0.1, 0.25, 0.1), mouth_open=0.3), face()
    offset = coarse_motion(coordinates(moved), coordinates(portrait))
    shown = np.dstack((offset * 400 + 128, np.full(offset.shape[:2], 128)))
    assert_like_golden("motion-talking", np.clip(shown, 0, 255).astype(np.uint8))


def test_a_closed_eye_shows_no_iris_and_an_open_one_does() -> None:
    eye = mean_face()[468, :2] * 130 + (256, 230)
    x, y = (eye / 512 * CONTOURS_SIZE).astype(int)
    opened = draw_contours(coordinates(face()))[y, x, 1]
    shut = draw_contours(coordinates(face(lids=0)))[y - 2 : y + 3, x, 1].mean()
    assert opened > 240
    assert shut < 200


def test_drawing_into_a_used_buffer_equals_drawing_into_a_new_one() -> None:
    used = np.full((CONTOURS_SIZE, CONTOURS_SIZE, 3), 77, np.uint8)
    points = coordinates(face(mouth_open=0.2))
    assert draw_contours(points, used) is used
    assert np.array_equal(used, draw_contours(points))


def test_faces_far_outside_the_picture_are_drawn_without_complaint() -> None:
    for centre in ((-5000.0, 200.0), (1e9, -1e9)):
        picture = draw_contours(coordinates(face(centre=centre)))
        assert picture.max() == 0


def test_the_same_face_moves_nothing() -> None:
    points = coordinates(face(turn=(0, 0.2, 0)))
    assert np.abs(coarse_motion(points, points)).max() < 1e-4


@settings(deadline=None, max_examples=15)
@given(st.floats(-100, 100), st.floats(-100, 100))
def test_a_shifted_head_is_fetched_from_where_it_was(dx: float, dy: float) -> None:
    moved, portrait = face(centre=(256 + dx, 230 + dy)), face()
    offset = coarse_motion(coordinates(moved), coordinates(portrait))
    inside = coordinates(moved)[list(FACE_OVAL), :2]
    wanted = np.array((-dx, -dy)) / 256
    assert np.abs(at(offset, inside) - wanted).max() < 0.004
    # Nothing is shown twice: neighbours in the output are neighbours, in order, in the portrait.
    step = 2 / MOTION_SIZE
    assert (np.diff(offset[..., 0], axis=1) / step > -1).all()
    assert (np.diff(offset[..., 1], axis=0) / step > -1).all()


def test_a_small_nod_leaves_the_lower_edge_alone() -> None:
    offset = coarse_motion(coordinates(face(centre=(256, 240))), coordinates(face()))
    assert np.abs(offset[-1]).max() < 0.01


def test_an_open_mouth_is_fetched_from_the_closed_one() -> None:
    moved, portrait = coordinates(face(mouth_open=0.3)), coordinates(face())
    offset = coarse_motion(moved, portrait)
    lips = list(LIPS_OUTER)
    missed = moved[lips, :2] + at(offset, moved[lips, :2]) - portrait[lips, :2]
    travel = np.linalg.norm(moved[lips, :2] - portrait[lips, :2], axis=1).max()
    assert np.linalg.norm(missed, axis=1).mean() < 0.2 * travel


def test_mirrored_faces_give_the_mirrored_field() -> None:
    moved, portrait = (
        coordinates(face(turn=(0.1, 0.3, 0.1), mouth_open=0.2)),
        coordinates(face(turn=(0, -0.2, 0))),
    )

    def flip(points: np.ndarray) -> np.ndarray:
        return (points[mirror_order()] * np.float32((-1, 1, 1))).astype(np.float32)

    plain = coarse_motion(moved, portrait)
    mirrored = coarse_motion(flip(moved), flip(portrait))[:, ::-1] * (-1, 1)
    assert np.abs(plain - mirrored).max() < 1e-4


def test_reach_is_whole_on_the_face_and_nothing_far_away() -> None:
    reach = head_reach(coordinates(face()), MOTION_SIZE)
    oval = coordinates(face())[list(FACE_OVAL), :2]
    assert at(reach[..., None].repeat(2, 2), oval * 0.95)[:, 0].min() > 0.95
    assert reach[-1].max() < 0.05
    assert reach.min() >= 0
    assert reach.max() <= 1


def test_the_painter_draws_what_the_functions_draw() -> None:
    portrait, moved = face(), face(turn=(0, 0.2, 0))
    image = LandmarkPainter(portrait).paint(moved)
    assert image.motion.shape == (MOTION_SIZE, MOTION_SIZE, 2)
    assert np.array_equal(image.contours, draw_contours(coordinates(moved)))
    assert np.array_equal(image.motion, coarse_motion(coordinates(moved), coordinates(portrait)))
