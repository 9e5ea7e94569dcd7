"""Retargeting: what must hold for every driver and every portrait."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puppet.contract import Landmarks, Observation, UserError
from puppet.landmarks import LIPS_INNER, LIPS_OUTER, RIGHT_LID_PAIRS, mirror_order
from puppet.retarget import (
    NeutralCollector,
    Retargeter,
    RetargetSettings,
    average_neutral,
    best_neutral,
    load_profile,
    rest_face,
    save_profile,
)
from puppet.retarget.openings import EYES, eye_openness, gaze, lids_at_glance, lip_gaps, mouth_width
from puppet.retarget.pose import fit_pose, to_vector
from puppet.retarget.smoothing import OneEuroFilter, Smoothing
from tests.faces import face

UNFILTERED = RetargetSettings(steadiness=0)
SMALL = st.floats(-0.3, 0.3)


def mirrored(landmarks: Landmarks) -> Landmarks:
    points = landmarks.points[mirror_order()].copy()
    points[:, 0] = landmarks.width - points[:, 0]
    return replace(landmarks, points=points)


def carry(
    driver: Landmarks, neutral: Landmarks, portrait: Landmarks, **changes: float
) -> Landmarks:
    retargeter = Retargeter(
        rest_face(portrait), average_neutral([neutral]), replace(UNFILTERED, **changes)
    )
    return retargeter.retarget(driver, 0)


@settings(deadline=None, max_examples=25)
@given(SMALL, SMALL, SMALL, st.floats(60, 160), SMALL, SMALL)
def test_neutral_in_gives_neutral_out(
    pitch: float, yaw: float, roll: float, unit: float, portrait_yaw: float, portrait_roll: float
) -> None:
    neutral = face(turn=(pitch, yaw, roll), unit=unit, centre=(300, 200))
    portrait = rest_face(face(turn=(0.05, portrait_yaw, portrait_roll)))
    result = carry(neutral, neutral, portrait)
    assert np.abs(result.points - portrait.points).max() < 0.5


@settings(deadline=None, max_examples=25)
@given(SMALL, SMALL, SMALL, st.floats(0, 0.4), st.floats(0, 1.2), st.floats(-0.1, 0.1))
def test_a_mirrored_driver_moves_a_mirrored_portrait_alike(
    pitch: float, yaw: float, roll: float, mouth: float, lids: float, look: float
) -> None:
    driver = face(turn=(pitch, yaw, roll), mouth_open=mouth, lids=lids, look=(look, 0.02))
    portrait = face(turn=(0, 0.3, 0))
    plain = carry(driver, face(), portrait)
    other = carry(mirrored(driver), mirrored(face()), mirrored(portrait))
    assert np.abs(mirrored(other).points - plain.points).max() < 0.6


def test_mirroring_twice_is_identity() -> None:
    some = face(turn=(0.1, -0.2, 0.3), mouth_open=0.2)
    assert np.allclose(mirrored(mirrored(some)).points, some.points, atol=1e-3)


@pytest.mark.parametrize("yaw", [-0.6, 0.0, 0.6])
def test_shut_lids_of_the_driver_shut_the_portraits(yaw: float) -> None:
    portrait = face(turn=(0, yaw, 0))
    result = carry(face(lids=0.2), face(), portrait)
    for lower, upper in RIGHT_LID_PAIRS:
        gap = np.linalg.norm(result.points[lower] - result.points[upper])
        assert gap < 1.0, "pixels between the lids of a closed eye"


@pytest.mark.parametrize("yaw", [-0.6, 0.0, 0.6])
def test_lips_that_touch_touch_on_the_portrait_even_if_it_was_painted_open(yaw: float) -> None:
    portrait = face(turn=(0, yaw, 0), mouth_open=0.15)
    result = carry(face(), face(), portrait)
    shape = fit_pose(result.points).to_head(result.points)
    assert np.abs(lip_gaps(shape)).max() / mouth_width(shape) < 0.01


def test_an_opening_mouth_opens_the_portraits_by_its_own_size() -> None:
    small, large = face(unit=80), face(unit=160)
    opened = carry(face(mouth_open=0.3), face(), small), carry(face(mouth_open=0.3), face(), large)
    gaps = [lip_gaps(fit_pose(o.points).to_head(o.points)).max() for o in opened]
    assert gaps[0] > 0.2
    assert gaps[0] == pytest.approx(gaps[1], rel=0.02)


@pytest.mark.parametrize("portrait_yaw", [-0.65, 0.0, 0.65])
def test_an_open_mouth_does_not_tear_a_portrait_at_an_angle(portrait_yaw: float) -> None:
    portrait = face(turn=(0.05, portrait_yaw, 0.1))
    result = carry(face(mouth_open=0.35), face(), portrait)
    shape = fit_pose(result.points).to_head(result.points)
    upper_outer, upper_inner = LIPS_OUTER[:10:-1], LIPS_INNER[:10:-1]
    lower_inner, lower_outer = LIPS_INNER[1:10], LIPS_OUTER[1:10]
    order = np.stack(
        [shape[list(ring), 1] for ring in (upper_outer, upper_inner, lower_inner, lower_outer)]
    )
    assert (np.diff(order, axis=0) > -0.01).all(), "lips pass each other"
    assert shape[152, 1] > order[3].max(), "the lip passes the chin"
    # Neighbours on the lips stay neighbours: no point is torn out of its ring.
    flat = average_neutral([portrait]).shape
    for ring in (LIPS_OUTER, LIPS_INNER):
        now = np.linalg.norm(np.diff(shape[list(ring)], axis=0), axis=1)
        before = np.linalg.norm(np.diff(flat[list(ring)], axis=0), axis=1)
        assert (now < 3 * before).all()


@pytest.mark.parametrize(("yaw", "far", "near"), [(0.6, 61, 291), (-0.6, 291, 61)])
def test_the_far_corner_of_a_turned_mouth_is_held_back(yaw: float, far: int, near: int) -> None:
    """Or a smile would pull it into a hook where the cheek is a few pixels wide."""
    smile = face()
    lifted = smile.points.copy()
    lifted[[61, 291], 1] -= 12
    smile = replace(smile, points=lifted)

    def lift(portrait: Landmarks) -> np.ndarray:
        rest = rest_face(portrait).points
        return rest[[far, near], 1] - carry(smile, face(), portrait).points[[far, near], 1]

    straight, turned = lift(face()), lift(face(turn=(0, yaw, 0)))
    assert straight[0] == pytest.approx(straight[1], rel=0.05)
    assert turned[0] < 0.7 * turned[1]
    assert turned[1] == pytest.approx(straight[1], rel=0.1)


def test_gaze_follows() -> None:
    portrait = face()
    right = carry(face(look=(0.1, 0)), face(), portrait)
    shape = fit_pose(right.points).to_head(right.points)
    rest = fit_pose(portrait.points).to_head(portrait.points)
    for eye in EYES:
        toward_nose = np.sign(rest[eye.inner, 0] - rest[eye.outer, 0])
        moved = (gaze(shape, eye) - gaze(rest, eye))[0] * toward_nose
        assert 0.05 < moved < 0.15


def test_a_glance_to_the_side_is_no_squint_but_winks_and_blinks_stay() -> None:
    # The subject's left eye looks to the temple and is seen a third less open.
    aside = np.array(((0.16, 0.0), (-0.16, 0.0)))
    np.testing.assert_allclose(lids_at_glance(np.array((1.0, 0.7)), aside), (1.0, 1.0))
    np.testing.assert_allclose(lids_at_glance(np.array((0.7, 1.0)), aside[::-1]), (1.0, 1.0))
    np.testing.assert_allclose(lids_at_glance(np.array((1.0, 0.7)), aside * 0), (1.0, 0.7))
    np.testing.assert_allclose(lids_at_glance(np.array((0.7, 1.0)), aside), (0.7, 1.0))
    for lids in ((1.0, 0.0), (0.0, 1.0), (0.0, 0.0)):
        np.testing.assert_allclose(lids_at_glance(np.array(lids), aside), lids)


def test_relative_pose_adds_to_the_portraits_own() -> None:
    portrait = face(turn=(0, 0.4, 0))
    result = carry(face(turn=(0, 0.2, 0)), face(), portrait, pose=1.0)
    assert to_vector(fit_pose(result.points).rotation)[1] == pytest.approx(0.58, abs=0.04)


def test_absolute_pose_ignores_the_portraits_own() -> None:
    retargeter = Retargeter(
        rest_face(face(turn=(0, 0.4, 0))),
        average_neutral([face()]),
        replace(UNFILTERED, absolute_pose=True, pose=1.0),
    )
    result = retargeter.retarget(face(turn=(0, -0.2, 0)), 0)
    assert to_vector(fit_pose(result.points).rotation)[1] == pytest.approx(-0.19, abs=0.03)


@settings(deadline=None, max_examples=20)
@given(st.floats(-1.4, 1.4), st.floats(-800, 800), st.floats(30, 400))
def test_extreme_poses_stay_within_the_soft_limits(yaw: float, x: float, unit: float) -> None:
    portrait = face()
    driver = face(turn=(0, yaw, 0), centre=(256 + x, 230), unit=unit)
    result = carry(driver, face(), portrait)
    assert np.isfinite(result.points).all()
    turned = to_vector(fit_pose(result.points).rotation)
    assert abs(turned[1]) < np.radians(UNFILTERED.yaw_limit_deg) + 0.02
    assert abs(result.points[168, 0] - portrait.points[168, 0]) < 0.6 * 130


def test_a_driver_caught_with_an_open_mouth_can_still_open_the_portraits() -> None:
    laughing = average_neutral([face(mouth_open=0.2)])
    retargeter = Retargeter(rest_face(face()), laughing, UNFILTERED)
    result = retargeter.retarget(face(mouth_open=0.2), 0)
    assert lip_gaps(fit_pose(result.points).to_head(result.points)).max() > 0.1


def test_idle_blinks_and_is_the_portrait_otherwise() -> None:
    portrait = rest_face(face(turn=(0, 0.3, 0)))
    retargeter = Retargeter(portrait)
    assert np.abs(retargeter.idle(1.0).points - portrait.points).max() < 0.5
    shut = retargeter.idle(0.0)
    assert eye_openness(shut.points.astype(float), EYES[0]) < 0.02


# --- smoothing ------------------------------------------------------------------------------


def test_smoothing_steadies_rest_and_follows_motion() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 0.01, 300)
    still = OneEuroFilter(Smoothing(1.0, 8.0))
    out = [float(still(np.array([v]), i * 33_000_000)[0]) for i, v in enumerate(noise)]
    assert np.std(np.diff(out[30:])) < 0.4 * np.std(np.diff(noise[30:]))
    moving = OneEuroFilter(Smoothing(1.0, 8.0))
    ramp = [float(moving(np.array([i / 30]), i * 33_000_000)[0]) for i in range(90)]
    assert 89 / 30 - ramp[-1] < 0.05, "lag behind a motion of one unit a second"
    assert moving.lag_s < 0.05


def test_smoothing_uses_real_time_not_frames() -> None:
    def settle(step_ns: int) -> float:
        f = OneEuroFilter(Smoothing(1.0, 0.0))
        f(np.zeros(1), 0)
        value, at = np.zeros(1), 0
        while at < 200_000_000:
            at += step_ns
            value = f(np.ones(1), at)
        return float(value[0])

    assert settle(10_000_000) == pytest.approx(settle(20_000_000), abs=0.03)


def test_a_time_stamp_that_does_not_advance_changes_nothing() -> None:
    f = OneEuroFilter(Smoothing(1.0, 1.0))
    f(np.zeros(2), 10)
    assert np.array_equal(f(np.ones(2), 10), np.zeros(2))


# --- calibration ----------------------------------------------------------------------------


def seen(landmarks: Landmarks | None, at_ms: int) -> Observation:
    return Observation(landmarks, at_ms * 1_000_000, at_ms)


def test_collecting_takes_a_second_and_starts_anew_when_the_face_is_lost() -> None:
    collector = NeutralCollector()
    for at in range(0, 600, 50):
        assert collector.add(seen(face(), at)) is None
    assert 0.4 < collector.progress < 0.7
    assert collector.add(seen(None, 600)) is None
    assert collector.progress == 0
    results = [collector.add(seen(face(), at)) for at in range(700, 1800, 50)]
    neutral = next(r for r in results if r is not None)
    assert neutral.score > 0.8


def test_a_turned_talking_face_scores_worse_than_a_resting_one() -> None:
    good = average_neutral([face()] * 5)
    talking = average_neutral([face(mouth_open=0.05 * i, turn=(0, 0.4, 0)) for i in range(8)])
    assert talking.score < 0.5 * good.score


def test_best_neutral_finds_the_resting_second() -> None:
    clip = [seen(face(mouth_open=0.3, turn=(0, 0.3, 0)), at) for at in range(0, 2000, 50)]
    clip += [seen(face(), at) for at in range(2000, 4000, 50)]
    assert best_neutral(clip).score > 0.8
    with pytest.raises(UserError, match="no face"):
        best_neutral([seen(None, 0)])


def test_best_neutral_is_the_first_of_several_as_good() -> None:
    """Two calm seconds, the later one calmer by what a tracker's noise makes: not decisive."""
    shaking = [seen(face(turn=(0, 0.002 * (i % 2), 0)), 50 * i) for i in range(20)]
    moving = [seen(face(turn=(0, 0.3, 0), mouth_open=0.2), 1000 + 50 * i) for i in range(20)]
    still = [seen(face(centre=(300, 230)), 2000 + 50 * i) for i in range(21)]
    assert best_neutral(shaking + moving + still).pose.translation[0] == pytest.approx(
        best_neutral(shaking).pose.translation[0], abs=1e-3
    )


