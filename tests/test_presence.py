"""What is shown while the face is away: the policy's promises, for any frame times."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puppet.contract import Landmarks, Observation
from puppet.track.presence import (
    BlinkSchedule,
    Presence,
    PresencePolicy,
    PresenceSettings,
    PresenceState,
)

S = 1_000_000_000
FACE = Landmarks(np.zeros((478, 3), np.float32), 640, 480)
times = st.lists(st.integers(1, 2 * S), min_size=1, max_size=60)
frames = st.lists(st.tuples(st.integers(0, 2 * S), st.booleans()), min_size=1, max_size=80)


def at(seconds: float, face: bool) -> Observation:
    return Observation(FACE if face else None, round(seconds * S), 0)


def play(sequence: list[tuple[int, bool]]) -> list[tuple[int, bool, PresenceState]]:
    policy, now, out = PresencePolicy(), 0, []
    for step, face in sequence:
        now += step
        out.append((now, face, policy.step(Observation(FACE if face else None, now, 0))))
    return out


def test_the_whole_course() -> None:
    policy = PresencePolicy(PresenceSettings(slate_after_s=4.0))
    assert policy.step(at(0, True)).presence is Presence.TRACKED
    held = policy.step(at(0.3, False))
    assert (held.presence, held.weight, held.landmarks) == (Presence.HOLD, 1.0, FACE)
    easing = policy.step(at(0.7, False))
    assert easing.presence is Presence.IDLE
    assert 0.4 < easing.weight < 0.6  # half of ease_out_s after the hold
    assert policy.step(at(1.2, False)).weight == 0.0
    assert policy.step(at(3.99, False)).presence is Presence.IDLE
    slate = policy.step(at(4.0, False))
    assert (slate.presence, slate.lost_for_s) == (Presence.SLATE, 4.0)
    back = policy.step(at(4.05, True))
    assert back.presence is Presence.TRACKED
    assert 0 < back.weight < 0.3  # eased back in
    assert policy.step(at(4.4, True)).weight == 1.0


def test_no_face_at_all_is_idle_then_slate_without_landmarks() -> None:
    policy = PresencePolicy()
    first, later = policy.step(at(100, False)), policy.step(at(105, False))
    assert (first.presence, first.weight, first.landmarks) == (Presence.IDLE, 0.0, None)
    assert later.presence is Presence.SLATE
    assert later.landmarks is None
    assert policy.step(at(106, True)).weight == 1.0  # nothing to ease from


@given(frames)
def test_promises_for_any_sequence(sequence: list[tuple[int, bool]]) -> None:
    policy_settings = PresenceSettings()
    last_seen: int | None = None
    before: tuple[int, float] | None = None
    for now, face, state in play(sequence):
        last_seen = now if face else last_seen
        assert 0 <= state.weight <= 1
        assert 0 <= state.blink <= 1
        assert (state.presence is Presence.TRACKED) == face
        if state.presence is Presence.HOLD:
            assert last_seen is not None
            assert now - last_seen <= 0.3 * S  # never held for longer
        if last_seen is None:
            assert state.landmarks is None
            assert state.weight == 0
        if before is not None and before[1] > 0:
            # Never faster than the smooth step's steepest slope (1.5) allows: no jumps.
            quickest = min(policy_settings.ease_in_s, policy_settings.ease_out_s)
            limit = 1.5 * (now - before[0]) / S / quickest
            assert abs(state.weight - before[1]) <= limit + 1e-9
        before = now, state.weight


@given(times, st.floats(0, 4))
def test_easing_out_does_not_depend_on_the_frame_times(steps: list[int], until: float) -> None:
    end = round(until * S)
    coarse, fine = PresencePolicy(), PresencePolicy()
    for policy in (coarse, fine):
        policy.step(Observation(FACE, 0, 0))
    now = 0
    for step in steps:
        now += step
        if now >= end:
            break
        fine.step(Observation(None, now, 0))
    one, many = (policy.step(Observation(None, end, 0)) for policy in (coarse, fine))
    assert one.presence is many.presence
    assert one.weight == pytest.approx(many.weight, abs=1e-6)
    assert one.blink == many.blink


def test_a_clock_that_goes_back_counts_as_standing_still() -> None:
    policy = PresencePolicy()
    policy.step(at(10, True))
    state = policy.step(at(3, False))
    assert (state.presence, state.weight, state.lost_for_s) == (Presence.HOLD, 1.0, 0.0)


@settings(max_examples=25)
@given(st.integers(0, 10_000))
def test_blinks_are_natural_and_repeatable(seed: int) -> None:
    seconds = np.arange(0, 120, 0.01)
    one, other = BlinkSchedule(seed), BlinkSchedule(seed)
    closure = np.array([one.closure(float(t)) for t in seconds])
    assert (closure == [other.closure(float(t)) for t in seconds]).all()
    shut = closure > 0.99
    blinks = int((shut[1:] & ~shut[:-1]).sum())
    assert 8 <= blinks / 2 <= 35  # a minute
    assert (closure > 0).mean() < 0.2  # mostly open
    assert np.abs(np.diff(closure)).max() < 0.3  # lids move, they do not jump


def test_other_seeds_blink_at_other_times() -> None:
    def course(seed: int) -> list[float]:
        schedule = BlinkSchedule(seed)
        return [schedule.closure(t / 50) for t in range(1500)]

    assert course(1) != course(2)


@pytest.mark.parametrize(
    "wrong", [{"hold_s": 0.31}, {"hold_s": -1}, {"ease_out_s": 0}, {"slate_after_s": 0.1}]
)
def test_settings_that_break_the_promise_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        PresenceSettings(**wrong)  # type: ignore[arg-type]
