"""What the portrait does while the driver's face is away. Pure: driven by `captured_at_ns` only.

    face seen        TRACKED   live motion (eased in over `ease_in_s` when coming back)
    up to hold_s     HOLD      the last landmarks stand still
    then             IDLE      eased to a neutral rest over `ease_out_s`, with blinks
    slate_after_s    SLATE     the caller shows its slate picture

No state ever falls back to the driver's pixels: there is nothing here but landmarks and times.
"""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass

from puppet.contract import Landmarks, Observation


class Presence(enum.Enum):
    """What to show for one observation."""

    TRACKED = "tracked"
    HOLD = "hold"
    IDLE = "idle"
    SLATE = "slate"


@dataclass(frozen=True, slots=True)
class PresenceSettings:
    """Times of the policy, in seconds."""

    hold_s: float = 0.3
    """A face missed for less than this is a hiccup of the tracker: stand still."""
    ease_out_s: float = 0.8
    """From the held pose to rest."""
    ease_in_s: float = 0.25
    """From rest back to live motion."""
    slate_after_s: float = 5.0
    """Since the face was last seen (or since the start, when none was seen yet)."""
    blink_seed: int = 1
    """Blinks at rest are pseudo-random but the same for the same seed."""

    def __post_init__(self) -> None:
        if not 0 <= self.hold_s <= 0.3:
            raise ValueError(f"hold_s must be 0 to 0.3 s, got {self.hold_s}")
        if self.ease_out_s <= 0 or self.ease_in_s <= 0:
            raise ValueError("ease_out_s and ease_in_s must be above 0")
        if self.slate_after_s < self.hold_s:
            raise ValueError("slate_after_s must not be less than hold_s")


@dataclass(frozen=True, slots=True)
class PresenceState:
    """How to move the portrait: `weight` x live + (1 - `weight`) x rest with lids at `blink`."""

    presence: Presence
    landmarks: Landmarks | None
    """The driver's landmarks: of this frame, or the last seen; None before the first face."""
    weight: float
    """0..1, share of the live (or held) motion against rest."""
    blink: float
    """0..1, closure of the lids at rest: 1 is shut."""
    lost_for_s: float
    """Since a face was last seen; 0 while tracked."""


class PresencePolicy:
    """The state machine; one per driver, fed with every observation in order."""

    def __init__(self, settings: PresenceSettings | None = None) -> None:
        self.settings = settings or PresenceSettings()
        self._blinks = BlinkSchedule(self.settings.blink_seed)
        self._start_ns: int | None = None
        self._now_ns = 0
        self._seen_ns = 0
        self._last: Landmarks | None = None
        self._live = 0.0  # linear 0..1; `weight` is its smooth step

    def step(self, observation: Observation) -> PresenceState:
        """The state at `observation.captured_at_ns`. A time before the last one counts as it."""
        if self._start_ns is None:
            self._start_ns = self._now_ns = self._seen_ns = observation.captured_at_ns
        before_ns = self._now_ns
        self._now_ns = max(before_ns, observation.captured_at_ns)
        if observation.landmarks is not None:
            presence = self._see(observation.landmarks, (self._now_ns - before_ns) / 1e9)
        else:
            presence = self._miss((self._now_ns - before_ns) / 1e9)
        return PresenceState(
            presence=presence,
            landmarks=self._last,
            weight=self._live * self._live * (3 - 2 * self._live),
            blink=self._blinks.closure((self._now_ns - self._start_ns) / 1e9),
            lost_for_s=(self._now_ns - self._seen_ns) / 1e9,
        )

    def _see(self, landmarks: Landmarks, passed_s: float) -> Presence:
        if self._last is None:
            self._live = 1.0  # nothing was shown before: nothing to ease from
        self._last = landmarks
        self._seen_ns = self._now_ns
        self._live = min(1.0, self._live + passed_s / self.settings.ease_in_s)
        return Presence.TRACKED

    def _miss(self, passed_s: float) -> Presence:
        lost_s = (self._now_ns - self._seen_ns) / 1e9
        # Only the time beyond the hold eases out, however the frames fall on it.
        easing_s = min(passed_s, max(0.0, lost_s - self.settings.hold_s))
        self._live = max(0.0, self._live - easing_s / self.settings.ease_out_s)
        if lost_s >= self.settings.slate_after_s:
            return Presence.SLATE
        if self._last is not None and lost_s <= self.settings.hold_s:
            return Presence.HOLD
        return Presence.IDLE


class BlinkSchedule:
    """Natural blinks over time: about 17 a minute, shut in 80 ms, open again in 160 ms.

    Rate at rest: Bentivoglio et al., Analysis of blink rate patterns in normal subjects,
    Movement Disorders 1997. Times must not go back.
    """

    _CLOSE_S, _SHUT_S, _OPEN_S = 0.08, 0.04, 0.16

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._begins_s = self._random.uniform(1.0, 3.0)

    def closure(self, at_s: float) -> float:
        """0 (open) to 1 (shut) at `at_s` seconds since the start."""
        while at_s > self._begins_s + self._CLOSE_S + self._SHUT_S + self._OPEN_S:
            self._begins_s += self._pause_s()
        since_s = at_s - self._begins_s
        if since_s <= 0:
            return 0.0
        if since_s < self._CLOSE_S:
            return since_s / self._CLOSE_S
        opening_s = since_s - self._CLOSE_S - self._SHUT_S
        return 1.0 if opening_s <= 0 else max(0.0, 1.0 - opening_s / self._OPEN_S)

    def _pause_s(self) -> float:
        """From one blink's begin to the next: one in eight is a quick second blink."""
        if self._random.random() < 0.125:
            return self._random.uniform(0.4, 0.6)
        return min(8.0, max(1.5, self._random.lognormvariate(1.25, 0.4)))