def test_one_calm_frame_at_the_end_is_no_second() -> None:
    talking = [seen(face(mouth_open=0.03 * (i % 4), turn=(0, 0.1, 0)), 50 * i) for i in range(40)]
    last = seen(face(centre=(300, 230)), 2000)
    found, without = best_neutral([*talking, last]), best_neutral(talking)
    assert found.score == pytest.approx(without.score, rel=0.1)
    assert found.pose.translation[0] == pytest.approx(without.pose.translation[0], abs=1e-2)


def test_profiles_come_back_and_broken_ones_say_what_to_do(tmp_path: Path) -> None:
    neutral = average_neutral([face(turn=(0.1, 0.2, 0))])
    assert load_profile(tmp_path, "ada", "Cam 1") is None
    path = save_profile(tmp_path, "ada", "Cam 1", neutral)
    again = load_profile(tmp_path, "ada", "Cam 1")
    assert again is not None
    assert np.allclose(again.shape, neutral.shape, atol=1e-4)
    assert np.allclose(again.pose.rotation, neutral.pose.rotation, atol=1e-6)
    assert load_profile(tmp_path, "ada", "Cam 2") is None
    assert path.parent == tmp_path
    assert save_profile(tmp_path, "../../evil", "/dev/video0", neutral).parent == tmp_path

    stored = json.loads(path.read_text())
    stored["shape"][3][1] = "NaN"
    path.write_text(json.dumps(stored))
    with pytest.raises(UserError, match="recalibrate"):
        load_profile(tmp_path, "ada", "Cam 1")
    path.write_text("{")
    with pytest.raises(UserError, match="delete it"):
        load_profile(tmp_path, "ada", "Cam 1")
