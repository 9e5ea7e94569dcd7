"""What a run is made with; each part has its own settings in its own module."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from puppet.compose.settings import ComposeSettings
from puppet.pipeline.generator import EngineSettings
from puppet.retarget import RetargetSettings


@dataclass(frozen=True, slots=True)
class Look:
    """How the portrait moves and what is around it; the same for live and offline."""

    compose: ComposeSettings = field(default_factory=ComposeSettings)
    retarget: RetargetSettings = field(default_factory=RetargetSettings)
    engine: EngineSettings = field(default_factory=EngineSettings)


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """A live run."""

    avatars: tuple[str, ...]
    """Names or folders; the first is played, the others are loaded for switching."""
    camera: str | None = None
    """See `puppet.capture.open_source`; None is the first camera that is no virtual one."""
    sinks: tuple[str, ...] = ("preview",)
    seconds: float | None = None
    """Counted from the first picture; None runs until told to stop."""
    look: Look = field(default_factory=Look)
    camera_fps: float | None = None
    """A wish to the camera."""
    camera_size: tuple[int, int] | None = None
    """A wish to the camera, in pixels."""
    fps: float = 30.0
    """What files and the virtual camera are told; pictures come at the camera's pace."""
    use_profile: bool = True
    """Begin with the neutral face saved for this camera, if there is one."""
    record_trace: Path | None = None
    """Where the driver's landmarks are written when the run ends (`puppet.capture.trace`)."""
    microphone: str | None = None
    """Recorded into the files; see `puppet.pipeline.opening.microphone_for`."""
    vmc: str | None = None
    """Where the tracking goes as VMC messages: `PORT` or `HOST:PORT`."""


@dataclass(frozen=True, slots=True)
class RenderSettings:
    """An offline render: every frame, nothing dropped."""

    avatar: str
    driver: str
    out: Path
    look: Look = field(default_factory=Look)
    audio: bool = True
    seconds: float | None = None
    """Only the beginning of the clip."""
