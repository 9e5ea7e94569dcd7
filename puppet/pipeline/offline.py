"""The offline render: the same stages, every frame in order, nothing dropped, deterministic.

Two passes: the first tracks the whole clip and keeps its landmarks (6 kB a frame), so that the
driver's neutral face is known before the first picture; the second makes the pictures.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from puppet.capture import MeasuredSource, is_address, open_source, path_of
from puppet.capture.live import LiveSource
from puppet.contract import Frame, Observation, Picture, SourceSilent, Tracker, UserError
from puppet.flow import AgeStats
from puppet.output.video import VideoWriter, check_video_name
from puppet.pipeline.cast import Cast
from puppet.pipeline.driver import Driver
from puppet.pipeline.events import Events
from puppet.pipeline.generator import GeneratorKeeper
from puppet.pipeline.opening import (
    Openers,
    engine_for,
    open_together,
    open_tracker,
    set_opencv_threads,
    spare_driver,
)
from puppet.pipeline.performer import Begun, Performer
from puppet.pipeline.report import Report, StageTimes, label_line
from puppet.pipeline.settings import RenderSettings
from puppet.retarget import best_neutral

Advance: TypeAlias = Callable[[str, int, int | None], None]
"""(what, done, total or None where unknown)."""

MAX_FRAMES = 200_000
"""Almost two hours at 30 fps, 1.2 GB of landmarks."""
_FALLBACK_FPS = 25.0


def render(
    settings: RenderSettings,
    *,
    events: Events | None = None,
    advance: Advance | None = None,
    openers: Openers | None = None,
    is_over: Callable[[], bool] = lambda: False,
) -> Report:
    """Makes the video. When `is_over` says so it ends early: the pictures that are there become a
    video, beside an older one of that name, not in its place.

    Raises UserError (also when it was ended before its first picture), BundleError, SourceError,
    SinkError, TrackerError, EngineError.
    """
    events, openers = events or Events(), openers or Openers()
    show = advance or (lambda what, done, total: None)
    look, times, began_ns = settings.look, StageTimes(), time.perf_counter_ns()
    engine = engine_for(look.engine, (settings.avatar,))
    if engine.precision == "auto":  # there is time, and the same clip gives the same video
        engine = replace(engine, precision="exact")
    set_opencv_threads()
    check_video_name(settings.out)
    spare_driver(settings.driver, settings.out)
    opened = open_together(
        {
            "cast": lambda: Cast((settings.avatar,)),
            "source": openers.source or (lambda: open_source(settings.driver, realtime=False)),
            "tracker": openers.tracker or open_tracker,
            "generator": lambda: GeneratorKeeper(engine, events, openers.generator),
        }
    )
    try:
        source: MeasuredSource = opened["source"]
        generator: GeneratorKeeper = opened["generator"]
        role = opened["cast"].current
        observations = _track(source, opened["tracker"], times, settings.seconds, show, is_over)
        missing = _missing(source, observations) if settings.seconds is None else None
        driver = Driver(role.avatar, look.retarget, best_neutral(observations))
        performer = Performer(role, driver, generator, look.compose, events, times)
        written, first_ns, video = _write(
            settings, source, performer, observations, times, show, is_over
        )
        seconds = (time.perf_counter_ns() - began_ns) / 1e9
        faceless = sum(each.landmarks is None for each in observations[:written])
        return Report(
            frames_in=len(observations),
            frames_out=written,
            dropped={"source": source.dropped},
            seconds=seconds,
            fps=written / seconds,
            age_ms=AgeStats(1).percentiles(),
            stages_ms=times.percentiles(),
            sinks=(),
            runtime=generator.info(),
            fallbacks=tuple(generator.fallbacks),
            avatar=role.avatar.name,
            size=performer.size,
            face_lost_frames=faceless,
            first_picture_s=(first_ns - began_ns) / 1e9,
            warnings=_warnings(settings, faceless, written, len(observations), missing, video),
            label=label_line(performer.label),
            video=video,
        )
    finally:
        for part in opened.values():
            part.close()


def _track(
    source: MeasuredSource,
    tracker: Tracker,
    times: StageTimes,
    seconds: float | None,
    show: Advance,
    is_over: Callable[[], bool],
) -> list[Observation]:
    """Every observation of the clip, in order. Raises UserError for a driver without an end, and
    when `is_over` says so."""
    if isinstance(source, LiveSource):
        raise UserError(
            f"{source.name} has no end, so it cannot be rendered: use 'puppet run', or a file."
        )
    found: list[Observation] = []
    while len(found) < MAX_FRAMES:
        if is_over():
            raise UserError("The render was ended before its first picture: nothing is written.")
        since = time.perf_counter_ns()
        try:
            item = source.read(10.0)
        except SourceSilent as error:
            raise UserError(f"{source.name} cannot be read on: {error}") from error
        if item is None:
            break
        since = times.lap("capture", since)
        if isinstance(item, Frame):
            observation = tracker.track(item)
            times.lap("track", since)
        else:
            observation = item
        if found and seconds is not None:
            passed_s = (observation.captured_at_ns - found[0].captured_at_ns) / 1e9
            if passed_s >= seconds:
                break
        found.append(observation)
        show("tracking", len(found), source.length)
    if not found:
        raise UserError(f"{source.name} has no pictures: choose another clip.")
    show("tracking", len(found), len(found))
    return found


def _write(
    settings: RenderSettings,
    source: MeasuredSource,
    performer: Performer,
    observations: list[Observation],
    times: StageTimes,
    show: Advance,
    is_over: Callable[[], bool],
) -> tuple[int, int, Path]:
    """Makes and writes the pictures: (how many, when the first one was there in ns, where)."""
    width, height = performer.size
    start_ns, first_ns, done = observations[0].captured_at_ns, 0, 0
    writer = VideoWriter(
        settings.out,
        width,
        height,
        source.fps_nominal or _FALLBACK_FPS,
        audio_from=_sound_of(settings),
    )
    try:
        for done, picture in enumerate(_pictures(performer, observations), 1):
            since = time.perf_counter_ns()
            writer.add(picture.rgb, (picture.captured_at_ns - start_ns) / 1e9)
            since = times.lap("send", since)
            first_ns = first_ns or since
            show("rendering", done, len(observations))
            if is_over():
                break
    except BaseException:
        writer.abandon()
        raise
    writer.close(replace=done == len(observations))
    return done, first_ns, writer.part if writer.part.exists() else settings.out


def _pictures(performer: Performer, observations: list[Observation]) -> Iterator[Picture]:
    """In order. The network works on each while the one before is composed and encoded."""
    begun: Begun | None = None
    for observation in observations:
        following = performer.begin(observation)
        if begun is not None:
            yield performer.finish(begun)
        begun = following
    if begun is not None:
        yield performer.finish(begun)


def _sound_of(settings: RenderSettings) -> Path | None:
    """The clip to take the sound from; None where there is none to take."""
    if not settings.audio:
        return None
    if settings.driver == "demo":
        from puppet.capture.demo import demo_clip

        return demo_clip()
    path = path_of(settings.driver)
    is_clip = path.is_file() and path.suffix.lower() not in (".npz", ".png", ".jpg", ".jpeg")
    return path if is_clip else None


def _missing(source: MeasuredSource, observations: list[Observation]) -> str | None:
    """What to say of a clip that holds far fewer frames than it promises; containers' own counts
    may be a little off."""
    promised = source.length
    if promised is None or len(observations) >= 0.9 * promised:
        return None
    return (
        f"{source.name} promises {promised} frames but only {len(observations)} can be read: "
        "it was cut off, or is damaged"
    )


def _warnings(
    settings: RenderSettings, faceless: int, written: int, frames: int,
    missing: str | None, video: Path,
) -> tuple[str, ...]:  # fmt: skip
    found = [] if missing is None else [missing]
    if written < frames:
        older = "" if video == settings.out else f"; {settings.out.name} is the one from before"
        found.append(
            f"interrupted: {video.name} holds the first {written} of {frames} frames{older}"
        )
    if settings.audio and is_address(settings.driver):
        found.append("sound is carried over from files only: download the clip to have it")
    share = faceless / written
    if share > 0.1:
        found.append(f"no face was found in {share:.0%} of the frames; the portrait rests there")
    return tuple(found)
