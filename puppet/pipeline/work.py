"""The work thread of a live run: the newest observation in, a picture to every output."""

from __future__ import annotations

import logging
import threading
import time

from engines.coarse import TIER as COARSE
from engines.contract import reason
from puppet.contract import Observation, Picture, SinkError
from puppet.flow import Closed, LatestSlot
from puppet.pipeline.actions import Actions
from puppet.pipeline.commands import CommandQueue
from puppet.pipeline.events import Events
from puppet.pipeline.parts import Parts
from puppet.pipeline.report import StageTimes
from puppet.pipeline.tally import Tally

SILENT_AFTER_S = 1.0
"""Without a picture for this long, the source counts as silent and that is told."""
PATIENCE_S = 0.3
"""Without a picture for this long, the portrait goes on by itself (rests, then slate)."""
IDLE_TICK_S = 1 / 15
SLOW_AFTER_S = 5.0
"""When it is looked at whether the network keeps up with the source: all is warm by then."""
_NEWEST = 60
_log = logging.getLogger(__name__)


class Work:
    """Everything between the slot and the outputs, on one thread."""

    def __init__(
        self,
        parts: Parts,
        slot: LatestSlot[Observation],
        commands: CommandQueue,
        events: Events,
        times: StageTimes,
        tally: Tally,
        seconds: float | None,
    ) -> None:
        """`seconds`: ends this long after the first picture; None goes on until told to stop."""
        self._parts = parts
        self._slot = slot
        self._commands = commands
        self._events = events
        self._times = times
        self._tally = tally
        self._seconds = seconds
        self._actions = Actions(parts, events)
        self._last_index = -1
        self._pace_known = False
        self._failure: Exception | None = None
        """What the last picture failed of."""

    def run(self, stop: threading.Event) -> None:
        """Until `stop`, a command to quit, the source's end, or its time is over.

        A picture that cannot be made is replaced by the slate, since an output that ends in the
        middle of a call is worse; what the last one failed of is raised at the end. Raises what
        else went wrong, at capture and tracking too; SinkError when no output is left.
        """
        waiting_since = time.perf_counter()
        patience_s = PATIENCE_S
        try:
            while not stop.is_set() and not self._is_time_over():
                if self._actions.obey(self._commands.drain()):
                    break
                try:
                    observation = self._slot.get(patience_s)
                except TimeoutError:
                    patience_s = IDLE_TICK_S
                    self._note_silence(time.perf_counter() - waiting_since)
                    self._send(self._idle_picture())
                    continue
                self._note_return()
                waiting_since, patience_s = time.perf_counter(), PATIENCE_S
                self._send(self._picture_of(observation))
                self._note_pace()
        except Closed:
            self._events.tell("source-ended", f"{self._parts.source.name} has ended.")
        finally:
            self._tally.ended_ns = time.perf_counter_ns()
        if self._failure is not None:
            raise self._failure

    def _picture_of(self, observation: Observation) -> Picture:
        self._last_index = observation.index
        self._tally.face_lost_frames += observation.landmarks is None
        self._parts.tracking.note(observation)
        picture = self._perform(observation)
        neutral = self._parts.performer.driver.take_new_neutral()
        if neutral is not None:
            self._parts.profile.keep(neutral)
        return picture

    def _idle_picture(self) -> Picture:
        """The portrait goes on by itself while nothing arrives."""
        nobody = Observation(None, time.perf_counter_ns(), self._last_index)
        return self._perform(nobody)

    def _perform(self, observation: Observation) -> Picture:
        performer, before = self._parts.performer, self._failure
        try:
            picture = performer.perform(observation)
        except Exception as error:  # noqa: BLE001 (outputs stay on air, and the end tells)
            self._failure = error
            if before is None:
                self._tell_failure(error)
            return performer.stand_in(observation)
        if before is not None:
            self._failure = None
            self._events.tell("picture-back", "The picture is made again.")
        return picture

    def _tell_failure(self, error: Exception) -> None:
        _log.info("A picture cannot be made.", exc_info=error)
        why = f"The picture cannot be made: {reason(error)}"
        if why not in self._tally.warnings:
            self._tally.warnings.append(why)
        self._events.tell("picture-failed", f"{why} The slate is shown.")

    def _send(self, picture: Picture) -> None:
        fan_out = self._parts.fan_out
        fan_out.send(picture)
        if self._tally.count_picture():
            after_s = self._tally.first_picture_s
            self._events.tell("first-picture", f"The first picture came after {after_s:.1f} s.")
        if fan_out.alive == 0 and fan_out.names:
            raise SinkError(f"Every output has failed. {'; '.join(self._tally.warnings)}")

    def _is_time_over(self) -> bool:
        return self._seconds is not None and self._tally.seconds >= self._seconds

    def _note_pace(self) -> None:
        """Tells once when the network cannot keep up with the source, and what can."""
        if self._pace_known or self._tally.seconds < SLOW_AFTER_S:
            return
        self._pace_known = True
        generator, rate = self._parts.generator, self._parts.source.fps_measured
        takes_ms = self._times.percentiles(_NEWEST)["generate"].p50
        if not rate or takes_ms * rate <= 1000 or generator.spec.tier == COARSE:
            return
        if generator.spec.tier == "base":
            remedy = "--tier small is quicker."
        elif generator.on_processor:
            remedy = "--tier coarse is quicker, without teeth and lids; so is a GPU."
        else:
            return
        self._events.tell(
            "slow",
            f"The network takes {takes_ms:.0f} ms a picture here: {self._tally.fps:.0f} a "
            f"second are made of the {rate:.0f} that come. {remedy}",
        )

    def _note_silence(self, for_s: float) -> None:
        if for_s < SILENT_AFTER_S or self._tally.silent:
            return
        self._tally.silent = True
        why = getattr(self._parts.source, "lost", None) or "it sends nothing"
        self._events.tell(
            "source-silent", f"No picture from {self._parts.source.name}: {why}. Waiting for it."
        )

    def _note_return(self) -> None:
        if not self._tally.silent:
            return
        self._tally.silent = False
        self._events.tell("source-back", f"{self._parts.source.name} is back.")
