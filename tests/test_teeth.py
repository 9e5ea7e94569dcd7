"""What is seen between the driver's lips: measured in any light, carried, drawn, and no more."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from calibrate.cuts import SIZE, Clip, cut
from calibrate.people import People
from calibrate.shots import Shots
from puppet.contract import Frame, Landmarks, Rgb
from puppet.draw import LandmarkPainter, draw_contours, picture_coordinates
from puppet.draw.contours import DARKEST
from puppet.landmarks import opening_halves
from puppet.retarget import Retargeter, rest_face
from puppet.retarget.teeth import ASSUMED_TEETH, SHOWN_TEETH, USUAL_TEETH, shown_teeth
from puppet.track import open_tracker
from puppet.track.teeth import measure_teeth
from tests.faces import face
from tests.test_track import astronaut

SKIN, TEETH, THROAT, TONGUE = (190, 150, 130), (210, 200, 180), (40, 20, 20), (170, 70, 70)


def picture(seen: Landmarks, upper: tuple[int, ...], lower: tuple[int, ...]) -> Rgb:
    """Skin, with the halves of the opening painted."""
    rgb = np.full((seen.height, seen.width, 3), SKIN, np.uint8)
    for half, colour in zip(opening_halves(seen.points), (upper, lower), strict=True):
        cv2.fillPoly(rgb, [np.rint(half).astype(np.int32)], colour)
    return rgb


def test_teeth_above_a_dark_throat_are_told_from_a_tongue() -> None:
    seen = face(mouth_open=0.3)
    teeth = measure_teeth(picture(seen, TEETH, THROAT), seen.points)
    tongue = measure_teeth(picture(seen, THROAT, TONGUE), seen.points)
    assert teeth is not None
    assert tongue is not None
    assert teeth[0] > 0.53 > 0.2 > teeth[1]
    assert tongue[0] < 0.2 < 0.28 < tongue[1] < 0.38


@pytest.mark.parametrize("light", [0.35, 0.7, 1.15])
@pytest.mark.parametrize("turn", [(0.0, 0.0, 0.0), (0.1, 0.4, 0.2)])
def test_light_and_pose_change_little(light: float, turn: tuple[float, float, float]) -> None:
    seen = face(mouth_open=0.3, turn=turn)
    rgb = picture(seen, TEETH, TONGUE)
    lit = np.clip(rgb * light, 0, 255).astype(np.uint8)
    expected = measure_teeth(
        picture(face(mouth_open=0.3), TEETH, TONGUE), face(mouth_open=0.3).points
    )
    assert measure_teeth(lit, seen.points) == pytest.approx(expected, abs=0.03)


def test_a_small_picture_tells_the_same() -> None:
    large, small = face(mouth_open=0.3), face(mouth_open=0.3, unit=40, centre=(60, 50))
    assert measure_teeth(picture(small, TEETH, THROAT), small.points) == pytest.approx(
        measure_teeth(picture(large, TEETH, THROAT), large.points), abs=0.06
    )


def test_closed_lips_and_lips_out_of_the_picture_tell_nothing() -> None:
    shut, outside = face(), face(mouth_open=0.3, centre=(256, 450))
    assert measure_teeth(picture(shut, TEETH, TEETH), shut.points) is None
    assert measure_teeth(picture(outside, TEETH, TEETH), outside.points) is None


def test_the_tracker_measures_a_smile() -> None:
    tracker = open_tracker()
    try:
        found = [tracker.track(Frame(astronaut(), i * 33_000_000, i)).landmarks for i in range(3)]
    finally:
        tracker.close()
    assert found[-1] is not None
    assert found[-1].teeth is not None
    assert 0.4 < found[-1].teeth[0] < 0.7  # her teeth show


def test_what_the_driver_shows_reaches_the_drawing_word_by_word() -> None:
    portrait, driver = face(), replace(face(mouth_open=0.3), teeth=(0.5, 0.2))
    retargeter = Retargeter(rest_face(portrait))
    moved = retargeter.retarget(driver, 0)
    assert moved.teeth == pytest.approx((SHOWN_TEETH, 0.2 / 0.5 * SHOWN_TEETH))
    drawn = LandmarkPainter(portrait).paint(moved).contours
    points = picture_coordinates(moved)
    levels = []
    for half in opening_halves(points):
        area = np.zeros(drawn.shape[:2], np.uint8)
        cv2.fillPoly(area, [np.rint((half + 1) * (len(area) / 2)).astype(np.int32)], (1,))
        levels.append(float(np.median(drawn[..., 0][area > 0])))
    assert levels[0] > 200 > 120 > levels[1] > DARKEST
    assert retargeter.retarget(face(), 33_000_000).teeth == ASSUMED_TEETH
    later = retargeter.retarget(replace(driver, teeth=(0.2, 0.2)), 66_000_000)
    dark = 0.2 / 0.5 * SHOWN_TEETH
    assert later.teeth == pytest.approx((dark, dark), abs=1e-3)  # not smoothed from the last word


@pytest.mark.parametrize("teeth", [0.46, 0.5, 0.6])
def test_teeth_of_every_driver_are_shown_alike_and_the_dark_stays_dark(teeth: float) -> None:
    retargeter = Retargeter(rest_face(face()))
    smile = retargeter.retarget(replace(face(mouth_open=0.3), teeth=(teeth, 0.3)), 0)
    assert smile.teeth is not None
    assert smile.teeth[0] == pytest.approx(SHOWN_TEETH)
    retargeter.retarget(face(), 33_000_000)
    yawn = retargeter.retarget(replace(face(mouth_open=0.5), teeth=(0.15, 0.12)), 66_000_000)
    assert yawn.teeth is not None
    assert yawn.teeth[0] < 0.2


def test_a_glint_is_forgotten() -> None:
    retargeter = Retargeter(rest_face(face()))
    retargeter.retarget(replace(face(mouth_open=0.3), teeth=(0.9, 0.3)), 0)
    shown = []
    for second in range(0, 300, 2):
        retargeter.retarget(face(), second * 1_000_000_000 + 1)
        smile = replace(face(mouth_open=0.3), teeth=(0.46, 0.3))
        shown.append(retargeter.retarget(smile, (second + 1) * 1_000_000_000).teeth)
    first, last = shown[0], shown[-1]
    assert first is not None
    assert last is not None
    assert first[0] < 0.45
    assert last[0] == pytest.approx(SHOWN_TEETH, abs=0.01)


def test_flickering_light_is_smoothed() -> None:
    retargeter = Retargeter(rest_face(face()))
    noise = np.random.default_rng(1).normal(0, 0.03, 60)
    shown = [
        retargeter.retarget(
            replace(face(mouth_open=0.3), teeth=(0.4 + e, 0.3)), i * 33_000_000
        ).teeth
        for i, e in enumerate(noise)
    ]
    uppers = np.array([teeth[0] for teeth in shown if teeth is not None])
    assert np.diff(uppers).std() < 0.7 * np.diff(noise).std()


def test_nothing_known_is_drawn_as_before_and_nowhere_but_between_the_lips() -> None:
    points = picture_coordinates(face(mouth_open=0.3))
    plain, known = draw_contours(points), draw_contours(points, teeth=(0.55, 0.1))
    assert np.array_equal(plain[..., 1:], known[..., 1:])
    inside = plain[..., 2] > 240
    assert (known[..., 0] != plain[..., 0])[inside].mean() > 0.95
    around = cv2.dilate(inside.astype(np.uint8), np.ones((5, 5))) > 0
    assert np.array_equal(plain[..., 0][~around], known[..., 0][~around])
    assert plain[..., 0][inside].max() == 0
    assert known[..., 0][inside].min() > DARKEST / 2  # on the edges


def test_a_portrait_is_told_a_share_of_what_the_drivers_teeth_can_be() -> None:
    assert shown_teeth((0.5, 0.25), 0.5) == pytest.approx((SHOWN_TEETH, SHOWN_TEETH / 2))
    assert shown_teeth((0.6, 0.25), 0.5)[0] == SHOWN_TEETH  # never lighter than the lightest
    assert shown_teeth((0.6, 0.25), 0.5, 0.8) == pytest.approx((0.8, 0.4))
    assert shown_teeth(None, 0.5) == ASSUMED_TEETH


def test_samples_are_told_what_the_live_loop_would_tell() -> None:
    """Two frames of somebody, teeth in the one and the dark in the other."""
    seen = face(mouth_open=0.3)
    pictures = [picture(seen, TEETH, TONGUE), picture(seen, THROAT, THROAT)]
    clip = Clip(
        "one", "one", np.stack(pictures), np.full((2, seen.height, seen.width), 255, np.uint8),
        np.stack([seen.points] * 2), np.arange(2),
    )  # fmt: skip
    people = People([clip], [])
    measured = [measure_teeth(rgb, seen.points) for rgb in pictures]
    assert measured[0] is not None
    assert measured[1] is not None
    smiles, dark = (
        np.array([people.teeth(clip, i, np.random.default_rng(seed)) for seed in range(40)])
        for i in (0, 1)
    )
    assert smiles[:, 0] == pytest.approx(SHOWN_TEETH)
    lighter = People([clip], [], 0.6)
    assert lighter.teeth(clip, 0, np.random.default_rng(0))[0] == pytest.approx(0.6)
    lightest = {round(float(each), 4) for each in SHOWN_TEETH * measured[1][0] / dark[:, 0]}
    # Some drivers have not smiled yet; the others are known by their smile.
    assert lightest == {USUAL_TEETH, round(max(measured[0]), 4)}


def test_tuning_tells_teeth_against_the_lightest_of_all_pictures() -> None:
    """Half-lit teeth in a picture of somebody who smiles in another are half-lit, live and here."""
    seen, half_lit = face(mouth_open=0.3), (160, 150, 140)
    smile = picture(seen, TEETH, THROAT)
    pictures = [smile] + [picture(seen, half_lit, THROAT)] * 8
    clip = Clip(
        "p", "p", np.stack(pictures), np.full((9, seen.height, seen.width), 255, np.uint8),
        np.stack([seen.points] * 9), np.arange(9),
    )  # fmt: skip
    lightest, measured = (measure_teeth(pictures[i], seen.points) for i in (0, 1))
    assert lightest is not None
    assert measured is not None
    assert lightest[0] > measured[0] + 0.05 > USUAL_TEETH + 0.05
    shots = Shots(clip, batch=1, roaming_share=0.0, seed=1)
    told = shown_teeth(measured, lightest[0])
    assert told[0] < SHOWN_TEETH - 0.03
    points = cut(clip, 1, np.eye(2, 3, dtype=np.float32) * (SIZE / seen.width), False).points
    expected = draw_contours(points, teeth=told)
    _, batch = next(shots.batches())
    for contours in (shots.held_out[0]["contours"], batch["contours"][0].numpy()):
        np.testing.assert_array_equal(contours, expected)


def test_lips_that_are_closed_are_told_to_hide_teeth() -> None:
    shut = face()
    clip = Clip(
        "shut", "shut", picture(shut, SKIN, SKIN)[None], np.full((1, 512, 512), 255, np.uint8),
        shut.points[None], np.arange(1),
    )  # fmt: skip
    assert People([clip], []).teeth(clip, 0, np.random.default_rng(0)) == ASSUMED_TEETH
