"""What steers a running pipeline: commands, and the one queue they come through.

Keys of the preview, the control panel and scripts all put commands here; the work thread takes
them between two pictures, so no stage is ever changed while it works.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from puppet.compose.settings import Background


@dataclass(frozen=True, slots=True)
class Recalibrate:
    """Take the driver's neutral face anew, from the next second on."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Hold the portrait still (it idles and blinks). None toggles."""

    on: bool | None = None


@dataclass(frozen=True, slots=True)
class MirrorPreview:
    """Mirror the preview window, and only that. None toggles."""

    on: bool | None = None


@dataclass(frozen=True, slots=True)
class ShowKeys:
    """Show the list of keys in the preview window, and only there. None toggles."""

    on: bool | None = None


@dataclass(frozen=True, slots=True)
class NextAvatar:
    """The next of the loaded avatars, in the order they were given."""


@dataclass(frozen=True, slots=True)
class SwitchAvatar:
    """An avatar by name or path; loaded beside the loop when it is not loaded yet."""

    avatar: str


@dataclass(frozen=True, slots=True)
class LabelSize:
    """The next label size, or a given one ('small', 'medium', 'large')."""

    size: str | None = None


@dataclass(frozen=True, slots=True)
class LabelCorner:
    """The label in another corner ('top-left', 'bottom-right', ...)."""

    corner: str


@dataclass(frozen=True, slots=True)
class ChangeBackground:
    """Another background; faded to when it is ready."""

    background: Background


@dataclass(frozen=True, slots=True)
class Cutout:
    """Also make the picture without background, because an output wants it; or stop that."""

    on: bool


@dataclass(frozen=True, slots=True)
class Express:
    """An expression over what the driver does (`puppet.retarget.expressions`)."""

    name: str | None
    """None lets go of the expressions that are held."""
    seconds: float | None = 1.2
    """How long it is held; None until it is let go."""
    strength: float = 1.0


@dataclass(frozen=True, slots=True)
class Panic:
    """The slate at once on every sink, whatever the driver does. None toggles."""

    on: bool | None = None


@dataclass(frozen=True, slots=True)
class Adjust:
    """Other values for fields of the retarget settings, for example `pose_strength`."""

    changes: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Quit:
    """End the run; files are finished."""


Command: TypeAlias = (
    Recalibrate
    | Pause
    | MirrorPreview
    | ShowKeys
    | NextAvatar
    | SwitchAvatar
    | LabelSize
    | LabelCorner
    | ChangeBackground
    | Cutout
    | Express
    | Panic
    | Adjust
    | Quit
)

KEYS: Mapping[str, tuple[Command, str]] = {
    "c": (Recalibrate(), "recalibrate: look straight ahead with a relaxed face for a second"),
    " ": (Pause(), "pause and go on"),
    "m": (MirrorPreview(), "mirror this preview (the other outputs stay as they are)"),
    "n": (NextAvatar(), "next avatar"),
    "l": (LabelSize(), "label size"),
    "p": (Panic(), "panic: slate on every output, again to come back"),
    "q": (Quit(), "quit"),
    "?": (ShowKeys(), "show or hide this list"),
}
"""Keys of the preview and of the terminal: what they do, and the line that `?` shows for them."""


class CommandQueue:
    """Commands on their way to the work thread. Any thread puts, one thread drains."""

    CAPACITY = 256

    def __init__(self) -> None:
        self._waiting: deque[Command] = deque()
        self._urgent: deque[Command] = deque()
        self._lock = threading.Lock()

    def put(self, command: Command) -> bool:
        """False when the queue is full: the work thread has stalled and would act far too late.

        Panic and Quit are always taken, and go first, in their own order.
        """
        with self._lock:
            if isinstance(command, Panic | Quit):
                self._urgent.append(command)
                return True
            if len(self._waiting) >= self.CAPACITY:
                return False
            self._waiting.append(command)
            return True

    def press(self, key: str) -> None:
        """A key of the preview window or the terminal; one without a meaning does nothing."""
        if key in KEYS:
            self.put(KEYS[key][0])

    def drain(self) -> list[Command]:
        """All that wait, in order; never blocks."""
        if not (self._urgent or self._waiting):
            return []
        with self._lock:
            taken = [*self._urgent, *self._waiting]
            self._urgent.clear()
            self._waiting.clear()
        return taken
