"""How a live run is doing at one moment, for those who steer it."""

from __future__ import annotations

from dataclasses import dataclass

from puppet.compose.settings import Background, LabelSettings
from puppet.pipeline.report import SinkReport
from puppet.retarget import RetargetSettings

RECENT = 150
"""Pictures over which "now" is taken: five seconds at 30 per second."""


@dataclass(frozen=True, slots=True)
class Status:
    """What can be steered, as it is now. Figures are in `puppet.pipeline.report`."""

    avatar: str
    """By the name or folder it was asked for."""
    avatars: tuple[str, ...]
    camera: str
    camera_size: tuple[int, int]
    camera_fps: float | None
    silent: bool
    """The source has sent nothing for a while."""
    tracked: bool
    paused: bool
    panicking: bool
    calibration_progress: float | None
    """0 to 1 while a calibration is under way."""
    calibration_score: float | None
    """0 to 1, how good the neutral face is; None before the first calibration."""
    retarget: RetargetSettings
    label: LabelSettings
    background: Background
    expressions: tuple[str, ...]
    size: tuple[int, int]
    frames_in: int
    frames_out: int
    dropped: dict[str, int]
    """Where pictures were dropped -> how many."""
    sinks: tuple[SinkReport, ...]
    runtime: dict[str, str]
    fallbacks: tuple[str, ...]
    warnings: tuple[str, ...]
