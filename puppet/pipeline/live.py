"""The live loop: capture thread -> slot -> work thread -> slot and thread per sink.

    source --(capture thread)--> LatestSlot --(work thread: track ... compose)--> FanOut

Every thread's end is noticed: the capture thread closes the slot with its error, the work thread
takes that as the end, and `LiveRun.run` raises what any of them died of, after the sinks were
closed and their files finished.
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TypeAlias

from puppet.capture import MeasuredSource, open_source
from puppet.capture.devices import default_camera
from puppet.capture.live import LiveSource
from puppet.contract import (
    Frame,
    Observation,
    Picture,
    PuppetError,
    Sink,
    SinkError,
    SourceSilent,
    Tracker,
    UserError,
)
from puppet.flow import Closed, LatestSlot, Percentiles, Worker
from puppet.output import FanOut, SinkStats, open_sink
from puppet.output.preview import PreviewSink
from puppet.pipeline.cast import Cast
from puppet.pipeline.commands import (
    KEYS,
    Adjust,
    ChangeBackground,
    Command,
    CommandQueue,
    Cutout,
    Express,
    LabelCorner,
    LabelSize,
    MirrorPreview,
    NextAvatar,
    Panic,
    Pause,
    Quit,
    Recalibrate,
    ShowKeys,
    SwitchAvatar,
)
from puppet.pipeline.driver import Driver
from puppet.pipeline.events import Events, Kind
from puppet.pipeline.generator import GeneratorKeeper
from puppet.pipeline.opening import (
    Openers,
    engine_for,
    open_together,
    open_tracker,
    set_opencv_threads,
)
from puppet.pipeline.performer import Performer
from puppet.pipeline.profiles import keep_neutral, known_neutral
from puppet.pipeline.report import Report, SinkReport, StageTimes
from puppet.pipeline.settings import LiveSettings
from puppet.pipeline.status import Status

READ_TIMEOUT_S = 0.5
SILENT_AFTER_S = 1.0
"""Without a picture for this long, the source counts as silent and that is told."""
PATIENCE_S = 0.3
"""Without a picture for this long, the portrait goes on by itself (rests, then slate)."""
IDLE_TICK_S = 1 / 15
JOIN_S = 5.0
KEY_LINES = tuple(f"{'space' if key == ' ' else key}  {what}" for key, (_, what) in KEYS.items())
_Switch: TypeAlias = tuple[tuple[Kind, str], tuple[Kind, str]]
_PAUSED: _Switch = (("paused", "Paused: the portrait rests."), ("resumed", "Going on."))
_PANIC: _Switch = (
    ("panic", "The slate is on every output."),
    ("panic-over", "The portrait is back."),
)


@dataclass(slots=True)
class _Parts:
    """What a run has opened."""

    source: MeasuredSource
    tracker: Tracker
    generator: GeneratorKeeper
    cast: Cast
    performer: Performer
    fan_out: FanOut


class LiveRun:
    """One run from start to end. `commands`, `stop` and `report` may be used from any thread."""

    def __init__(
        self,
        settings: LiveSettings,
        *,
        commands: CommandQueue | None = None,
        events: Events | None = None,
        openers: Openers | None = None,
    ) -> None:
        """Opens nothing yet."""
        self.settings = settings
        self.commands = commands or CommandQueue()
        self.events = events or Events()
        self.times = StageTimes()
        self._openers = openers or Openers()
        self._slot: LatestSlot[Frame | Observation] = LatestSlot()
        self._opened: _Parts | None = None
        self._capture = Worker("capture", self._do_capture, self._slot.close)
        self._work = Worker("work", self._do_work)
        self._began_ns = 0
        self._first_ns: int | None = None
        self._ended_ns: int | None = None
        self._frames_out = 0
        self._last_index = -1
        self._silent = False
        self._warnings: list[str] = []
        self._sinks: tuple[Sink, ...] = ()

    def run(self) -> Report:
        """Opens everything, runs until the end and closes everything.

        Raises what went wrong: UserError, SourceError, SinkError, TrackerError, EngineError.
        """
        self.start()
        try:
            while not self.wait(1.0):
                pass
        finally:
            self.close()
        return self.report()

    def start(self) -> None:
        """Opens source, tracker, generator and sinks, and starts the threads."""
        self._began_ns = time.perf_counter_ns()
        self._opened = self._open()
        self._capture.start()
        self._work.start()
        self.events.tell("started", f"{self._parts.source.name} drives the portrait.")
        for sink in self._sinks:
            if url := getattr(sink, "url", None):
                self.events.tell("output", f"The output {sink.name} is at {url}")

    def wait(self, timeout_s: float) -> bool:
        """Waits for the end of the run. True when it is over."""
        return self._work.stopping.wait(timeout_s)

    def stop(self) -> None:
        """Asks the run to end after the picture in work; from any thread or signal handler."""
        self.commands.put(Quit())

    def close(self) -> None:
        """Ends the threads, finishes the files, then raises what a thread died of. Idempotent."""
        self._work.stop()
        self._slot.close()
        if self._opened is None:
            return
        parts = self._opened
        parts.source.close()
        stuck = [w.name for w in (self._work, self._capture) if not w.join(JOIN_S)]
        stuck += parts.fan_out.close()
        if stuck:
            self._warnings.append(f"did not end in time and were left: {', '.join(stuck)}")
        if "work" not in stuck:  # else it still uses them
            parts.cast.close()
            parts.tracker.close()
            parts.generator.close()
        self._work.raise_if_failed()

    @property
    def _parts(self) -> _Parts:
        if self._opened is None:
            raise UserError("The run has not started yet.")
        return self._opened

    @property
    def fan_out(self) -> FanOut:
        """The sinks; they may be added and removed while the run goes on."""
        return self._parts.fan_out

    # Opening ------------------------------------------------------------------------------

    def _open(self) -> _Parts:
        wanted, openers = self.settings, self._openers
        named = [open_sink(spec, on_key=self._on_key) for spec in wanted.sinks]
        sinks = self._sinks = (*named, *openers.sinks)
        if not sinks:
            raise UserError("There is no output: name one with --sink.")
        look = wanted.look
        compose = replace(
            look.compose, cutout=look.compose.cutout or any(s.wants_cutout for s in sinks)
        )
        engine = engine_for(look.engine, wanted.avatars)
        set_opencv_threads()
        opened = open_together(
            {
                "cast": lambda: Cast(wanted.avatars),
                "source": openers.source or self._open_source,
                "tracker": openers.tracker or open_tracker,
                "generator": lambda: GeneratorKeeper(engine, self.events, openers.generator),
            }
        )
        with ExitStack() as on_failure:
            for part in opened.values():
                on_failure.callback(part.close)
            cast, source = opened["cast"], opened["source"]
            neutral = known_neutral(source.name) if self._is_camera(source) else None
            driver = Driver(cast.current.avatar, look.retarget, neutral)
            performer = Performer(
                cast.current, driver, opened["generator"], compose, self.events, self.times
            )
            cast.preload(opened["generator"].spec, compose)
            fan_out = FanOut(*compose.size, wanted.fps, on_failure=self._on_sink_failure)
            on_failure.callback(fan_out.close)
            for sink in sinks:
                fan_out.add(sink)
            on_failure.pop_all()
        return _Parts(performer=performer, fan_out=fan_out, **opened)

    def _open_source(self) -> MeasuredSource:
        wanted = self.settings
        camera = wanted.camera or str(default_camera().index)
        return open_source(camera, fps=wanted.camera_fps, size=wanted.camera_size, loop=True)

    def _is_camera(self, source: MeasuredSource) -> bool:
        """Profiles are for a person at a camera, not for recordings of anybody."""
        opened = getattr(source, "current", source)  # a source that can be changed for another
        return self.settings.use_profile and isinstance(opened, LiveSource)

    def _on_key(self, key: str) -> None:
        if key in KEYS:
            self.commands.put(KEYS[key][0])

    def _on_sink_failure(self, name: str, error: Exception) -> None:
        self._warnings.append(f"the output {name} failed: {error}")
        self.events.tell("sink-failed", f"The output {name} failed and is off: {error}")

    # Figures ------------------------------------------------------------------------------

    def report(self) -> Report:
        """The figures so far, or of the whole run after `close`."""
        parts = self._parts
        end_ns = self._ended_ns or time.perf_counter_ns()
        first_ns = self._first_ns
        seconds = 0.0 if first_ns is None else (end_ns - first_ns) / 1e9
        sinks = parts.fan_out.stats()
        worst = max(sinks, key=lambda s: s.age_ms.p50 if s.sent else -1.0)
        label = parts.performer.label
        return Report(
            frames_in=self._slot.count,
            frames_out=self._frames_out,
            dropped=self._dropped(sinks),
            seconds=seconds,
            fps=max(0, self._frames_out - 1) / seconds if seconds > 0 else 0.0,
            age_ms=worst.age_ms,
            stages_ms={**self.times.percentiles(), "send": worst.send_ms},
            sinks=tuple(_sink_report(sink) for sink in sinks),
            runtime=parts.generator.info(),
            fallbacks=tuple(parts.generator.fallbacks),
            avatar=parts.performer.role.avatar.name,
            size=parts.performer.size,
            face_lost_frames=parts.performer.face_lost_frames,
            first_picture_s=None if first_ns is None else (first_ns - self._began_ns) / 1e9,
            warnings=tuple(self._warnings),
            label="drawn" if label.elsewhere is None else f"elsewhere: {label.elsewhere}",
        )

    def status(self) -> Status:
        """How the run is doing now; from any thread."""
        parts = self._parts
        performer, driver = parts.performer, parts.performer.driver
        neutral = driver.neutral
        sinks = parts.fan_out.stats()
        return Status(
            avatar=parts.cast.playing,
            avatars=parts.cast.names,
            camera=parts.source.name,
            camera_size=parts.source.size,
            camera_fps=parts.source.fps_measured,
            silent=self._silent,
            tracked=performer.tracked,
            paused=performer.paused,
            panicking=performer.panicking,
            calibration_progress=driver.calibration_progress,
            calibration_score=None if neutral is None else neutral.score,
            retarget=driver.settings,
            label=performer.label,
            background=performer.background.kind,
            expressions=driver.expressions,
            size=performer.size,
            frames_in=self._slot.count,
            frames_out=self._frames_out,
            dropped=self._dropped(sinks),
            sinks=tuple(_sink_report(sink) for sink in sinks),
            runtime=parts.generator.info(),
            fallbacks=tuple(parts.generator.fallbacks),
            warnings=tuple(self._warnings),
        )

    def _dropped(self, sinks: tuple[SinkStats, ...]) -> dict[str, int]:
        parts = self._parts
        dropped = {"source": parts.source.dropped, "hand-over": self._slot.dropped}
        return dropped | {sink.name: sink.dropped for sink in sinks}

    def stage_times(self, last: int) -> dict[str, Percentiles]:
        """Milliseconds per stage over the newest `last` pictures."""
        return self.times.percentiles(last)

    # The capture thread -------------------------------------------------------------------

    def _do_capture(self, stop: threading.Event) -> None:
        source = self._parts.source
        while not stop.is_set():
            try:
                item = source.read(READ_TIMEOUT_S)
            except SourceSilent:  # the work thread notices, and says so
                continue
            if item is None:
                return
            self._slot.put(item)

    # The work thread ----------------------------------------------------------------------

    def _do_work(self, stop: threading.Event) -> None:
        waiting_since = time.perf_counter()
        patience_s = PATIENCE_S
        try:
            while not stop.is_set() and not self._is_time_over():
                if self._obey(self.commands.drain()):
                    return
                try:
                    item = self._slot.get(patience_s)
                except TimeoutError:
                    patience_s = IDLE_TICK_S
                    self._note_silence(time.perf_counter() - waiting_since)
                    self._send(self._idle_picture())
                    continue
                self._note_return()
                waiting_since, patience_s = time.perf_counter(), PATIENCE_S
                self._send(self._picture_of(item))
        except Closed:
            self.events.tell("source-ended", f"{self._parts.source.name} has ended.")
        finally:
            self._ended_ns = time.perf_counter_ns()

    def _picture_of(self, item: Frame | Observation) -> Picture:
        now = self.times.lap("capture", item.captured_at_ns)
        if isinstance(item, Frame):
            observation = self._parts.tracker.track(item)
            self.times.lap("track", now)
        else:
            observation = item
        self._last_index = observation.index
        picture = self._parts.performer.perform(observation)
        self._keep_profile()
        return picture

    def _keep_profile(self) -> None:
        """A calibration that was just completed is kept for the next run at this camera."""
        neutral = self._parts.performer.driver.take_new_neutral()
        if neutral is not None and self._is_camera(self._parts.source):
            keep_neutral(self._parts.source.name, neutral)

    def _idle_picture(self) -> Picture:
        """The portrait goes on by itself while nothing arrives."""
        nobody = Observation(None, time.perf_counter_ns(), self._last_index)
        return self._parts.performer.perform(nobody)

    def _send(self, picture: Picture) -> None:
        self._parts.fan_out.send(picture)
        self._frames_out += 1
        if self._first_ns is None:
            self._first_ns = time.perf_counter_ns()
            after_s = (self._first_ns - self._began_ns) / 1e9
            self.events.tell("first-picture", f"The first picture came after {after_s:.1f} s.")
        if self._parts.fan_out.alive == 0 and self._parts.fan_out.names:
            raise SinkError(f"Every output has failed. {'; '.join(self._warnings)}")

    def _is_time_over(self) -> bool:
        if self.settings.seconds is None or self._first_ns is None:
            return False
        return time.perf_counter_ns() - self._first_ns >= self.settings.seconds * 1e9

    def _note_silence(self, for_s: float) -> None:
        if for_s < SILENT_AFTER_S or self._silent:
            return
        self._silent = True
        why = getattr(self._parts.source, "lost", None) or "it sends nothing"
        self.events.tell(
            "source-silent", f"No picture from {self._parts.source.name}: {why}. Waiting for it."
        )

    def _note_return(self) -> None:
        if not self._silent:
            return
        self._silent = False
        self.events.tell("source-back", f"{self._parts.source.name} is back.")

    # Commands, between two pictures -------------------------------------------------------

    def _obey(self, commands: list[Command]) -> bool:
        """Carries commands out. True when the run shall end."""
        for command in commands:
            if isinstance(command, Quit):
                return True
            try:
                self._carry_out(command)
            except PuppetError as error:
                self.events.tell("refused", str(error))
        self._change_avatar()
        return False

    def _carry_out(self, command: Command) -> None:
        performer, cast = self._parts.performer, self._parts.cast
        match command:
            case Recalibrate():
                performer.driver.recalibrate()
                self.events.tell("calibrating", "Look straight ahead with a relaxed face.")
            case Pause(on):
                performer.paused = not performer.paused if on is None else on
                self._tell_switch(performer.paused, _PAUSED)
            case Panic(on):
                performer.panicking = not performer.panicking if on is None else on
                self._tell_switch(performer.panicking, _PANIC)
            case NextAvatar():
                if not cast.ask_next():
                    raise UserError("There is no other avatar: name several with --avatar.")
            case SwitchAvatar(avatar):
                cast.ask(avatar)
            case LabelSize(size):
                performer.set_label_size(size)
            case LabelCorner(corner):
                performer.set_label_corner(corner)
            case ChangeBackground(background):
                performer.set_background(background)
            case Cutout(on):
                performer.set_cutout(on)
            case Express(name, seconds, strength):
                performer.driver.make_face(name, seconds, strength)
                self.events.tell("expression", name or "none")
            case Adjust(changes):
                performer.driver.adjust(changes)
                told = ", ".join(f"{name} {value}" for name, value in changes.items())
                self.events.tell("adjusted", told)
            case MirrorPreview(on):
                for preview in self._previews():
                    preview.mirror = not preview.mirror if on is None else on
            case ShowKeys(on):
                for preview in self._previews():
                    show = not preview.text if on is None else on
                    preview.text = KEY_LINES if show else ()

    def _tell_switch(self, on: bool, told: _Switch) -> None:
        self.events.tell(*told[0 if on else 1])

    def _previews(self) -> list[PreviewSink]:
        return [sink for sink in self._sinks if isinstance(sink, PreviewSink)]

    def _change_avatar(self) -> None:
        for name, error in self._parts.cast.take_failures():
            self.events.tell("avatar-failed", f"{name} cannot be shown: {error}")
        role = self._parts.cast.take()
        if role is not None:
            self._parts.performer.switch(role)


def _sink_report(sink: SinkStats) -> SinkReport:
    return SinkReport(sink.name, sink.sent, sink.dropped, sink.repeated, sink.age_ms, sink.error)
