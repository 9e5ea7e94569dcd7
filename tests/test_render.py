"""The offline render: every frame, the same each time, and nothing lost by ending it early."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from puppet.capture import open_source
from puppet.contract import UserError
from puppet.pipeline.live import LiveRun
from puppet.pipeline.offline import render
from puppet.pipeline.opening import Openers
from puppet.pipeline.settings import LiveSettings, Look, RenderSettings
from puppet.track import has_bundled_models
from tests.performing import (
    QUICK,
    read_clip,
    share_of_driver,
    shows_label,
    streams_of,
    write_clip,
)

LOOK = Look(engine=QUICK)


def test_render_makes_every_frame_the_same_each_time_with_sound(
    avatar: Path, clip: Path, tmp_path: Path
) -> None:
    seen: list[tuple[str, int, int | None]] = []
    reports = [
        render(
            RenderSettings(str(avatar), str(clip), tmp_path / f"{n}.mp4", LOOK),
            advance=lambda *what: seen.append(what),
        )
        for n in range(2)
    ]
    assert reports[0].frames_out == 30
    assert reports[0].dropped["source"] == 0
    one, two = (read_clip(tmp_path / f"{n}.mp4") for n in range(2))
    assert len(one) == 30
    apart = [np.abs(a.astype(int) - b).mean() for a, b in zip(one, two, strict=True)]
    # The newer tracker does not always repeat itself: now and then by hundredths of a pixel. That
    # is a hundredth of a level of the pictures, of which the video's compression makes a whole one.
    assert max(apart) == 0 if has_bundled_models() else max(apart) < 2
    assert streams_of(tmp_path / "0.mp4") == ["audio", "video"]
    assert ("rendering", 30, 30) in seen
    assert max(share_of_driver(rgb) for rgb in one) == 0.0
    assert all(shows_label(rgb) for rgb in one)
    # The portrait moves with the driver's head.
    assert np.abs(one[9].astype(int) - one[27].astype(int)).mean() > 1


def test_render_without_a_face_says_so(avatar: Path, tmp_path: Path) -> None:
    empty = write_clip(tmp_path / "empty.mp4", [np.full((120, 160, 3), 90, np.uint8)] * 8)
    with pytest.raises(UserError, match="no face was found"):
        render(RenderSettings(str(avatar), str(empty), tmp_path / "out.mp4"))
    assert not (tmp_path / "out.mp4").exists()


def test_render_tells_of_a_clip_that_was_cut_off(
    avatar: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = open_source(str(clip), realtime=False)
    source = cast(Any, whole)
    source.length = 60  # what a container promises whose end is missing
    report = render(
        RenderSettings(str(avatar), str(clip), tmp_path / "out.mp4", LOOK),
        openers=Openers(source=lambda: whole),
    )
    assert report.frames_out == 30
    assert any("60 frames but only 30" in warning for warning in report.warnings)


def test_an_interrupted_render_is_a_finished_shorter_file(
    avatar: Path, clip: Path, tmp_path: Path
) -> None:
    done = threading.Event()

    def advance(what: str, count: int, total: int | None) -> None:
        if what == "rendering" and count == 20:
            done.set()

    report = render(
        RenderSettings(str(avatar), str(clip), tmp_path / "out.mp4", LOOK),
        advance=advance,
        is_over=done.is_set,
    )
    assert len(read_clip(tmp_path / "out.mp4")) == report.frames_out == 20
    assert any("interrupted" in warning for warning in report.warnings)
    # An older video of that name, whole perhaps, is not replaced by the beginning of another.
    before = (tmp_path / "out.mp4").read_bytes()
    again = render(
        RenderSettings(str(avatar), str(clip), tmp_path / "out.mp4", LOOK), is_over=count_to(45)
    )
    assert (tmp_path / "out.mp4").read_bytes() == before
    assert again.video == tmp_path / "out.part.mp4"
    assert len(read_clip(again.video)) == again.frames_out < 30
    assert any("the one from before" in warning for warning in again.warnings)


def count_to(calls: int) -> Callable[[], bool]:
    """True from so many calls on."""
    counter = itertools.count(1)
    return lambda: next(counter) >= calls


def test_a_render_that_is_ended_while_it_tracks_writes_nothing(
    avatar: Path, clip: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.mp4"
    out.write_bytes(b"an older video")
    with pytest.raises(UserError, match="before its first picture"):
        render(RenderSettings(str(avatar), str(clip), out, LOOK), is_over=count_to(9))
    assert out.read_bytes() == b"an older video"
    assert not list(tmp_path.glob("*.part*"))


def test_what_drives_is_not_written_over(avatar: Path, clip: Path, tmp_path: Path) -> None:
    before = clip.read_bytes()
    link = tmp_path / "link.mp4"
    link.symlink_to(clip)
    for out in (clip, link):
        with pytest.raises(UserError, match="is what drives"):
            render(RenderSettings(str(avatar), clip.as_uri(), out, LOOK))
        with pytest.raises(UserError, match="is what drives"):
            LiveRun(LiveSettings((str(avatar),), camera=str(clip), sinks=(f"file:{out}",))).run()
    assert clip.read_bytes() == before
