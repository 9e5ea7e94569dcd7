"""Playing what is recorded: at its own pace (live), or every item (offline).

Video files, picture folders and landmark traces differ only in how they open and load; pace,
loop, end, time limit and `close` are here, once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from puppet.contract import Frame, Observation, SourceSilent
from puppet.flow import Clock, RateMeter

T = TypeVar("T", bound=Frame | Observation)
SoundAt: TypeAlias = tuple[int, NDArray[np.float32]]
"""(ns from the first picture, (N,) samples)."""

_SKIP_BUDGET_NS = 100_000_000
"""The longest time one read spends on getting back in step by skipping."""
_PAST_NS = 2_000_000
"""A moment this much ago still counts as now: threads do not wake to the microsecond."""


@dataclass(frozen=True, slots=True)
class Cue(Generic[T]):
    """One item of a recording, not yet converted: skipping it costs no conversion."""

    at_ns: int
    """Its time from the start of the recording; grows from item to item."""
    load: Callable[[int, int], T]
    """(captured_at_ns, index) to the item. Called at most once, perhaps after later cues."""


@dataclass(frozen=True, slots=True)
class Recording(Generic[T]):
    """What can be played."""

    name: str
    cues: Callable[[], Generator[Cue[T], None, None]]
    """A fresh run through the recording; raises SourceError. Closing it frees its resources."""
    size: tuple[int, int]
    """(width, height) of the first picture, upright, in pixels."""
    fps: float
    """The nominal rate: what the file claims. Real times come with the cues."""
    length: int | None = None
    """How many items, as far as known beforehand (for a progress bar)."""
    sound: Callable[[], Generator[SoundAt, None, None]] | None = None
    """A fresh run through its sound, as `puppet.capture.clip_sound.decode_sound`."""


@dataclass(slots=True)
class Playback:
    """How far a recording has been played, on one time line through all its rounds. Written by
    the reader's thread; what it holds is replaced, never changed, so that any thread may read."""

    sound: Callable[[], Generator[SoundAt, None, None]] | None
    latest: tuple[int, int] | None = None
    """(its time from the start of the first round, captured_at_ns) of the last item, in ns."""
    rounds: tuple[int, ...] = (0,)
    """Where on the time line each round begins."""


class PlayedSource(Generic[T]):
    """A recording as a `Source`.

    Live (`realtime=True`): each item comes when its time has come, with `captured_at_ns` the
    moment of delivery, as from a camera. Items whose successor is due already are skipped and
    counted in `dropped`. A reader, or a decoder, too slow for the recording gets a slower
    recording rather than an ever longer delay or no picture at all.

    Offline: every item, `captured_at_ns` is the moment of the first read plus its own time.
    """

    def __init__(
        self,
        recording: Recording[T],
        *,
        loop: bool = False,
        realtime: bool = True,
        clock: Clock = time.perf_counter_ns,
    ) -> None:
        self.name = recording.name
        self.size = recording.size
        self.fps_nominal: float | None = recording.fps
        self.length = None if loop else recording.length
        self.dropped = 0
        self.playback = Playback(recording.sound)
        self._recording = recording
        self._loop = loop
        self._realtime = realtime
        self._clock = clock
        self._rate = RateMeter(clock=clock)
        self._closed = threading.Event()
        self._reading = threading.Lock()
        self._cues = self._endless()
        self._next: Cue[T] | None = None  # taken from the recording, not yet delivered
        self._start_ns: int | None = None  # when the recording's time 0 is
        self._index = 0

    @property
    def fps_measured(self) -> float | None:
        """The rate at which items were really delivered (offline: the recording's own)."""
        return self._rate.per_second

    def read(self, timeout_s: float) -> T | None:
        """The next item, or None at the end or after `close`.

        Raises SourceSilent when the next item is not due within `timeout_s` (it is kept for the
        next call), SourceError when the recording turns out to be broken.
        """
        with self._reading:
            if self._closed.is_set():
                self._cues.close()
                return None
            return self._play(timeout_s) if self._realtime else self._step()

    def close(self) -> None:
        self._closed.set()
        # A read that is under way sees the event and returns; then the files can be closed.
        if self._reading.acquire(timeout=1.0):
            try:
                self._cues.close()
            finally:
                self._reading.release()

    def _step(self) -> T | None:
        cue = self._take()
        if cue is None:
            return None
        if self._start_ns is None:
            self._start_ns = self._clock() - cue.at_ns
        return self._deliver(cue, self._start_ns + cue.at_ns)

    def _play(self, timeout_s: float) -> T | None:
        cue = self._next or self._take()
        self._next = cue
        if cue is None:
            return None
        now = self._clock()
        if self._start_ns is None:
            self._start_ns = now - cue.at_ns
        wait_s = (self._start_ns + cue.at_ns - now) / 1e9
        if wait_s > timeout_s:
            self._closed.wait(timeout_s)
            if self._closed.is_set():
                return None
            raise SourceSilent(f"{self.name}: the next picture comes in {wait_s - timeout_s:.1f} s")
        if wait_s > 0 and self._closed.wait(wait_s):
            return None
        return self._deliver_newest(cue, self._start_ns)

    def _deliver_newest(self, cue: Cue[T], start_ns: int) -> T:
        """`cue` is due; delivers it, or the last one that is due as well."""
        began = now = self._clock()
        if now - start_ns - cue.at_ns <= _PAST_NS:
            self._next = None
            return self._deliver(cue, now)
        while True:
            following = self._next = self._take()
            now = self._clock()
            behind = now - began > _SKIP_BUDGET_NS
            if following is None or start_ns + following.at_ns > now or behind:
                if behind:  # cannot keep up: the recording plays slower from here on
                    self._start_ns = now - cue.at_ns
                return self._deliver(cue, now)
            self.dropped += 1
            self._index += 1
            cue = following

    def _deliver(self, cue: Cue[T], captured_at_ns: int) -> T:
        item = cue.load(captured_at_ns, self._index)
        self.playback.latest = cue.at_ns, captured_at_ns
        self._index += 1
        self._rate.tick(captured_at_ns)
        return item

    def _take(self) -> Cue[T] | None:
        return next(self._cues, None)

    def _endless(self) -> Generator[Cue[T], None, None]:
        """The recording once, or again and again on one time line."""
        shift = 0
        while True:
            last, gap = -1, round(1e9 / self._recording.fps)
            for cue in self._recording.cues():
                if last >= 0:
                    gap = cue.at_ns - last
                last = cue.at_ns
                yield Cue(shift + cue.at_ns, cue.load)
            if not self._loop or last < 0:
                return
            shift += last + gap
            if self.playback.sound is not None:  # a silent picture has many rounds a second
                self.playback.rounds = (*self.playback.rounds, shift)
