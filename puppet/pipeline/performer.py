"""One picture from one observation: presence, retarget, draw, generate, compose."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engines.contract import EngineError, LandmarkImage
from puppet.compose.compositor import cross_fade
from puppet.compose.settings import Background, ComposeSettings, LabelSettings
from puppet.compose.slate import SlateReason
from puppet.contract import Observation, Picture
from puppet.pipeline.backstage import Backstage, Scene
from puppet.pipeline.cast import Role
from puppet.pipeline.driver import Driver
from puppet.pipeline.events import Events
from puppet.pipeline.generator import GeneratorKeeper
from puppet.pipeline.report import StageTimes
from puppet.retarget import GOOD_FIT
from puppet.track.presence import Presence, PresencePolicy, PresenceState

FADE_S = 0.25
"""How long another avatar or background takes to come in."""
_LABEL_SIZES = ("small", "medium", "large")


@dataclass(frozen=True, slots=True)
class Begun:
    """A picture on its way: the network's input, or why the slate is shown instead."""

    captured_at_ns: int
    index: int
    shown: LandmarkImage | SlateReason


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
        self._generator = generator
        self._compose = compose
        self._events = events
        self._times = times
        self._presence = PresencePolicy()
        self._tracked = False
        self._slated = False
        self._backstage = Backstage()
        self._last: Picture | None = None
        self._fade: tuple[Picture, int] | None = None
        generator.set_portrait(role.tensors)
        self._compositor = role.make_compositor(compose)
        if compose.label.elsewhere is not None:
            who = compose.label.elsewhere.strip()
            events.tell("label", f"The visible AI label is left out: {who} labels the pictures.")
        self._role = self._wanted = role

    def switch(self, role: Role) -> None:
        """Another avatar, faded to as soon as its scene is set; an event tells."""
        self._wanted = role
        self._backstage.ask(role, self._compose)

    def set_background(self, background: Background) -> None:
        """Another background, faded to as soon as its scene is set; an event tells."""
        self._compose = replace(self._compose, background=background)
        self._backstage.ask(self._wanted, self._compose)

    def set_cutout(self, wanted: bool) -> None:
        """Pictures with or without a cut-out, as soon as the scene is set."""
        if wanted != self._compose.cutout:
            self._compose = replace(self._compose, cutout=wanted)
            self._backstage.ask(self._wanted, self._compose)

    def _enter(self, scene: Scene) -> None:
        """The new scene from this picture on; the old one stays when the new one cannot be."""
        if scene.compositor is None:
            self._events.tell("refused", f"The picture cannot be set up: {scene.error}")
            return
        role = scene.role
        if role is not self._role:
            try:
                self._generator.set_portrait(role.tensors)
            except EngineError as error:
                self._events.tell("avatar-failed", f"{role.avatar.name} cannot be shown: {error}")
                return
        if scene.compositor.settings.label != self._compose.label:
            scene.compositor.set_label(self._compose.label)
        if self._last is not None:
            self._fade = (self._last, time.perf_counter_ns())
        background = self._compositor.settings.background
        self._compositor = scene.compositor
        if role is not self._role:
            self._role = role
            self.driver.play(role.avatar)
            self._events.tell("avatar", f"{role.avatar.name} is on.")
        elif background is not scene.settings.background:
            self._events.tell("background", f"{scene.settings.background.kind} background")

    def _faded(self, picture: Picture) -> Picture:
        """The old scene goes while the new one comes; panic does not wait for that."""
        if self._fade is None:
            return picture
        before, began_ns = self._fade
        share = (time.perf_counter_ns() - began_ns) / (FADE_S * 1e9)
        if share >= 1 or self.panicking or before.rgb.shape != picture.rgb.shape:
            self._fade = None
            return picture
        return cross_fade(before, picture, share)

    @property
    def role(self) -> Role:
        return self._role

    @property
    def scene_settings(self) -> ComposeSettings:
        """Of the scene that is on: wishes that are not set yet are not in it."""
        return self._compositor.settings

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
        self._set_label(label)
        self._events.tell("label", f"The label is {label.size} now.")

    def set_label_corner(self, corner: str) -> None:
        """Raises UserError for an unknown one."""
        self._set_label(replace(self._compose.label, corner=corner))  # type: ignore[arg-type]
        self._events.tell("label", f"The label is {corner.replace('-', ' ')} now.")

    def _set_label(self, label: LabelSettings) -> None:
        self._compose = replace(self._compose, label=label)
        self._compositor.set_label(label)

    @property
    def background(self) -> Background:
        return self._compose.background

    @property
    def tracked(self) -> bool:
        """Whether a face is followed now."""
        return self._tracked

    def perform(self, observation: Observation) -> Picture:
        """The picture for one instant. Raises EngineFailed when no generator is left."""
        scene = self._backstage.take()
        if scene is not None:
            self._enter(scene)
        self._last = self._faded(self._perform(observation))
        return self._last

    def stand_in(self, observation: Observation) -> Picture:
        """The slate, for a picture that could not be made."""
        self._last = self._slate(Begun(observation.captured_at_ns, observation.index, "away"))
        return self._last

    def begin(self, observation: Observation) -> Begun:
        """The first half of `perform`, for a render: the network computes beside the caller.
        Pictures are finished in the order they were begun, each after the next was begun at the
        latest. Avatar and background stay. Raises EngineFailed."""
        begun = self._prepare(observation)
        if not isinstance(begun.shown, str):
            self._generator.begin(begun.shown)
        return begun

    def finish(self, begun: Begun) -> Picture:
        """The second half. Raises EngineFailed when no generator is left."""
        if isinstance(begun.shown, str):
            return self._slate(begun)
        since = time.perf_counter_ns()
        rgba = self._generator.finish()
        return self._composed(begun, rgba, self._times.lap("generate", since))

    def _perform(self, observation: Observation) -> Picture:
        begun = self._prepare(observation)
        if isinstance(begun.shown, str):
            return self._slate(begun)
        since = time.perf_counter_ns()
        rgba = self._generator.generate(begun.shown)
        return self._composed(begun, rgba, self._times.lap("generate", since))

    def _prepare(self, observation: Observation) -> Begun:
        at, since = (observation.captured_at_ns, observation.index), time.perf_counter_ns()
        neutral = self.driver.calibrate(observation)
        if neutral is not None:
            said = f"Calibrated on your neutral face (fit {neutral.score:.0%})."
            if neutral.score < GOOD_FIT:
                said += " Look straight ahead with a relaxed face and recalibrate."
            self._events.tell("calibrated", said)
        state = self._presence.step(self._usable(observation))
        self._note(state)
        if self.panicking:
            return Begun(*at, "panic")
        if state.presence is Presence.SLATE and not self.paused:
            return Begun(*at, "away")
        driving = self.driver.landmarks(state, observation.captured_at_ns)
        since = self._times.lap("retarget", since)
        image = self._role.painter.paint(driving)
        self._times.lap("draw", since)
        return Begun(*at, image)

    def _composed(self, begun: Begun, rgba: NDArray[np.uint8], since: int) -> Picture:
        picture = self._compositor.compose(rgba, begun.captured_at_ns, begun.index)
        self._times.lap("compose", since)
        return picture

    def _slate(self, begun: Begun) -> Picture:
        assert isinstance(begun.shown, str)
        since = time.perf_counter_ns()
        picture = self._compositor.slate(begun.captured_at_ns, begun.index, begun.shown)
        self._times.lap("compose", since)
        return picture

    def _usable(self, observation: Observation) -> Observation:
        """What the presence policy may see: while paused there is nobody, so the portrait eases
        to rest, and eases back afterwards."""
        if self.paused and observation.landmarks is not None:
            return Observation(None, observation.captured_at_ns, observation.index)
        return observation

    def _note(self, state: PresenceState) -> None:
        """Tells when the face comes and goes, and when there was none for long."""
        slated = state.presence is Presence.SLATE and not self.paused
        if slated and not self._slated:
            self._events.tell(
                "face-lost",
                f"No face for {state.lost_for_s:.0f} s: the slate is shown. Is your face in the "
                "picture, and lit from the front?",
            )
        self._slated = slated
        tracked = state.presence in (Presence.TRACKED, Presence.HOLD)
        if tracked == self._tracked:
            return
        self._tracked = tracked
        if tracked:
            self.driver.forget_motion()
            self._events.tell("tracked", "Your face is tracked.")
        elif not self.paused:
            self._events.tell("face-lost", "No face in sight: the portrait rests.")
