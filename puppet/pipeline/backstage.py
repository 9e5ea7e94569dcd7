"""Scenes are set beside the loop: a compositor takes up to a third of a second to make."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from puppet.compose.compositor import Compositor
from puppet.compose.settings import ComposeSettings
from puppet.contract import PuppetError
from puppet.flow import Worker
from puppet.pipeline.cast import Role


@dataclass(frozen=True, slots=True)
class Scene:
    """A role with its compositor, ready to go on; or why it cannot (`error`)."""

    role: Role
    settings: ComposeSettings
    compositor: Compositor | None
    error: Exception | None = None


class Backstage:
    """Sets one scene at a time; the newest wish wins. `ask` and `take` never block."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._number = 0
        self._ready: Scene | None = None

    def ask(self, role: Role, settings: ComposeSettings) -> None:
        """Wants `role` on with `settings`; a scene that was made before is ready at once."""
        with self._lock:
            self._number += 1
            number = self._number
            self._ready = None
        made = role.compositor_for(settings)
        if made is not None:
            self._put(number, Scene(role, settings, made))
            return

        def body(stop: threading.Event) -> None:
            try:
                scene = Scene(role, settings, role.make_compositor(settings))
            except (PuppetError, OSError, ValueError, MemoryError) as error:
                scene = Scene(role, settings, None, error)
            self._put(number, scene)

        Worker("scene", body).start()

    def take(self) -> Scene | None:
        """The newest scene that was asked for, once, when it is set."""
        if self._ready is None:
            return None
        with self._lock:
            ready, self._ready = self._ready, None
        return ready

    def _put(self, number: int, scene: Scene) -> None:
        with self._lock:
            if number == self._number:
                self._ready = scene
