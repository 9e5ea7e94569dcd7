"""A source that can be exchanged for another while the loop reads from it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from puppet.capture import MeasuredSource
from puppet.capture.played import Playback
from puppet.contract import Frame, Observation, SourceError


class SwitchableSource:
    """Reads from `current`. `switch` may be called from any thread; the reader notices nothing
    but another size and another name."""

    def __init__(
        self, first: MeasuredSource, on_observation: Callable[[Observation], None] | None = None
    ) -> None:
        """`on_observation` hears what a source without pictures (a trace) delivers."""
        self.current = first
        self.name = first.name
        self._on_observation = on_observation
        self._lock = threading.Lock()
        self._closed = False
        self._dropped_before = 0
        self._base = self._last = 0

    @property
    def size(self) -> tuple[int, int]:
        return self.current.size

    @property
    def fps_nominal(self) -> float | None:
        return self.current.fps_nominal

    @property
    def fps_measured(self) -> float | None:
        return self.current.fps_measured

    @property
    def dropped(self) -> int:
        return self._dropped_before + self.current.dropped

    @property
    def length(self) -> int | None:
        return self.current.length

    @property
    def playback(self) -> Playback | None:
        """How far a recording has been played; None for anything else."""
        playback: Playback | None = getattr(self.current, "playback", None)
        return playback

    @property
    def lost(self) -> str | None:
        """Why a camera that was there sends nothing."""
        why: str | None = getattr(self.current, "lost", None)
        return why

    def read(self, timeout_s: float) -> Frame | Observation | None:
        while True:
            source, base = self.current, self._base
            try:
                item = source.read(timeout_s)
            except SourceError:
                if source is not self.current:
                    continue  # it was closed under our hands
                raise
            if source is not self.current:
                continue
            if item is None:
                return None
            item = replace(item, index=base + item.index)
            self._last = item.index
            if self._on_observation is not None and isinstance(item, Observation):
                self._on_observation(item)
            return item

    def switch(self, following: MeasuredSource) -> None:
        """Reads from `following` from now on and closes what was read before."""
        with self._lock:
            if self._closed:
                following.close()
                raise SourceError("the run is ending")
            before, self._base = self.current, self._last + 1
            self._dropped_before += before.dropped
            self.current, self.name = following, following.name
        before.close()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            current = self.current
        current.close()
