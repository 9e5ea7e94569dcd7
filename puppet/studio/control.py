"""Everything the panel and the API can do, as methods: a live run and what steers it.

No method here waits for the loop: what changes the picture is a command in the run's queue.
Devices (cameras, outputs) are opened on the caller's thread. All methods may be called from any
thread, and raise UserError or SinkError with a sentence.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from puppet.avatar.consent import Consent
from puppet.capture import MeasuredSource
from puppet.capture.clip_sound import DRIVER
from puppet.capture.devices import CameraInfo, by_name, list_cameras
from puppet.capture.microphone import list_microphones
from puppet.compose.settings import Background
from puppet.contract import SourceError, Tracker, UserError
from puppet.flow import Percentiles
from puppet.output import open_sink
from puppet.output.obs import set_sound_delay
from puppet.output.preview import PreviewSink
from puppet.pipeline.commands import (
    Adjust,
    ChangeBackground,
    Command,
    Cutout,
    Express,
    LabelCorner,
    LabelSize,
    MirrorPreview,
    NextAvatar,
    Panic,
    Pause,
    Recalibrate,
    SwitchAvatar,
)
from puppet.pipeline.events import Events
from puppet.pipeline.live import LiveRun
from puppet.pipeline.opening import Openers, microphone_for, open_camera
from puppet.pipeline.opening import open_tracker as open_this_tracker
from puppet.pipeline.settings import LiveSettings
from puppet.pipeline.status import RECENT, Status
from puppet.retarget.expressions import presets
from puppet.studio.errors import Busy, Conflict, Forbidden, NotFound
from puppet.studio.gallery import Gallery
from puppet.studio.recorder import Recorder, RecordingStatus
from puppet.studio.source import SwitchableSource
from puppet.studio.taps import DriverTap, PanelSink, TappedTracker

SINKS = ("virtual", "overlay", "mjpeg", "preview")
"""Outputs that can be switched on from the panel; files are the recorder's."""
MAX_COUNTDOWN_S = 10.0


@dataclass(frozen=True, slots=True)
class Figures:
    """What the waterfall shows, over the last few seconds."""

    stages_ms: dict[str, Percentiles]
    age_ms: Percentiles
    """From capture until the panel had the picture."""


