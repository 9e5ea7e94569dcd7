"""What the panel looks at: the newest composed picture, and the driver as landmarks.

Both keep one value and copy nothing; drawing and encoding happen when a viewer asks, on the
server's thread, so the loop pays for an assignment per picture.
"""

from __future__ import annotations

import time

from puppet.contract import Frame, Observation, Picture, Rgb, Tracker
from puppet.flow import AgeStats, RateMeter
from puppet.pipeline.status import RECENT


class PanelSink:
    """The output that the panel shows."""

    name = "panel"
    wants_cutout = False

    def __init__(self) -> None:
        self.newest: tuple[int, Picture] | None = None
        """(number, picture), replaced as a whole."""
        self.ages = AgeStats(RECENT)
        self._rate = RateMeter()
        self._last_ns = 0

    def open(self, width: int, height: int, fps: float) -> None:
        """Nothing to open."""

    def send(self, picture: Picture) -> None:
        number = 0 if self.newest is None else self.newest[0] + 1
        self.newest = (number, picture)
        now = self._last_ns = time.perf_counter_ns()
        self._rate.tick(now)
        self.ages.add_between(picture.captured_at_ns, now)

    def close(self) -> None:
        self.newest = None

    @property
    def fps(self) -> float:
        """Pictures per second over the last two seconds; 0 when none comes."""
        if time.perf_counter_ns() - self._last_ns > 2e9:
            return 0.0
        return self._rate.per_second or 0.0


class DriverTap:
    """The newest observation of the driver; the picture too, only while `show_picture`."""

    def __init__(self) -> None:
        self.newest: tuple[int, Observation, Rgb | None] | None = None
        self._show_picture = False
        self._number = 0

    @property
    def show_picture(self) -> bool:
        return self._show_picture

    @show_picture.setter
    def show_picture(self, on: bool) -> None:
        self._show_picture = on
        newest = self.newest
        if not on and newest is not None:  # as another one, so that nobody keeps the picture
            self._number += 1
            self.newest = (self._number, newest[1], None)

    def note(self, observation: Observation, frame: Frame | None = None) -> None:
        self._number += 1
        rgb = frame.rgb if frame is not None and self._show_picture else None
        self.newest = (self._number, observation, rgb)


class TappedTracker:
    """A tracker whose findings the panel sees as well."""

    def __init__(self, inner: Tracker, tap: DriverTap) -> None:
        self.name = inner.name
        self._inner = inner
        self._tap = tap

    def track(self, frame: Frame) -> Observation:
        observation = self._inner.track(frame)
        self._tap.note(observation, frame)
        return observation

    def close(self) -> None:
        self._inner.close()
