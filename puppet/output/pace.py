"""When a sink that must be fed steadily is due: a schedule, not a sleep after each picture."""

from __future__ import annotations

_GAIN = 1 / 16  # of the phase error per tick; the rate changes by 6 % at most
_GRACE = 1 / 4  # of a period: how long a tick waits for a picture that is just being made


class Schedule:
    """Ticks every `period_ns`, gently shifted so that pictures arrive shortly before them.

    Without the shift a camera of the same rate, but half a period off, would be shown half a
    period late for ever. Pure: all times are given.
    """

    def __init__(self, fps: float, start_ns: int) -> None:
        if not fps > 0:
            raise ValueError(f"fps must be positive, got {fps}")
        self.period_ns = round(1e9 / fps)
        self.due_ns = start_ns

    @property
    def grace_ns(self) -> int:
        return round(self.period_ns * _GRACE)

    def advance(self, now_ns: int, arrived_ns: int | None) -> None:
        """The tick was served at `now_ns` with a picture that arrived then (None: a repeat)."""
        if arrived_ns is not None:
            error = max(-self.period_ns, min(self.period_ns, arrived_ns - self.due_ns))
            self.due_ns += round(error * _GAIN)
        self.due_ns += self.period_ns
        if self.due_ns < now_ns:  # so late that a tick was missed: go on from here, no burst
            self.due_ns = now_ns + self.period_ns
