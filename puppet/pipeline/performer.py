"""One picture from one observation: presence, retarget, draw, generate, compose."""

from __future__ import annotations

import time
from dataclasses import replace

from puppet.compose.compositor import Compositor
from puppet.compose.settings import ComposeSettings, LabelSettings
from puppet.compose.slate import SlateReason
from puppet.contract import Observation, Picture
from puppet.pipeline.cast import Role
from puppet.pipeline.driver import Driver
from puppet.pipeline.events import Events
from puppet.pipeline.generator import GeneratorKeeper
from puppet.pipeline.report import StageTimes
from puppet.track.presence import Presence, PresencePolicy, PresenceState

_LABEL_SIZES = ("small", "medium", "large")


class Performer:
    """Plays a role. The same for live and offline; used by one thread.

    What comes in is an observation, never a frame: the driver's pixels end at the tracker.
    """

    def __init__(
        self,
        role: Role,
        driver: Driver,
        generator: GeneratorKeeper,
        compose: ComposeSettings,
        events: Events,
        times: StageTimes,
    ) -> None:
        self.driver = driver
        self.paused = False
        self.panicking = False
        self.face_lost_frames = 0
        self._generator = generator
        self._compose = compose
        self._events = events
        self._times = times
        self._presence = PresencePolicy()
        self._tracked = False
        self._play(role)

    def _play(self, role: Role) -> None:
        self._generator.set_portrait(role.tensors)
        self._compositor = Compositor(role.avatar, self._compose)
        self._role = role

    def switch(self, role: Role) -> None:
        """Another avatar from the next picture on. Raises SpecMismatch and keeps the old one."""
        self._play(role)
        self.driver.play(role.avatar)
        self._events.tell("avatar", f"{role.avatar.name} is on.")

    @property
    def role(self) -> Role:
        return self._role

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the pictures."""
        return self._compose.size

    @property
    def label(self) -> LabelSettings:
        return self._compose.label

    def set_label_size(self, size: str | None) -> None:
        """A size, or the one after the current. Raises UserError for an unknown one."""
        now = self._compose.label.size
        following = _LABEL_SIZES[(_LABEL_SIZES.index(now) + 1) % len(_LABEL_SIZES)]
        label = replace(self._compose.label, size=size or following)  # type: ignore[arg-type]
        self._compose = replace(self._compose, label=label)
        self._compositor.set_label(label)
        self._events.tell("label", f"The label is {label.size} now.")

    def perform(self, observation: Observation) -> Picture:
        """The picture for one instant. Raises EngineFailed when no generator is left."""
        since = time.perf_counter_ns()
        if observation.landmarks is None:
            self.face_lost_frames += 1
        neutral = self.driver.calibrate(observation)
        if neutral is not None:
            self._events.tell(
                "calibrated", f"Calibrated on your neutral face (fit {neutral.score:.0%})."
            )
        state = self._presence.step(self._usable(observation))
        self._note(state)
        if self.panicking:
            return self._slate(observation, "panic", since)
        if state.presence is Presence.SLATE and not self.paused:
            return self._slate(observation, "away", since)
        driving = self.driver.landmarks(state, observation.captured_at_ns)
        since = self._times.lap("retarget", since)
        image = self._role.painter.paint(driving)
        since = self._times.lap("draw", since)
        rgba = self._generator.generate(image)
        since = self._times.lap("generate", since)
        picture = self._compositor.compose(rgba, observation.captured_at_ns, observation.index)
        self._times.lap("compose", since)
        return picture

    def _slate(self, observation: Observation, reason: SlateReason, since: int) -> Picture:
        picture = self._compositor.slate(observation.captured_at_ns, observation.index, reason)
        self._times.lap("compose", since)
        return picture

    def _usable(self, observation: Observation) -> Observation:
        """What the presence policy may see: while paused there is nobody, so the portrait eases
        to rest, and eases back afterwards."""
        if self.paused and observation.landmarks is not None:
            return Observation(None, observation.captured_at_ns, observation.index)
        return observation

    def _note(self, state: PresenceState) -> None:
        """Tells when the face comes and goes."""
        tracked = state.presence in (Presence.TRACKED, Presence.HOLD)
        if tracked == self._tracked:
            return
        self._tracked = tracked
        if tracked:
            self.driver.forget_motion()
            self._events.tell("tracked", "Your face is tracked.")
        elif not self.paused:
            self._events.tell("face-lost", "No face in sight: the portrait rests.")
