"""The kept neutral face: for cameras only, and a bad one does not displace a good one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from puppet.capture import open_source
from puppet.capture.live import Feed, Grabbed, LiveSource
from puppet.contract import SourceError
from puppet.pipeline.profiles import Profile
from puppet.retarget import GOOD_FIT, DriverNeutral
from puppet.retarget.neutral import average_neutral
from tests.faces import face


class SilentFeed(Feed):
    """A camera that is there and gives nothing."""

    size, fps_nominal = (64, 64), 30.0

    def grab(self) -> Grabbed:
        raise SourceError("nothing to see")

    def close(self) -> None: ...


@pytest.fixture
def camera() -> Iterator[LiveSource]:
    source = LiveSource("cam", SilentFeed(), SilentFeed)
    yield source
    source.close()


def neutral_of(score: float) -> DriverNeutral:
    return replace(average_neutral([face()]), score=score)


def kept_score(profile: Profile) -> float | None:
    known = profile.known()
    return None if known is None else known.score


def test_a_bad_fit_is_kept_only_where_nothing_better_is(camera: LiveSource) -> None:
    profile = Profile(camera, enabled=True)
    assert kept_score(profile) is None
    for score, then in [(0.2, 0.2), (0.3, 0.3), (0.1, 0.3), (0.9, 0.9), (0.3, 0.9), (0.6, 0.6)]:
        profile.keep(neutral_of(score))
        assert kept_score(profile) == pytest.approx(then), f"after {score}"
    assert 0.3 < GOOD_FIT < 0.6


def test_a_run_without_profiles_keeps_nothing(camera: LiveSource) -> None:
    Profile(camera, enabled=False).keep(neutral_of(0.9))
    assert kept_score(Profile(camera, enabled=True)) is None


def test_a_recording_of_anybody_has_no_profile(tmp_path: Path) -> None:
    source = open_source("demo", realtime=False)
    try:
        profile = Profile(source, enabled=True)
        profile.keep(neutral_of(0.9))
        assert profile.known() is None
        assert not list(tmp_path.rglob("*.json"))
    finally:
        source.close()
