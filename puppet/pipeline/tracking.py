"""Where the driver's tracking goes besides the portrait: into a trace, to VTuber programs."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np

from puppet.capture.trace import TraceWriter
from puppet.contract import Observation, PuppetError
from puppet.output.vmc import VmcSender, parse_target
from puppet.pipeline.events import Events


class TrackingOutputs:
    """Used by the work thread, except `close`, which comes after it."""

    def __init__(self, trace: Path | None, vmc: str | None, events: Events) -> None:
        """Raises UserError for a target or a folder that cannot be."""
        self._events = events
        self._trace = None if trace is None else TraceWriter(trace)
        self._vmc = None if vmc is None else VmcSender(*parse_target(vmc))
        self._last_ns = -1
        self._size: tuple[int, int] | None = None

    def note(self, observation: Observation) -> None:
        if self._vmc is not None:
            self._vmc.note(observation)
        if self._trace is None or observation.captured_at_ns <= self._last_ns:
            return
        self._last_ns = observation.captured_at_ns
        try:
            self._trace.append(self._of_one_size(observation))
        except PuppetError as error:  # full: what there is, is kept
            trace, self._trace = self._trace, None
            trace.close()
            self._events.tell("refused", str(error))

    def _of_one_size(self, observation: Observation) -> Observation:
        """A trace has one picture size; after a change of camera the points are scaled to it."""
        found = observation.landmarks
        if found is None:
            return observation
        if self._size is None:
            self._size = found.width, found.height
        if self._size == (found.width, found.height):
            return observation
        scale = self._size[0] / found.width
        points = found.points * np.float32(scale)
        scaled = replace(found, points=points, width=self._size[0], height=self._size[1])
        return replace(observation, landmarks=scaled)

    def close(self) -> None:
        """Writes the trace. Idempotent. Raises UserError when that cannot be."""
        with ExitStack() as closing:
            if self._vmc is not None:
                closing.callback(self._vmc.close)
            if self._trace is not None:
                closing.callback(self._trace.close)
