"""One picture to many sinks: a thread and a slot for each, so that none waits for another."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from puppet.contract import Picture, Sink, SinkError, UserError
from puppet.flow import AgeStats, Clock, Closed, LatestSlot, Percentiles, Worker
from puppet.output.pace import Schedule

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SinkStats:
    """One sink's figures so far."""

    name: str
    sent: int
    """Pictures that reached the device, repeats not counted."""
    dropped: int
    """Pictures replaced by a newer one before the sink could take them."""
    repeated: int
    """Pictures shown again because no newer one was there in time (paced sinks)."""
    age_ms: Percentiles
    """From capture until the sink had the picture."""
    send_ms: Percentiles
    """What the device took for one picture."""
    error: str | None
    """Why it stopped, or None."""


class FanOut:
    """Feeds sinks of one size. `send` never blocks; sinks can come and go while it runs."""

    def __init__(
        self,
        width: int,
        height: int,
        fps: float,
        *,
        on_failure: Callable[[str, Exception], None] | None = None,
        clock: Clock = time.perf_counter_ns,
    ) -> None:
        """`on_failure(sink name, error)` is called once per sink that fails after it was added,
        on that sink's thread; the other sinks go on.
        """
        self._format = (width, height, fps)
        self._on_failure = on_failure
        self._clock = clock
        self._channels: tuple[_Channel, ...] = ()  # replaced as a whole, so `send` needs no lock
        self._gone: list[SinkStats] = []
        self._lock = threading.Lock()
        self._closed = False

    def add(self, sink: Sink, timeout_s: float = 15.0) -> None:
        """Opens a sink on its own thread and waits for that.

        Raises SinkError when it cannot be opened or does not answer in time (the sink is not
        added then), UserError when a sink of that name is there already.
        """
        with self._lock:
            if self._closed:
                raise SinkError("the outputs are closed already")
            if any(c.sink.name == sink.name for c in self._channels):
                raise UserError(f"the output {sink.name} is on already")
        channel = _Channel(sink, self._format, self._on_failure, self._clock)
        channel.open(timeout_s)
        with self._lock:  # opening takes its time: the outputs may have been closed meanwhile
            late = self._closed or any(c.sink.name == sink.name for c in self._channels)
            if not late:
                self._channels = (*self._channels, channel)
        if late:
            channel.close(timeout_s)
            raise SinkError(f"the output {sink.name} came too late: closed, or on already")

    def remove(self, name: str, timeout_s: float = 5.0) -> None:
        """Closes one sink; its file is finished, its figures stay in `stats`."""
        with self._lock:
            gone = [c for c in self._channels if c.sink.name == name]
            self._channels = tuple(c for c in self._channels if c.sink.name != name)
        if not gone:
            raise UserError(f"there is no output {name}")
        gone[0].close(timeout_s)
        with self._lock:
            self._gone.append(gone[0].stats())

    def send(self, picture: Picture) -> None:
        """Hands the newest picture to every sink that is alive.

        Raises TypeError for anything but a composed Picture: a camera frame cannot get out here.
        """
        if type(picture) is not Picture:
            raise TypeError(f"only a composed Picture may leave, not {type(picture).__name__}")
        now = self._clock()
        for channel in self._channels:
            channel.put(picture, now)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the sinks that are on, failed ones included."""
        return tuple(c.sink.name for c in self._channels)

    @property
    def sinks(self) -> tuple[Sink, ...]:
        """Those that are on, failed ones included."""
        return tuple(c.sink for c in self._channels)

    @property
    def alive(self) -> int:
        """How many sinks still take pictures."""
        return sum(c.error is None for c in self._channels)

    @property
    def wants_cutout(self) -> bool:
        """Whether a sink that is alive uses `Picture.cutout`."""
        return any(c.sink.wants_cutout for c in self._channels if c.error is None)

    @property
    def addresses(self) -> dict[str, str]:
        """Where to look, by name, for the sinks that are pages."""
        found = {c.sink.name: getattr(c.sink, "url", None) for c in self._channels}
        return {name: url for name, url in found.items() if url is not None}

    def stats(self, last: int | None = None) -> tuple[SinkStats, ...]:
        """Of all sinks, removed ones first; times of those that are on over the newest `last`
        pictures, or over all of them."""
        return (*self._gone, *(c.stats(last) for c in self._channels))

    def close(self, timeout_s: float = 10.0) -> tuple[str, ...]:
        """Ends all sinks together; what was sent is kept. Idempotent.

        Returns the names of sinks that did not end within `timeout_s` (they are left behind).
        """
        with self._lock:
            self._closed = True
            channels = self._channels
        for channel in channels:
            channel.ask_to_end()
        deadline = time.monotonic() + timeout_s
        stuck = [c for c in channels if not c.close(max(0.0, deadline - time.monotonic()))]
        for channel in stuck:
            _log.warning("the output %s did not end within %g s", channel.sink.name, timeout_s)
        return tuple(c.sink.name for c in stuck)


class _Channel:
    """One sink with its slot, thread and figures."""

    def __init__(
        self,
        sink: Sink,
        picture_format: tuple[int, int, float],
        on_failure: Callable[[str, Exception], None] | None,
        clock: Clock,
    ) -> None:
        self.sink = sink
        self.error: Exception | None = None
        self._format = picture_format
        self._on_failure = on_failure
        self._clock = clock
        self._slot: LatestSlot[tuple[Picture, int]] = LatestSlot()
        self._opened = threading.Event()
        self._added = False
        self._ages, self._sends = AgeStats(), AgeStats()
        self._sent = self._repeated = 0
        # A sink whose viewers expect a steady stream says so; the others get each picture once.
        self._paced = bool(getattr(sink, "paced", False))
        self._worker = Worker(f"sink-{sink.name}", self._run)

    def open(self, timeout_s: float) -> None:
        self._worker.start()
        if not self._opened.wait(timeout_s):
            self.ask_to_end()
            raise SinkError(f"the output {self.sink.name} did not open within {timeout_s:g} s")
        if self.error is not None and not self._added:
            raise self.error

    def put(self, picture: Picture, now_ns: int) -> None:
        with contextlib.suppress(Closed):  # it has failed or is being removed
            self._slot.put((picture, now_ns))

    def ask_to_end(self) -> None:
        self._slot.close()
        self._worker.stop()

    def close(self, timeout_s: float) -> bool:
        self.ask_to_end()
        return self._worker.join(timeout_s)

    def stats(self, last: int | None = None) -> SinkStats:
        return SinkStats(
            self.sink.name, self._sent, self._slot.dropped, self._repeated,
            self._ages.percentiles(last), self._sends.percentiles(last),
            None if self.error is None else str(self.error),
        )  # fmt: skip

    def _run(self, stop: threading.Event) -> None:
        try:
            self.sink.open(*self._format)
            self._added = True
            self._opened.set()
            if self._paced:
                self._feed_paced(stop)
            else:
                while True:
                    self._send(self._slot.get()[0])
        except Closed:
            pass
        except Exception as error:  # noqa: BLE001 (a thread's edge: kept and reported)
            self._fail(error)
        finally:
            self._slot.close()
            try:
                self.sink.close()
            except Exception as error:  # noqa: BLE001 (a thread's edge: kept and reported)
                self._fail(error)
            self._opened.set()

    def _fail(self, error: Exception) -> None:
        if self.error is not None:
            return
        if not isinstance(error, SinkError | UserError):
            # Whoever hears of a failure in mid-run is told the name beside it.
            who = "" if self._added else f"the output {self.sink.name} failed: "
            failure = SinkError(f"{who}{type(error).__name__}: {error}")
            failure.__cause__ = error
            error = failure
        self.error = error
        self._slot.close()
        if self._added:
            _log.warning("the output %s has failed: %s", self.sink.name, error)
            if self._on_failure is not None:
                self._on_failure(self.sink.name, error)

    def _send(self, picture: Picture, repeat: bool = False) -> None:
        since = self._clock()
        self.sink.send(picture)
        now = self._clock()
        self._sends.add_between(since, now)
        if repeat:
            self._repeated += 1
        else:
            self._sent += 1
            self._ages.add_between(picture.captured_at_ns, now)

    def _feed_paced(self, stop: threading.Event) -> None:
        """Feeds the device on a schedule from the first picture on."""
        picture, _ = self._slot.get()
        self._send(picture)
        schedule = Schedule(self._format[2], self._clock())
        schedule.advance(schedule.due_ns, None)
        while not stop.wait(max(0, schedule.due_ns - self._clock()) / 1e9):
            arrived: int | None = None
            late_until = schedule.due_ns + schedule.grace_ns
            with contextlib.suppress(TimeoutError):
                picture, arrived = self._slot.get(max(0, late_until - self._clock()) / 1e9)
            self._send(picture, repeat=arrived is None)
            schedule.advance(self._clock(), arrived)
