"""The One Euro filter (Casiez, Roussel and Vogel, CHI 2012) for whole groups of values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Smoothing:
    """How one group is filtered. `min_cutoff_hz` 0 switches the filter off."""

    min_cutoff_hz: float
    """Cut-off when the group is at rest: lower is steadier."""
    beta: float
    """Added cut-off in Hz per unit per second of speed: higher lags less in motion."""
    speed_cutoff_hz: float = 2.0


class OneEuroFilter:
    """Filters arrays of one shape on real time stamps.

    The speed that opens the filter is the group's root-mean-square speed rather than each
    value's own, so that all points of a group lag alike and shapes stay whole.
    """

    def __init__(self, smoothing: Smoothing) -> None:
        self.smoothing = smoothing
        self.lag_s = 0.0
        """Time constant of the last step: how far the output trails a steady motion."""
        self._value: Values | None = None
        self._speed: Values | None = None
        self._at_ns = 0

    def reset(self) -> None:
        """Forgets the past; the next value passes unchanged."""
        self._value = None

    def __call__(self, value: Values, at_ns: int) -> Values:
        """The filtered value; a time stamp that does not advance gives the last one again."""
        s = self.smoothing
        if s.min_cutoff_hz <= 0:
            return value
        if self._value is None or self._speed is None:
            self._value, self._speed, self._at_ns = value.copy(), np.zeros_like(value), at_ns
            return value
        dt = (at_ns - self._at_ns) * 1e-9
        if dt <= 0:
            return self._value
        self._at_ns = at_ns
        speed = (value - self._value) / dt
        self._speed = self._speed + _share(s.speed_cutoff_hz, dt) * (speed - self._speed)
        rms = float(np.sqrt(np.mean(self._speed**2)))
        cutoff = s.min_cutoff_hz + s.beta * rms
        self.lag_s = 1 / (2 * np.pi * cutoff)
        self._value = self._value + _share(cutoff, dt) * (value - self._value)
        return self._value


def _share(cutoff_hz: float, dt_s: float) -> float:
    """Weight of the newest value in first-order smoothing."""
    return 1 / (1 + 1 / (2 * np.pi * cutoff_hz * dt_s))
