"""A generator that stays on air: it starts on the processor while a GPU engine is still being
built, goes over to it without a gap, and falls back when a device breaks down in mid-run.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.contract import (
    EngineError,
    EngineFailed,
    Generator,
    GeneratorSpec,
    LandmarkImage,
    PortraitTensors,
    RuntimeInfo,
)
from engines.runtimes import Choice, choose_generator
from engines.ways import AUTO, usable_ways

_log = logging.getLogger(__name__)


class SteadyGenerator:
    """Runs `first`, replaces it by what `better` opens, and by what `next_best` opens on failure.

    better: called once, in a thread of its own; None where there is nothing to wait for. Its
    generator must paint for the same portrait tensors. next_best: given the (runtime, device)
    pairs that broke down. `changes` tells what happened, in sentences for the report.
    """

    def __init__(
        self,
        first: Choice,
        *,
        better: Callable[[], Choice] | None = None,
        next_best: Callable[[frozenset[tuple[str, str]]], Choice] | None = None,
    ) -> None:
        self._current = first
        self._next_best = next_best
        self._portrait: PortraitTensors | None = None
        self._broken: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        self._ready: Choice | None = None
        self._closed = False
        self.changes: list[str] = []
        self._thread: threading.Thread | None = None
        if better is not None:
            self._thread = threading.Thread(
                target=self._open_better, args=(better,), name="engine-build", daemon=True
            )
            self._thread.start()

    @property
    def spec(self) -> GeneratorSpec:
        """Of the generator that runs now."""
        return self._current.generator.spec

    @property
    def info(self) -> RuntimeInfo:
        """Of the generator that runs now."""
        return self._current.generator.info

    def wait_for_better(self, timeout_s: float | None = None) -> None:
        """Waits until the better generator is open or has failed to open."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def set_portrait(self, tensors: PortraitTensors) -> None:
        """See engines.contract.Generator."""
        self._current.generator.set_portrait(tensors)
        self._portrait = tensors

    def generate(self, image: LandmarkImage) -> NDArray[np.uint8]:
        """See engines.contract.Generator. Raises EngineFailed when no way is left."""
        with self._lock:
            ready, self._ready = self._ready, None
        if ready is not None:
            self._go_over(ready, "is ready")
        while True:
            try:
                return self._current.generator.generate(image)
            except EngineFailed as error:
                self._fall_back(error)

    def close(self) -> None:
        """See engines.contract.Generator. Does not wait for a build under way."""
        with self._lock:
            self._closed = True
            ready, self._ready = self._ready, None
        for choice in (ready, self._current):
            if choice is not None:
                choice.generator.close()

    def _open_better(self, better: Callable[[], Choice]) -> None:
        try:
            choice = better()
        except EngineError as error:
            self.changes.append(f"No better runtime was opened: {error}")
            _log.info("No better runtime was opened: %s", error)
            return
        with self._lock:
            if not self._closed:
                self._ready = choice
                return
        choice.generator.close()

    def _go_over(self, choice: Choice, why: str) -> None:
        try:
            if self._portrait is not None:
                choice.generator.set_portrait(self._portrait)
        except EngineError as error:
            _log.warning("%s cannot take over: %s", choice.runtime, error)
            choice.generator.close()
            return
        before, self._current = self._current, choice
        before.generator.close()
        self.changes.append(f"{choice.runtime} on {choice.device} {why} and took over.")
        _log.info("%s", self.changes[-1])

    def _fall_back(self, error: EngineFailed) -> None:
        if self._next_best is None or self._closed:
            raise error
        failed = (self._current.runtime, self._current.device)
        self._broken.add(failed)
        _log.warning("%s on %s broke down: %s", *failed, error)
        self.changes.append(f"{failed[0]} on {failed[1]} broke down: {error}")
        try:
            choice = self._next_best(frozenset(self._broken))
            if self._portrait is not None:
                choice.generator.set_portrait(self._portrait)
        except EngineError as none_left:
            raise EngineFailed(f"{error} No other runtime can take over: {none_left}") from error
        self._current.generator.close()
        self._current = choice
        self.changes.append(f"{choice.runtime} on {choice.device} took over.")


def open_steady(tier: str = AUTO, *, runtime: str = AUTO, **wishes: Any) -> SteadyGenerator:
    """Opens a generator for a live loop; wishes as choose_generator takes them.

    With 'auto' and a usable GPU, a processor runtime starts at once and the GPU takes over when
    its engine is built. Raises like choose_generator.
    """

    def choose(without: frozenset[tuple[str, str]] = frozenset()) -> Choice:
        return choose_generator(tier, runtime=runtime, without=without, **wishes)

    open_ways = [(way.runtime, way.device) for way in usable_ways() if way.is_gpu]
    waiting = runtime == AUTO and wishes.get("device", AUTO) == AUTO and open_ways
    if not waiting or wishes.get("require_gpu"):
        return SteadyGenerator(choose(), next_best=choose)
    first = choose(without=frozenset(open_ways))
    return SteadyGenerator(first, better=choose, next_best=choose)
