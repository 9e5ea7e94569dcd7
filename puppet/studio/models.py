"""The bodies of the control API. Bounds are checked here, before anything reaches the loop."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from puppet.compose.settings import BackgroundKind, Corner, LabelSize
from puppet.flow import Percentiles
from puppet.output.obs import DEFAULT_PORT
from puppet.pipeline.report import SinkReport
from puppet.retarget import RetargetSettings
from puppet.studio.control import Studio


class Body(BaseModel):
    """What callers send: unknown fields are a mistake."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Switch(Body):
    """On, off, or (null) the other way."""

    on: bool | None = Field(None, description="null toggles")


class OnOff(Body):
    on: bool


class WantAvatar(Body):
    id: str = Field(max_length=100, description="an id of GET /api/avatars")


class WantCamera(Body):
    camera: str = Field(max_length=200, description='a name of GET /api/cameras, or "demo"')


class WantSink(Body):
    sink: str = Field(max_length=200, description="virtual[:DEVICE], mjpeg[:PORT], preview")
    on: bool


class WantRecording(Body):
    on: bool
    format: Literal["mp4", "webm"] = "mp4"
    microphone: str | None = Field(
        None, max_length=200, description="a name of GET /api/microphones; null: without sound"
    )


class WantSoundDelay(Body):
    obs_input: str = Field(min_length=1, max_length=200, description="a sound input in OBS")
    password: str | None = Field(None, max_length=200, description="of OBS's WebSocket server")
    port: int = Field(DEFAULT_PORT, ge=1, le=65535)


class SoundDelay(BaseModel):
    delay_ms: int


class Calibrate(Body):
    countdown_s: float = Field(3.0, ge=0, le=10)


class WantExpression(Body):
    name: str | None = Field(None, max_length=40, description="null lets go of what is held")
    seconds: float | None = Field(1.2, gt=0, le=60, description="null holds it until let go")
    strength: float = Field(1.0, ge=0, le=1.5)


class Sliders(Body):
    """Only what is given changes."""

    expression: float | None = Field(None, ge=0, le=2)
    mouth: float | None = Field(None, ge=0, le=2)
    gaze: float | None = Field(None, ge=0, le=2)
    pose: float | None = Field(None, ge=0, le=2, description="how far the head turns")
    position: float | None = Field(None, ge=0, le=2, description="how far the head moves")
    steadiness: float | None = Field(None, ge=0, le=4, description="smoothing; 0 is none")
    absolute_pose: bool | None = None


class WantBackground(Body):
    kind: BackgroundKind
    colour: str = Field("#00b140", pattern="^#[0-9a-fA-F]{6}$")
    strength: float = Field(1.0, ge=0.1, le=4, description="of the blur")


class WantLabel(Body):
    size: LabelSize | None = None
    corner: Corner | None = None


class Done(BaseModel):
    """It was handed to the loop; an event tells when it has happened."""

    ok: bool = True


class AvatarInfo(BaseModel):
    id: str
    consent: str
    """Its basis: self, written, synthetic, public-domain."""
    whose: str
    error: str | None


class Cameras(BaseModel):
    current: str
    cameras: list[str]


class Times(BaseModel):
    """Milliseconds over the last few seconds; null where nothing was measured."""

    name: str
    p50: float | None
    p99: float | None


class SinkState(BaseModel):
    name: str
    on: bool
    sent: int
    dropped: int
    repeated: int
    age_p50: float | None
    age_p99: float | None
    error: str | None
    url: str | None
    """Where it can be looked at, for an output that is a page: what goes into OBS."""


class Calibration(BaseModel):
    counting_down: bool
    progress: float | None
    score: float | None


class Recording(BaseModel):
    on: bool
    file: str | None
    folder: str | None
    seconds: float
    bytes: int
    error: str | None


class SliderValues(BaseModel):
    expression: float
    mouth: float
    gaze: float
    pose: float
    position: float
    steadiness: float
    absolute_pose: bool


class State(BaseModel):
    """Everything the panel shows; sent once a second over /api/events as well."""

    avatar: str
    tracked: bool
    paused: bool
    panic: bool
    silent: bool
    calibration: Calibration
    sliders: SliderValues
    slider_defaults: SliderValues
    label_size: str
    label_corner: str
    label_elsewhere: str | None
    background: str
    background_colour: str
    """Where `background` is a colour: #rrggbb."""
    background_blur: float
    """How strong, where `background` is blur."""
    mirror: bool
    driver_picture: bool
    exposed: bool
    expressions: list[str]
    camera: str
    """A name of GET /api/cameras, or what the run was started with."""
    camera_size: tuple[int, int]
    camera_fps: float | None
    size: tuple[int, int]
    fps: float
    age: Times
    stages: list[Times]
    dropped: dict[str, int]
    frames_in: int
    frames_out: int
    sinks: list[SinkState]
    sound_delay_ms: int | None
    """What a microphone must be held back by to fit the picture."""
    recording: Recording
    runtime: dict[str, str]
    fallbacks: list[str]


def _sliders(settings: RetargetSettings) -> SliderValues:
    return SliderValues(**{name: getattr(settings, name) for name in SliderValues.model_fields})


def state_of(studio: Studio) -> State:
    """Raises UserError while the run is being opened."""
    now, figures = studio.status(), studio.figures()
    on = set(studio.run.fan_out.names)
    recording, addresses = studio.recording(), studio.addresses()
    return State(
        avatar=studio.gallery.id_of(now.avatar),
        tracked=now.tracked,
        paused=now.paused,
        panic=now.panicking,
        silent=now.silent,
        calibration=Calibration(
            counting_down=studio.counting_down,
            progress=now.calibration_progress,
            score=now.calibration_score,
        ),
        sliders=_sliders(now.retarget),
        slider_defaults=_sliders(studio.run.settings.look.retarget),
        label_size=now.label.size,
        label_corner=now.label.corner,
        label_elsewhere=now.label.elsewhere,
        background=now.background.kind,
        background_colour="#" + bytes(now.background.colour).hex(),
        background_blur=now.background.strength,
        mirror=studio.mirrored,
        driver_picture=studio.driver.show_picture,
        exposed=studio.exposed,
        expressions=list(now.expressions),
        camera=studio.camera_choice,
        camera_size=now.camera_size,
        camera_fps=now.camera_fps,
        size=now.size,
        fps=studio.panel.fps,
        age=_times("age", figures.age_ms),
        stages=[_times(n, p) for n, p in figures.stages_ms.items() if n != "send"],
        dropped=now.dropped,
        frames_in=now.frames_in,
        frames_out=now.frames_out,
        sinks=[
            _sink_state(sink, addresses.get(sink.name)) for sink in now.sinks if sink.name in on
        ],
        sound_delay_ms=studio.sound_delay_ms(),
        recording=Recording(
            on=recording.on,
            file=recording.file,
            folder=recording.folder,
            seconds=recording.seconds,
            bytes=recording.bytes,
            error=recording.error,
        ),
        runtime=now.runtime,
        fallbacks=list(now.fallbacks),
    )


def _sink_state(sink: SinkReport, url: str | None) -> SinkState:
    return SinkState(
        name=sink.name,
        on=sink.error is None,
        sent=sink.sent,
        dropped=sink.dropped,
        repeated=sink.repeated,
        age_p50=_number(sink.age_ms.p50),
        age_p99=_number(sink.age_ms.p99),
        error=sink.error,
        url=url,
    )


def _times(name: str, percentiles: Percentiles) -> Times:
    return Times(name=name, p50=_number(percentiles.p50), p99=_number(percentiles.p99))


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 2)
