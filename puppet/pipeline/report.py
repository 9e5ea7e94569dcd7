"""What a run measured: ages at the sinks, time per stage, drops where they happened."""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from puppet.compose.settings import LabelSettings
from puppet.contract import UserError
from puppet.flow import AgeStats, Percentiles
from puppet.pipeline.environment import machine, versions

STAGES = ("capture", "track", "retarget", "draw", "generate", "compose", "send")
"""In the picture's order. `capture` is from the device's time stamp until the tracker took
the frame, `send` from the finished picture until the sink had it."""


class StageTimes:
    """Durations per stage, noted by the thread that does the stage."""

    def __init__(self) -> None:
        self._stats = {name: AgeStats() for name in STAGES}

    def lap(self, stage: str, since_ns: int) -> int:
        """Notes the time from `since_ns` to now for `stage`; returns now, for the next lap."""
        now = time.perf_counter_ns()
        self._stats[stage].add_between(since_ns, now)
        return now

    def percentiles(self, last: int | None = None) -> dict[str, Percentiles]:
        return {name: stats.percentiles(last) for name, stats in self._stats.items()}


@dataclass(frozen=True, slots=True)
class SinkReport:
    """One output's figures."""

    name: str
    sent: int
    dropped: int
    repeated: int
    age_ms: Percentiles
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """The result of `run` and `render`; `as_dict` is what `--report` writes."""

    frames_in: int
    frames_out: int
    dropped: dict[str, int]
    """Where pictures were dropped (source, hand-over, each sink) -> how many."""
    seconds: float
    fps: float
    age_ms: Percentiles
    """From capture to the moment the worst-served sink had the picture."""
    stages_ms: dict[str, Percentiles]
    sinks: tuple[SinkReport, ...]
    runtime: dict[str, str]
    """What really ran at the end, as read back from it."""
    fallbacks: tuple[str, ...]
    avatar: str
    size: tuple[int, int]
    face_lost_frames: int
    first_picture_s: float | None
    warnings: tuple[str, ...] = ()
    label: str = "drawn"
    video: Path | None = None
    """What `render` has written."""
    machine: dict[str, Any] = field(default_factory=machine)
    versions: dict[str, str] = field(default_factory=versions)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; times in milliseconds."""
        return {
            "frames_in": self.frames_in,
            "frames_out": self.frames_out,
            "dropped": sum(self.dropped.values()),
            "dropped_where": self.dropped,
            "seconds": round(self.seconds, 3),
            "fps": round(self.fps, 2),
            "age_ms": self.age_ms.as_dict(),
            "stages_ms": {name: p.as_dict() for name, p in self.stages_ms.items() if p.count},
            "sinks": [{**asdict(s), "age_ms": s.age_ms.as_dict()} for s in self.sinks],
            "runtime": self.runtime,
            "fallbacks": list(self.fallbacks),
            "avatar": self.avatar,
            "size": list(self.size),
            "face_lost_frames": self.face_lost_frames,
            "first_picture_s": None
            if self.first_picture_s is None
            else round(self.first_picture_s, 3),
            "label": self.label,
            "warnings": list(self.warnings),
            "machine": self.machine,
            "versions": self.versions,
        }


def label_line(label: LabelSettings) -> str:
    """Who labels the pictures, as the report has it."""
    return "drawn" if label.elsewhere is None else f"elsewhere: {label.elsewhere}"


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes beside, then renames. Raises UserError when the place cannot be written."""
    beside = path.with_name(path.name + ".part")
    try:
        beside.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        os.replace(beside, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise UserError(
            f"The report cannot be written to {path}: {error.strerror or error}. "
            "Choose a folder that exists and that you may write to."
        ) from error
