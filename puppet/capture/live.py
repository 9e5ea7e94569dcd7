"""A device or stream that is read by a thread of its own, and comes back after it was lost."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from puppet.contract import Frame, Rgb, SourceError, SourceSilent
from puppet.flow import Clock, Closed, LatestSlot, RateMeter, Worker

RETRY_S = 0.5


class Grabbed(NamedTuple):
    """A picture as a device hands it over."""

    captured_at_ns: int
    rgb: Rgb
    """Owned by the receiver."""
    skipped: int = 0
    """Older pictures that the feed passed over to get to this one."""


class Feed(Protocol):
    """One connection to a device. Used by one thread."""

    size: tuple[int, int]
    """(width, height) that was agreed on, in pixels."""
    fps_nominal: float | None
    """What the device claims."""

    def grab(self) -> Grabbed:
        """Waits for the next picture.

        Raises SourceError when the connection is lost or nothing comes for long.
        """
        ...

    def close(self) -> None: ...


class LiveSource:
    """A feed as a `Source`: the newest picture wins, and a lost device is waited for.

    The libraries block for seconds on a device that has gone silent, so a thread of its own
    talks to it; `read` keeps its time limit and `close` returns whatever the device does.
    While the device is away `read` raises SourceSilent (`lost` says why), and delivers again
    when it is back; `reconnects` counts how often that happened.
    """

    def __init__(
        self,
        name: str,
        first: Feed,
        connect: Callable[[], Feed],
        *,
        retry_s: float = RETRY_S,
        clock: Clock = time.perf_counter_ns,
    ) -> None:
        """`connect` makes a new feed after `first` was lost; SourceError means: try again."""
        self.name = name
        self.size = first.size
        self.fps_nominal = first.fps_nominal
        self.length: int | None = None
        self.reconnects = 0
        self.lost: str | None = None
        self._skipped = 0
        self._connect = connect
        self._retry_s = retry_s
        self._slot: LatestSlot[Frame] = LatestSlot()
        self._rate = RateMeter(clock=clock)
        self._worker = Worker(
            f"capture-{name}", lambda stop: self._run(first, stop), self._slot.close
        )
        self._worker.start()

    @property
    def fps_measured(self) -> float | None:
        """The rate at which the device really delivers."""
        return self._rate.per_second

    @property
    def dropped(self) -> int:
        """Pictures passed over because a newer one was there."""
        return self._slot.dropped + self._skipped

    def read(self, timeout_s: float) -> Frame | None:
        """The newest picture not read before. None after `close`."""
        try:
            return self._slot.get(timeout_s)
        except Closed:
            return None
        except TimeoutError as error:
            why = self.lost or "it is connected but sends nothing"
            raise SourceSilent(f"no picture from {self.name} for {timeout_s:g} s: {why}") from error

    def close(self) -> None:
        self._worker.stop()
        self._slot.close()
        self._worker.join(1.0)

    def _run(self, feed: Feed | None, stop: threading.Event) -> None:
        index = 0
        while feed is not None:
            try:
                while not stop.is_set():
                    captured_at_ns, rgb, skipped = feed.grab()
                    self.lost = None
                    self._skipped += skipped
                    index += skipped
                    self._rate.tick(captured_at_ns)
                    self._slot.put(Frame(rgb, captured_at_ns, index))
                    index += 1
            except Exception as error:  # noqa: BLE001 (a library's edge: the device may come back)
                self.lost = _why(error)
            finally:
                with contextlib.suppress(Exception):  # what has failed may fail to close
                    feed.close()
            feed = self._wait_for_return(stop)

    def _wait_for_return(self, stop: threading.Event) -> Feed | None:
        cause = self.lost
        while not stop.wait(self._retry_s):
            try:
                feed = self._connect()
            except Exception as error:  # noqa: BLE001 (a library's edge)
                self.lost = f"{cause} (trying again: {_why(error)})"
                continue
            self.reconnects += 1
            self.size, self.fps_nominal = feed.size, feed.fps_nominal
            return feed
        return None


def _why(error: Exception) -> str:
    return str(error) if isinstance(error, SourceError) else f"{type(error).__name__}: {error}"
