"""What a running pipeline tells its surroundings: one kind of event, and who listens."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

log = logging.getLogger(__name__)

Kind: TypeAlias = Literal[
    "started",
    "output",
    "first-picture",
    "calibrating",
    "calibrated",
    "tracked",
    "face-lost",
    "source-silent",
    "source-back",
    "source-ended",
    "tracking-failed",
    "picture-failed",
    "picture-back",
    "avatar",
    "avatar-failed",
    "paused",
    "resumed",
    "panic",
    "panic-over",
    "runtime",
    "runtime-fallback",
    "slow",
    "sink-failed",
    "label",
    "background",
    "camera",
    "countdown",
    "creating",
    "created",
    "expression",
    "adjusted",
    "sound",
    "refused",
    "stopped",
]

WARNINGS: frozenset[Kind] = frozenset(
    {
        "source-silent",
        "tracking-failed",
        "picture-failed",
        "avatar-failed",
        "runtime-fallback",
        "sink-failed",
        "refused",
    }
)
"""Kinds that a person should see even when nothing else is shown."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened; `message` is a sentence for people, `kind` is for programs."""

    kind: Kind
    message: str
    at_ns: int


Listener: TypeAlias = Callable[[Event], None]


class Events:
    """Hands events to listeners and keeps the last few. Listeners must return quickly."""

    KEPT = 200

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._history: list[Event] = []
        self._lock = threading.Lock()

    def listen(self, listener: Listener) -> None:
        with self._lock:
            self._listeners.append(listener)

    def tell(self, kind: Kind, message: str) -> None:
        """From any thread. A listener that fails is logged and does not stop the loop."""
        event = Event(kind, message, time.perf_counter_ns())
        level = logging.WARNING if kind in WARNINGS else logging.INFO
        log.log(level, "%s: %s", kind, message)
        with self._lock:
            self._history.append(event)
            del self._history[: -self.KEPT]
            listeners = list(self._listeners)
        for listener in listeners:
            try:
                listener(event)
            except Exception:
                log.exception("a listener failed on %s", kind)

    @property
    def history(self) -> list[Event]:
        with self._lock:
            return list(self._history)
