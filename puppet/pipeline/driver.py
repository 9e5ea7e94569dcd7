"""The driver's side of the loop: the neutral face, and the motion relative to it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from puppet.contract import Landmarks, Observation, UserError
from puppet.retarget import DriverNeutral, NeutralCollector, Retargeter, RetargetSettings, rest_face
from puppet.retarget.expressions import Gesture, express, presets
from puppet.track.presence import PresenceState

if TYPE_CHECKING:
    from puppet.avatar.bundle import Avatar


class Driver:
    """Calibrates on the first second of a face and turns its landmarks into the portrait's.

    Until the first calibration is complete the mean face stands in for the neutral one; a later
    calibration goes on with the old neutral face until the new one is there.
    """

    def __init__(
        self,
        avatar: Avatar,
        settings: RetargetSettings,
        neutral: DriverNeutral | None = None,
    ) -> None:
        """`neutral`: known from a saved profile or from the whole clip; None to calibrate."""
        self.settings = settings
        self.neutral = neutral
        self._collector = None if neutral is not None else NeutralCollector()
        self._new_neutral: DriverNeutral | None = None
        self._gestures: tuple[Gesture, ...] = ()
        self.play(avatar)

    @property
    def calibration_progress(self) -> float | None:
        """0..1 of a calibration that is under way, else None."""
        return None if self._collector is None else self._collector.progress

    def recalibrate(self) -> None:
        """Begins a new calibration with the next face."""
        self._collector = NeutralCollector()

    def play(self, avatar: Avatar) -> None:
        """Another avatar, the same driver."""
        self._retargeter = Retargeter(rest_face(avatar.landmarks), self.neutral, self.settings)

    def adjust(self, changes: Mapping[str, object]) -> None:
        """Other settings from the next frame on. Raises UserError for an unknown or bad one."""
        for name, value in changes.items():
            now = getattr(self.settings, name, None)
            if now is None:
                raise UserError(f"There is no setting {name!r}.")
            if isinstance(now, bool) != isinstance(value, bool) or not isinstance(
                value, bool | int | float
            ):
                raise UserError(f"{name} takes a value such as {now!r}, not {value!r}.")
        self.settings = replace(self.settings, **changes)  # type: ignore[arg-type]
        self._retargeter.settings = self.settings

    def calibrate(self, observation: Observation) -> DriverNeutral | None:
        """Feeds a calibration that is under way. The neutral face when that completes it."""
        if self._collector is None:
            return None
        neutral = self._collector.add(observation)
        if neutral is not None:
            self.neutral, self._collector = neutral, None
            self._new_neutral = neutral
            self._retargeter.set_neutral(neutral)
        return neutral

    def take_new_neutral(self) -> DriverNeutral | None:
        """The result of a calibration, once after it was completed (to be kept)."""
        neutral, self._new_neutral = self._new_neutral, None
        return neutral

    def forget_motion(self) -> None:
        """The face was away: what comes next does not continue what was before."""
        self._retargeter.reset()

    def landmarks(self, state: PresenceState, at_ns: int) -> Landmarks:
        """Where the portrait's landmarks shall be: live motion, rest, or in between.

        In the pixels of the portrait's crop.
        """
        face = self._followed(state, at_ns)
        if self._gestures:
            self._gestures = tuple(g for g in self._gestures if not g.is_over(at_ns))
            for gesture in self._gestures:
                face = express(face, gesture.name, gesture.level(at_ns))
        return face

    def make_face(self, name: str | None, seconds: float | None, strength: float) -> None:
        """Begins an expression and lets go of the others; None only lets go.

        Raises UserError for one that there is not, or a bad length or strength.
        """
        if name is not None and name not in presets():
            raise UserError(f"There is no expression {name!r}: choose {', '.join(presets())}.")
        if not 0 <= strength <= 1.5 or (seconds is not None and not 0 < seconds <= 60):
            raise UserError("An expression lasts up to 60 seconds at a strength of 0 to 1.5.")
        now = time.perf_counter_ns()
        held = tuple(gesture.let_go(now) for gesture in self._gestures)
        if name is not None:
            ends = None if seconds is None else now + round(seconds * 1e9)
            held = (*held, Gesture(name, now, ends, strength))
        self._gestures = held

    @property
    def expressions(self) -> tuple[str, ...]:
        """The expressions that are being made, those that are going included."""
        return tuple(gesture.name for gesture in self._gestures)

    def _followed(self, state: PresenceState, at_ns: int) -> Landmarks:
        """The driver's motion, rest, or in between."""
        live = None
        if state.landmarks is not None and state.weight > 0:
            live = self._retargeter.retarget(state.landmarks, at_ns)
            if state.weight >= 1:
                return live
        rest = self._retargeter.idle(1 - state.blink)
        if live is None:
            return rest
        mixed = rest.points + (live.points - rest.points) * np.float32(state.weight)
        return replace(rest, points=mixed, teeth=live.teeth)
