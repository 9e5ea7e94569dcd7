"""The figures of a live run, taken from its parts: the report, and how it is doing now."""

from __future__ import annotations

from typing import Any, TypeAlias

from puppet.flow import LatestSlot
from puppet.output import SinkStats
from puppet.pipeline.parts import Parts
from puppet.pipeline.report import Report, SinkReport, StageTimes, label_line
from puppet.pipeline.status import RECENT, Status
from puppet.pipeline.tally import Tally

Slots: TypeAlias = tuple[LatestSlot[Any], ...]
"""The hand-overs between a run's threads, in the picture's order."""


def report_of(parts: Parts, slots: Slots, tally: Tally, times: StageTimes) -> Report:
    """The figures so far; of the whole run when it is over."""
    sinks = parts.fan_out.stats()
    worst = max(sinks, key=lambda s: s.age_ms.p50 if s.sent else -1.0)
    performer = parts.performer
    return Report(
        frames_in=slots[0].count,
        frames_out=tally.frames_out,
        dropped=_dropped(parts, slots, sinks),
        seconds=tally.seconds,
        fps=tally.fps,
        age_ms=worst.age_ms,
        stages_ms={**times.percentiles(), "send": worst.send_ms},
        sinks=tuple(_sink_report(sink) for sink in sinks),
        runtime=parts.generator.info(),
        fallbacks=tuple(parts.generator.fallbacks),
        avatar=performer.role.avatar.name,
        size=performer.size,
        face_lost_frames=tally.face_lost_frames,
        first_picture_s=tally.first_picture_s,
        warnings=tuple(tally.warnings),
        label=label_line(performer.label),
    )


def status_of(parts: Parts, slots: Slots, tally: Tally) -> Status:
    """How the run is doing now; from any thread."""
    performer, driver = parts.performer, parts.performer.driver
    neutral = driver.neutral
    sinks = parts.fan_out.stats(RECENT)
    return Status(
        avatar=parts.cast.playing,
        avatars=parts.cast.names,
        camera=parts.source.name,
        camera_size=parts.source.size,
        camera_fps=parts.source.fps_measured,
        silent=tally.silent,
        tracked=performer.tracked,
        paused=performer.paused,
        panicking=performer.panicking,
        calibration_progress=driver.calibration_progress,
        calibration_score=None if neutral is None else neutral.score,
        retarget=driver.settings,
        label=performer.label,
        background=performer.background,
        expressions=driver.expressions,
        size=performer.size,
        frames_in=slots[0].count,
        frames_out=tally.frames_out,
        dropped=_dropped(parts, slots, sinks),
        sinks=tuple(_sink_report(sink) for sink in sinks),
        runtime=parts.generator.info(),
        fallbacks=tuple(parts.generator.fallbacks),
        warnings=tuple(tally.warnings),
    )


def _dropped(parts: Parts, slots: Slots, sinks: tuple[SinkStats, ...]) -> dict[str, int]:
    dropped = {"source": parts.source.dropped, "hand-over": sum(slot.dropped for slot in slots)}
    return dropped | {sink.name: sink.dropped for sink in sinks}


def _sink_report(sink: SinkStats) -> SinkReport:
    return SinkReport(sink.name, sink.sent, sink.dropped, sink.repeated, sink.age_ms, sink.error)