class Studio:
    """A live run with a panel's taps and switches."""

    def __init__(
        self,
        settings: LiveSettings,
        *,
        openers: Openers | None = None,
        recordings: Path | None = None,
        exposed: bool = False,
    ) -> None:
        """Opens nothing yet; `run.start()` or `run.run()` does. `openers` as for LiveRun;
        `exposed`: the panel can be reached over a network, so the driver's picture stays off."""
        self._settings = settings
        self._given = openers or Openers()
        self._exposed = exposed
        self._source: SwitchableSource | None = None
        self._camera = settings.camera
        self._camera_name = ""
        self._begun_with = ""
        self._switching = threading.Lock()
        self._countdown: tuple[threading.Timer, float] | None = None
        self._mirrored = False
        self.driver = DriverTap()
        self.panel = PanelSink()
        self.gallery = Gallery(settings.avatars)
        self.recorder = Recorder(recordings)
        self.run = LiveRun(
            settings,
            events=Events(),
            openers=replace(
                self._given,
                source=self._open_source,
                tracker=self._open_tracker,
                sinks=(*self._given.sinks, self.panel),
            ),
        )

    def _open_source(self) -> MeasuredSource:
        opener = self._given.source
        first = open_camera(self._settings, self._camera) if opener is None else opener()
        self._begun_with = first.name
        self._camera_name = self._listed_name(first)
        self._source = SwitchableSource(first, self.driver.note)
        return self._source

    def _open_tracker(self) -> Tracker:
        return TappedTracker((self._given.tracker or open_this_tracker)(), self.driver)

    # What there is ------------------------------------------------------------------------

    def status(self) -> Status:
        """Raises UserError while the run is being opened."""
        return self.run.status()

    def figures(self) -> Figures:
        return Figures(self.run.stage_times(RECENT), self.panel.ages.percentiles())

    def sound_delay_ms(self) -> int | None:
        """How late the picture is now where it goes: the middle age at the latest output that is
        on, or in the panel while there is no other. None before anything was measured."""
        fan_out = self.run.fan_out
        there = set(fan_out.names) - {self.panel.name, self.recorder.name}
        ages = [s.age_ms.p50 for s in fan_out.stats(RECENT) if s.name in there and not s.error]
        measured = [age for age in ages if not math.isnan(age)]
        late = max(measured, default=self.panel.ages.percentiles().p50)
        return None if math.isnan(late) else round(late)

    def recording(self) -> RecordingStatus:
        return self.recorder.status(self.run.fan_out)

    @property
    def mirrored(self) -> bool:
        """Whether previews (never outputs) are mirrored."""
        return self._mirrored

    @property
    def counting_down(self) -> bool:
        return self._countdown is not None

    @property
    def exposed(self) -> bool:
        return self._exposed

    # The picture --------------------------------------------------------------------------

    def switch_avatar(self, id_: str) -> None:
        self._put(SwitchAvatar(self.gallery.find(id_)))

    def next_avatar(self) -> None:
        self._put(NextAvatar())

    def create_avatar(
        self, picture: bytes, name: str, consent: Consent, face: int | None = None
    ) -> str:
        """Takes seconds, beside the loop. Events of kind `creating` tell the steps."""
        tell: Callable[[str], None] = lambda step: self.run.events.tell("creating", step)  # noqa: E731
        id_ = self.gallery.create(picture, name, consent, face, tell)
        self.run.events.tell("created", f"{id_} is in the gallery.")
        return id_

    def recalibrate(self, countdown_s: float = 3.0) -> None:
        """Begins after a countdown, so that a click's own movement is over."""
        if not 0 <= countdown_s <= MAX_COUNTDOWN_S:
            raise UserError(f"The countdown is 0 to {MAX_COUNTDOWN_S:g} seconds.")
        with self._switching:
            if self._countdown is not None:
                self._countdown[0].cancel()
            timer = threading.Timer(countdown_s, self._begin_calibration)
            timer.daemon = True
            self._countdown = (timer, countdown_s)
            timer.start()
        self.run.events.tell("countdown", f"{countdown_s:g}")

    def _begin_calibration(self) -> None:
        self._countdown = None
        self.run.commands.put(Recalibrate())

    def pause(self, on: bool | None) -> None:
        self._put(Pause(on))

    def panic(self, on: bool | None) -> None:
        self._put(Panic(on))

    def express(self, name: str | None, seconds: float | None, strength: float) -> None:
        if name is not None and name not in presets():
            raise NotFound(f"There is no expression {name!r}: choose {', '.join(presets())}.")
        self._put(Express(name, seconds, strength))

    def adjust(self, changes: Mapping[str, object]) -> None:
        self._put(Adjust(changes))

    def set_background(self, background: Background) -> None:
        self._put(ChangeBackground(background))

    def set_label(self, size: str | None, corner: str | None) -> None:
        if size is not None:
            self._put(LabelSize(size))
        if corner is not None:
            self._put(LabelCorner(corner))

    def mirror(self, on: bool | None) -> None:
        self._mirrored = not self._mirrored if on is None else on
        self._put(MirrorPreview(self._mirrored))

    def show_driver_picture(self, on: bool) -> None:
        """The driver's own picture in the panel. Raises Forbidden over a network."""
        if on and self._exposed:
            raise Forbidden(
                "The driver's picture is not shown while the panel can be reached over a network."
            )
        self.driver.show_picture = on

    @property
    def camera_choice(self) -> str:
        """The current camera as `switch_camera` takes it."""
        return self._camera_name

    # Devices ------------------------------------------------------------------------------

    def cameras(self) -> dict[str, CameraInfo]:
        """The real ones by name."""
        return by_name(camera for camera in list_cameras() if not camera.is_virtual_output)

    def switch_camera(self, name: str) -> None:
        """By name as `cameras` gives it, "demo", or what the run was started with.

        Raises NotFound; SourceError when it cannot be opened (the old one goes on).
        """
        source = self._source
        if source is None:
            raise Busy("The run is still starting: try again in a second.")
        spec = self._camera_spec(name)
        if not self._switching.acquire(blocking=False):
            raise Conflict("A camera is being opened already.")
        try:
            if name == self._camera_name or (spec is not None and spec == self._camera):
                return
            source.switch(open_camera(self._settings, spec))
            self._camera = spec
            self._camera_name = self._listed_name(source)
        finally:
            self._switching.release()
        self._put(Recalibrate())
        self.run.events.tell("camera", f"{source.name} drives the portrait.")

    def _listed_name(self, source: MeasuredSource) -> str:
        """What `cameras` calls the camera that was just opened; of what is none, its own name."""
        if self._camera == "demo":
            return "demo"
        alike = {n: c for n, c in self.cameras().items() if c.name == source.name}
        chosen = [n for n, c in alike.items() if self._camera in (n, str(c.index), c.path)]
        return next(iter([*chosen, *alike]), source.name)

    def _camera_spec(self, name: str) -> str | None:
        cameras = self.cameras()
        for listed, camera in cameras.items():
            if name in (listed, camera.name, camera.path, str(camera.index)):
                return str(camera.index)
        if name in ("demo", self._settings.camera):
            return name
        if name and name == self._begun_with:  # a clip goes by its file's name
            return self._settings.camera
        known = ", ".join([*cameras, "demo"])
        raise NotFound(f"There is no camera {name!r}. There are: {known}.")

    def switch_sink(self, spec: str, on: bool) -> None:
        """Raises UserError, SinkError with the remedy when the device cannot be had."""
        fan_out = self.run.fan_out
        kind = spec.partition(":")[0]
        if spec in (self.panel.name, self.recorder.name):
            raise UserError("The panel and the recording have switches of their own.")
        if not on:
            # 'mjpeg' will do for 'mjpeg:8765': that is how it was switched on.
            named = [n for n in fan_out.names if spec in (n, n.partition(":")[0])]
            if not named:
                raise NotFound(f"The output {spec!r} is not on.")
            fan_out.remove(named[0])
            self._put(Cutout(fan_out.wants_cutout))
            return
        if kind not in SINKS:
            raise NotFound(f"There is no output {spec!r}: choose one of {', '.join(SINKS)}.")
        sink = open_sink(spec, on_key=self._press)
        if isinstance(sink, PreviewSink):
            sink.mirror = self._mirrored
        failed = {s.name for s in fan_out.stats() if s.error is not None}
        if sink.name in fan_out.names:
            if sink.name not in failed:
                raise Conflict(f"The output {sink.name} is on already.")
            fan_out.remove(sink.name)
        fan_out.add(sink)
        self._put(Cutout(fan_out.wants_cutout))
        if url := self.addresses().get(sink.name):
            self.run.events.tell("output", f"The output {sink.name} is at {url}")

    def _press(self, key: str) -> None:
        """A key in a preview that the panel has opened: closing that window ends it alone."""
        if key == "q":
            with contextlib.suppress(UserError):  # it was switched off at the same moment
                self.switch_sink("preview", False)
        elif key == "m":
            self.mirror(None)
        else:
            self.run.commands.press(key)

    def addresses(self) -> dict[str, str]:
        """Where outputs that are pages can be seen, by name: on this machine, so not told to
        others."""
        return {} if self._exposed else self.run.fan_out.addresses

    def delay_sound(self, obs_input: str, password: str | None, port: int) -> int:
        """Sets the measured delay in OBS on this machine; returns it in ms. Takes up to seconds.

        Raises UserError with the remedy.
        """
        delay = self.sound_delay_ms()
        if delay is None:
            raise Busy("No delay is measured yet: try again in a second.")
        set_sound_delay(obs_input, delay, password=password, port=port)
        self.run.events.tell("sound", f"OBS holds {obs_input} back by {delay} ms now.")
        return delay

    def microphones(self) -> list[str]:
        """Those that a recording can take along, 'driver' for the sound of the clip that drives;
        none where sound is not available."""
        if self._exposed:
            return []
        playback = None if self._source is None else self._source.playback
        clip = [DRIVER] if playback is not None and playback.sound is not None else []
        try:
            return clip + list_microphones()
        except SourceError:
            return clip

    def record(self, on: bool, form: str = "mp4", microphone: str | None = None) -> RecordingStatus:
        """Starts or finishes a recording, into this machine's own folder.

        Raises what `Recorder.start` does; Forbidden for a microphone over a network: whoever
        has the token steers the puppet, and shall not switch on somebody's microphone.
        """
        fan_out = self.run.fan_out
        if not on:
            return self.recorder.stop(fan_out)
        if microphone is not None and self._exposed:
            raise Forbidden(
                "The microphone is not recorded while the panel can be reached over a network."
            )
        return self.recorder.start(fan_out, form, microphone_for(microphone, self._open_already))

    def _open_already(self) -> MeasuredSource:
        if self._source is None:
            raise SourceError("the run is just starting: record in a moment")
        return self._source

    def close(self) -> None:
        """Ends what is the panel's own; the run is closed by whoever runs it."""
        if self._countdown is not None:
            self._countdown[0].cancel()

    def _put(self, command: Command) -> None:
        if not self.run.commands.put(command):
            raise Busy("The loop has stalled and takes no commands now.")
