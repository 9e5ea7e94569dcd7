"""The live loop: a thread each for capture, tracking, the work after it, and every sink.

    source --(capture)--> slot --(track)--> slot --(work: retarget ... compose)--> FanOut

Every thread's end is noticed: it closes the slot it fills with its error, the next one takes that
as its own end, and `LiveRun.run` raises what any of them died of, after the sinks were
closed and their files finished.
"""

from __future__ import annotations

import logging
import threading

from puppet.contract import Frame, Observation, SourceSilent, UserError
from puppet.flow import LatestSlot, Percentiles, Worker
from puppet.output import FanOut
from puppet.pipeline.commands import CommandQueue, Quit
from puppet.pipeline.events import Events
from puppet.pipeline.figures import report_of, status_of
from puppet.pipeline.opening import Openers
from puppet.pipeline.parts import Parts, open_parts
from puppet.pipeline.report import Report, StageTimes
from puppet.pipeline.settings import LiveSettings
from puppet.pipeline.status import Status
from puppet.pipeline.tally import Tally
from puppet.pipeline.work import Work

log = logging.getLogger(__name__)
READ_TIMEOUT_S = 0.5
JOIN_S = 5.0


class NotStarted(UserError):
    """Asked too early: its parts are still being opened."""


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
        self._openers = openers or Openers()
        self._times = StageTimes()
        self._tally = Tally()
        self._captured: LatestSlot[Frame | Observation] = LatestSlot()
        self._observed: LatestSlot[Observation] = LatestSlot()
        self._opened: Parts | None = None
        self._tracking_fails = False
        self._capture = Worker("capture", self._do_capture, self._captured.close)
        self._track = Worker("track", self._do_track, self._observed.close)
        self._work = Worker("work", self._do_work)

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
        self._tally = Tally()
        self._opened = open_parts(
            self.settings,
            self._openers,
            self.events,
            self._times,
            on_key=self.commands.press,
            on_sink_failure=self._on_sink_failure,
        )
        for worker in (self._capture, self._track, self._work):
            worker.start()
        self.events.tell("started", f"{self._parts.source.name} drives the portrait.")
        for name, url in self.fan_out.addresses.items():
            self.events.tell("output", f"The output {name} is at {url}")

    def wait(self, timeout_s: float) -> bool:
        """Waits for the end of the run. True when it is over."""
        return self._work.stopping.wait(timeout_s)

    def stop(self) -> None:
        """Asks the run to end after the picture in work; from any thread or signal handler."""
        self.commands.put(Quit())

    def close(self) -> None:
        """Ends the threads, finishes the files, then raises what a thread died of. Idempotent."""
        self._work.stop()
        self._captured.close()
        self._observed.close()
        if self._opened is None:
            return
        parts = self._opened
        parts.source.close()
        workers = (self._work, self._track, self._capture)
        stuck = [w.name for w in workers if not w.join(JOIN_S)]
        stuck += parts.fan_out.close()
        if stuck:
            self._tally.warnings.append(f"did not end in time and were left: {', '.join(stuck)}")
        if not {"work", "track"} & set(stuck):  # else they still use them
            parts.close()
        self._work.raise_if_failed()

    @property
    def fan_out(self) -> FanOut:
        """The sinks; they may be added and removed while the run goes on."""
        return self._parts.fan_out

    def report(self) -> Report:
        """The figures so far, or of the whole run after `close`."""
        return report_of(self._parts, self._slots, self._tally, self._times)

    def status(self) -> Status:
        """How the run is doing now; from any thread. Raises UserError before it has started."""
        return status_of(self._parts, self._slots, self._tally)

    def stage_times(self, last: int) -> dict[str, Percentiles]:
        """Milliseconds per stage over the newest `last` pictures."""
        return self._times.percentiles(last)

    @property
    def has_started(self) -> bool:
        """Everything was opened, so there are figures to report."""
        return self._opened is not None

    @property
    def _slots(self) -> tuple[LatestSlot[Frame | Observation], LatestSlot[Observation]]:
        return self._captured, self._observed

    @property
    def _parts(self) -> Parts:
        if self._opened is None:
            raise NotStarted("The run is still starting: try again in a moment.")
        return self._opened

    def _on_sink_failure(self, name: str, error: Exception) -> None:
        self._tally.warnings.append(f"the output {name} failed: {error}")
        self.events.tell("sink-failed", f"The output {name} failed and is off: {error}")

    def _do_capture(self, stop: threading.Event) -> None:
        source = self._parts.source
        while not stop.is_set():
            try:
                item = source.read(READ_TIMEOUT_S)
            except SourceSilent:  # the work thread notices, and says so
                continue
            if item is None:
                return
            self._captured.put(item)

    def _do_track(self, stop: threading.Event) -> None:
        """A thread of its own: the next face is looked for while this picture is painted, unless
        the generator takes every core. Then both would only wait for each other, so a face is
        looked for when the picture before it is done, in the newest frame there is then.
        """
        times, generator = self._times, self._parts.generator
        while not stop.is_set():
            if not generator.leaves_a_core and not self._observed.await_reader(READ_TIMEOUT_S):
                continue
            try:
                item = self._captured.get(READ_TIMEOUT_S)
            except TimeoutError:
                continue
            now = times.lap("capture", item.captured_at_ns)
            if isinstance(item, Frame):
                item = self._tracked(item)
                times.lap("track", now)
            self._observed.put(item)

    def _tracked(self, frame: Frame) -> Observation:
        """A frame on which the tracker breaks down is one without a face: in a call the slate is
        better than a camera that has gone."""
        try:
            found = self._parts.tracker.track(frame)
        except Exception as error:
            if not self._tracking_fails:
                self._tracking_fails = True
                log.info("The tracker fails.", exc_info=True)
                told = f"The tracker fails ({type(error).__name__}: {error}); the portrait rests."
                if told not in self._tally.warnings:
                    self._tally.warnings.append(told)
                self.events.tell("tracking-failed", told)
            return Observation(None, frame.captured_at_ns, frame.index)
        self._tracking_fails = False
        return found

    def _do_work(self, stop: threading.Event) -> None:
        work = Work(
            self._parts, self._observed, self.commands, self.events, self._times, self._tally,
            self.settings.seconds,
        )  # fmt: skip
        work.run(stop)
