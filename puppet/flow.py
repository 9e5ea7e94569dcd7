"""How threads hand pictures on: one slot where the newest wins, workers, and what is measured.

Between threads there is never a queue. With a 30 fps camera and a consumer that needs 40 ms a
queue of 32 shows pictures 1.3 s old, one slot shows them 57 ms old, at the same frame rate.
Nothing here knows pictures or devices.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

T = TypeVar("T")
Clock = Callable[[], int]
"""A monotonic clock in nanoseconds; `time.perf_counter_ns` outside of tests."""


class Closed(Exception):
    """The slot was closed without an error: the stream is over."""


class LatestSlot(Generic[T]):
    """Holds at most one item; putting a new one drops an unread one and counts the drop.

    Safe for any number of producers and consumers; each item is delivered at most once.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: T | None = None
        self._full = False
        self._readers = 0
        self._closed = False
        self._error: BaseException | None = None
        self._put = 0
        self._dropped = 0

    def put(self, item: T) -> bool:
        """Never blocks. True when an unread item was dropped for this one.

        Raises Closed (or the error the slot was closed with) when nobody will read it.
        """
        with self._changed:
            if self._closed:
                raise self._end()
            replaced = self._full
            self._dropped += replaced
            self._put += 1
            self._item, self._full = item, True
            self._changed.notify_all()
            return replaced

    def get(self, timeout_s: float | None = None) -> T:
        """Takes the newest item, waiting for one if need be; None waits without a limit.

        Raises TimeoutError after `timeout_s`. Once the slot is closed, an item still in it is
        delivered, then the error it was closed with is raised, or Closed.
        """
        with self._changed:
            self._readers += 1
            self._changed.notify_all()
            try:
                arrived = self._changed.wait_for(lambda: self._full or self._closed, timeout_s)
            finally:
                self._readers -= 1
            if not arrived:
                raise TimeoutError(f"nothing arrived within {timeout_s:g} s")
            if not self._full:
                raise self._end()
            item, self._item, self._full = self._item, None, False
            return item  # type: ignore[return-value]

    def await_reader(self, timeout_s: float) -> bool:
        """For a producer that works on demand: waits until somebody waits in `get` in vain.

        False when nobody did in time; True at once when the slot is closed.
        """
        with self._changed:
            return self._changed.wait_for(
                lambda: (self._readers > 0 and not self._full) or self._closed, timeout_s
            )

    def close(self, error: BaseException | None = None) -> None:
        """Ends the stream for both sides. Idempotent: the first error is kept."""
        with self._changed:
            if self._error is None:
                self._error = error
            self._closed = True
            self._changed.notify_all()

    def _end(self) -> BaseException:
        return Closed("the slot is closed") if self._error is None else self._error

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def error(self) -> BaseException | None:
        return self._error

    @property
    def count(self) -> int:
        """Items put so far."""
        return self._put

    @property
    def dropped(self) -> int:
        """Items that were overwritten unread."""
        return self._dropped


class Worker:
    """A thread whose death is noticed and whose join cannot hang.

    `body(stop)` runs until it returns, or until it sees `stop` set. `on_end(error)` is called on
    the thread afterwards, with None for a regular end: pass the `close` of the slot the body
    fills, and its reader gets the error. Slots ending (Closed) is a regular end.
    """

    def __init__(
        self,
        name: str,
        body: Callable[[threading.Event], None],
        on_end: Callable[[BaseException | None], None] | None = None,
    ) -> None:
        self.name = name
        self.stopping = threading.Event()
        self._body = body
        self._on_end = on_end
        self._error: BaseException | None = None
        # A daemon, so that a device that blocks for ever cannot keep the process alive.
        self._thread = threading.Thread(target=self._run, name=f"puppet-{name}", daemon=True)

    def start(self) -> Worker:
        self._thread.start()
        return self

    def _run(self) -> None:
        try:
            self._body(self.stopping)
        except Closed:
            pass
        except BaseException as error:  # noqa: BLE001 (a thread's edge: handed to the reader)
            self._error = error
        finally:
            self.stopping.set()
            if self._on_end is not None:
                self._on_end(self._error)

    def stop(self) -> None:
        """Asks the body to end; does not wait."""
        self.stopping.set()

    def join(self, timeout_s: float = 2.0) -> bool:
        """Asks the body to end and waits. False when it did not end in time (it is left behind).

        From the worker's own thread, or before `start`, it returns at once.
        """
        self.stop()
        if self._thread.ident is None or self._thread is threading.current_thread():
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def error(self) -> BaseException | None:
        """What the body died of."""
        return self._error

    def raise_if_failed(self) -> None:
        """Hands the error over to the caller's thread."""
        if self._error is not None:
            raise self._error


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of a set of durations, in milliseconds; NaN where nothing was measured."""

    count: int
    p50: float
    p95: float
    p99: float
    max: float

    def as_dict(self) -> dict[str, float | None]:
        """For JSON: rounded to microseconds, None instead of NaN (which JSON does not have)."""
        values = {"p50": self.p50, "p95": self.p95, "p99": self.p99, "max": self.max}
        return {k: None if math.isnan(v) else round(v, 3) for k, v in values.items()}


class AgeStats:
    """Durations in a bounded ring: percentiles of the last `capacity`, count and max of all."""

    def __init__(self, capacity: int = 36_000) -> None:
        if capacity < 1:
            raise ValueError(f"capacity must be at least 1, got {capacity}")
        self._ring = np.empty(capacity, np.float32)  # ms
        self._count = 0
        self._max = math.nan
        self._lock = threading.Lock()

    def add_ms(self, value_ms: float) -> None:
        with self._lock:
            self._ring[self._count % len(self._ring)] = value_ms
            self._count += 1
            if not value_ms <= self._max:  # also true for the first, when max is NaN
                self._max = value_ms

    def add_between(self, since_ns: int, now_ns: int) -> None:
        """One duration from two readings of the same clock."""
        self.add_ms((now_ns - since_ns) / 1e6)

    @property
    def count(self) -> int:
        return self._count

    def percentiles(self, last: int | None = None) -> Percentiles:
        """Of what the ring holds, or of the newest `last` only (then max is of those too)."""
        with self._lock:
            held = min(self._count, len(self._ring))
            wanted = held if last is None else min(last, held)
            newest = (self._count - 1 - np.arange(wanted)) % len(self._ring)
            values, largest = self._ring[newest], self._max
            count = self._count
        if wanted == 0:
            return Percentiles(count, math.nan, math.nan, math.nan, math.nan)
        p50, p95, p99 = (float(p) for p in np.percentile(values, (50, 95, 99)))
        return Percentiles(count, p50, p95, p99, largest if last is None else float(values.max()))


class RateMeter:
    """Events per second over a sliding window of intervals (n stamps make n - 1 intervals)."""

    def __init__(self, window: int = 60, clock: Clock = time.perf_counter_ns) -> None:
        if window < 2:
            raise ValueError(f"window must be at least 2, got {window}")
        self._stamps: list[int] = []
        self._window = window
        self._clock = clock

    def tick(self, now_ns: int | None = None) -> None:
        self._stamps.append(self._clock() if now_ns is None else now_ns)
        if len(self._stamps) > self._window:
            del self._stamps[0]

    @property
    def per_second(self) -> float | None:
        """None until there is an interval to measure."""
        stamps = self._stamps
        if len(stamps) < 2 or stamps[-1] <= stamps[0]:
            return None
        return (len(stamps) - 1) * 1e9 / (stamps[-1] - stamps[0])
