"""The avatars of a run, each with all that is made once per portrait; loaded beside the loop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from engines.contract import EngineError, GeneratorSpec, PortraitTensors
from puppet.compose.compositor import Compositor
from puppet.compose.settings import ComposeSettings
from puppet.contract import PuppetError
from puppet.draw import LandmarkPainter
from puppet.flow import Worker

if TYPE_CHECKING:
    from puppet.avatar.bundle import Avatar


@dataclass(slots=True)
class Role:
    """An avatar ready to be played."""

    avatar: Avatar
    painter: LandmarkPainter
    _tensors: dict[tuple[str, str], PortraitTensors] = field(default_factory=dict)
    _compositor: Compositor | None = None

    def tensors(self, spec: GeneratorSpec) -> PortraitTensors:
        """The portrait's tensors for a kind of generator; made once and kept."""
        key = (spec.tier, spec.weights_sha256)
        if key not in self._tensors:
            from puppet.avatar.tensors import portrait_tensors

            self._tensors[key] = portrait_tensors(self.avatar, spec)
        return self._tensors[key]

    def compositor_for(self, settings: ComposeSettings) -> Compositor | None:
        """The compositor that was made last, if only the label differs from `settings`."""
        made = self._compositor
        if made is None or made.settings.background.image is not settings.background.image:
            return None
        if replace(made.settings, label=settings.label) != settings:
            return None
        return made

    def make_compositor(self, settings: ComposeSettings) -> Compositor:
        """Takes a while at large sizes; kept for the next time."""
        self._compositor = Compositor(self.avatar, settings)
        return self._compositor


def prepare_role(name_or_path: str) -> Role:
    """Loads an avatar. Raises BundleError with the remedy."""
    from puppet.avatar.bundle import load_avatar

    avatar = load_avatar(name_or_path)
    return Role(avatar, LandmarkPainter(avatar.landmarks))


class Cast:
    """The roles of a run by the name they were asked for, in order.

    The first is loaded at once; the others, and those asked for later, by a thread, so that a
    switch finds everything ready. The work thread takes what has become ready between pictures.
    """

    def __init__(self, names: Sequence[str], prepare: Callable[[str], Role] = prepare_role) -> None:
        self._prepare = prepare
        self._names = list(dict.fromkeys(names))
        self._roles: dict[str, Role] = {self._names[0]: prepare(self._names[0])}
        self._failed: list[tuple[str, BaseException]] = []
        self._wanted: str | None = None
        self._current = self._names[0]
        self._spec: GeneratorSpec | None = None
        self._compose: ComposeSettings | None = None
        self._lock = threading.Lock()
        self._loaders: list[Worker] = []

    @property
    def names(self) -> tuple[str, ...]:
        """What was asked for so far, as it was asked for."""
        with self._lock:
            return tuple(self._names)

    @property
    def playing(self) -> str:
        """The current role by the name it was asked for."""
        return self._current

    @property
    def current(self) -> Role:
        return self._roles[self._current]

    def preload(self, spec: GeneratorSpec, compose: ComposeSettings | None = None) -> None:
        """Loads the other avatars of the run one by one, with their tensors for `spec` and
        their scenes for `compose`."""
        self._spec, self._compose = spec, compose
        waiting = [name for name in self._names if name not in self._roles]
        if waiting:
            self._load(waiting)

    def stage(self, compose: ComposeSettings) -> None:
        """Sets the scenes of the roles that are not on for `compose`, beside the loop, so that a
        switch after a change of background finds them. Cheap when nothing has changed."""
        if compose is self._compose:
            return
        self._compose = compose
        waiting = [role for role in self._resting() if role.compositor_for(compose) is None]
        if not waiting:
            return

        def body(stop: threading.Event) -> None:
            for role in waiting:
                if stop.is_set() or self._compose is not compose:  # a newer wish does it again
                    return
                with suppress(PuppetError, OSError, ValueError, MemoryError):  # told when it is on
                    role.make_compositor(compose)

        self._beside("scenes", body)

    def ask(self, name: str) -> None:
        """Wants `name` next; `take` gives it once it is ready."""
        with self._lock:
            self._wanted = name
            known = name in self._names
            if not known:
                self._names.append(name)
        if not known:
            self._load([name])

    def ask_next(self) -> bool:
        """Wants the avatar after the current one. False when there is no other."""
        with self._lock:
            if len(self._names) < 2:
                return False
            following = self._names[(self._names.index(self._current) + 1) % len(self._names)]
        self.ask(following)
        return True

    def take(self) -> Role | None:
        """The wanted role, once, when it is ready; never blocks."""
        with self._lock:
            if self._wanted is None or self._wanted not in self._roles:
                return None
            self._current, self._wanted = self._wanted, None
            return self._roles[self._current]

    def take_failures(self) -> list[tuple[str, BaseException]]:
        """(name, error) of avatars that could not be loaded since the last call."""
        with self._lock:
            failed, self._failed = self._failed, []
        return failed

    def _resting(self) -> list[Role]:
        """The roles that are ready and not on."""
        with self._lock:
            return [role for name, role in self._roles.items() if name != self._current]

    def close(self) -> None:
        for loader in self._loaders:
            loader.join(1.0)

    def _load(self, names: Sequence[str]) -> None:
        def body(stop: threading.Event) -> None:
            for name in names:
                if stop.is_set():
                    return
                self._load_one(name)

        self._beside("avatars", body)

    def _beside(self, name: str, body: Callable[[threading.Event], None]) -> None:
        """Runs `body` on a thread; those that have ended are forgotten."""
        going = [loader for loader in self._loaders if not loader.stopping.is_set()]
        self._loaders = [*going, Worker(name, body).start()]

    def _load_one(self, name: str) -> None:
        try:
            role = self._prepare(name)
            if self._spec is not None:
                role.tensors(self._spec)
            if self._compose is not None:
                role.make_compositor(self._compose)
        except (PuppetError, EngineError, OSError, ValueError) as error:
            with self._lock:
                self._failed.append((name, error))
                self._names.remove(name)
                if self._wanted == name:
                    self._wanted = None
            return
        with self._lock:
            self._roles[name] = role
