"""A generator on air from the first second: it starts on the processor while the GPU's engine is
still being built or compiled, and the GPU takes over between two frames when it is ready.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.contract import (
    Generator,
    GeneratorSpec,
    LandmarkImage,
    PortraitTensors,
    RuntimeInfo,
    reason,
)
from engines.models import load_model_of
from engines.runtimes import choose_generator, open_generator
from engines.ways import AUTO, usable_ways

_log = logging.getLogger(__name__)


class TakeoverGenerator:
    """Runs `first` until what `better` opens in a thread of its own is ready.

    Both must be of the same weights: the better one gets the same portrait tensors. If it cannot
    be opened, or does not take them, the first goes on; `better_failed` then says why, for its
    user to tell.
    """

    def __init__(self, first: Generator, better: Callable[[], Generator]) -> None:
        self._current = first
        self.spec: GeneratorSpec = first.spec
        self.info: RuntimeInfo = first.info
        self._portrait: PortraitTensors | None = None
        self._at_work: deque[Generator] = deque()
        self._lock = threading.Lock()
        self._ready: Generator | None = None
        self._closed = False
        self.better_failed: str | None = None
        self._thread = threading.Thread(
            target=self._open, args=(better,), name="engine-build", daemon=True
        )
        self._thread.start()

    @property
    def is_preparing(self) -> bool:
        """Whether the better one is still being opened."""
        return self._thread.is_alive()

    def wait(self, timeout_s: float | None = None) -> None:
        """Waits until the better generator is open or has failed to open."""
        self._thread.join(timeout_s)

    def set_portrait(self, tensors: PortraitTensors) -> None:
        """See engines.contract.Generator."""
        self._current.set_portrait(tensors)
        self._portrait = tensors

    def generate(self, image: LandmarkImage) -> NDArray[np.uint8]:
        """See engines.contract.Generator."""
        self._look_whether_ready()
        return self._current.generate(image)

    def begin(self, image: LandmarkImage) -> None:
        """See engines.contract.Generator."""
        self._look_whether_ready()
        self._current.begin(image)
        self._at_work.append(self._current)

    def finish(self) -> NDArray[np.uint8]:
        """See engines.contract.Generator. What the first one has begun it finishes."""
        if not self._at_work:
            raise RuntimeError("no picture was begun")
        generator = self._at_work.popleft()
        picture = generator.finish()
        if generator is not self._current and generator not in self._at_work:
            picture = picture.copy()  # it goes with its generator
            generator.close()
        return picture

    def close(self) -> None:
        """See engines.contract.Generator. Does not wait for a build under way."""
        with self._lock:
            self._closed = True
            ready, self._ready = self._ready, None
        if ready is not None:
            ready.close()
        for generator in {id(each): each for each in (self._current, *self._at_work)}.values():
            generator.close()
        self._at_work.clear()

    def _look_whether_ready(self) -> None:
        with self._lock:
            ready, self._ready = self._ready, None
        if ready is not None:
            self._go_over(ready)

    def _open(self, better: Callable[[], Generator]) -> None:
        try:
            generator = better()
        except Exception as error:  # noqa: BLE001 (a thread's and a library's edge)
            self.better_failed = reason(error)
            return
        with self._lock:
            if not self._closed:
                self._ready = generator
                return
        generator.close()

    def _go_over(self, ready: Generator) -> None:
        try:
            if self._portrait is not None:
                ready.set_portrait(self._portrait)
        except Exception as error:  # noqa: BLE001 (a library's edge)
            self.better_failed = f"{ready.info.runtime} does not take the portrait: {reason(error)}"
            ready.close()
            return
        before, self._current = self._current, ready
        self.spec, self.info = ready.spec, ready.info
        if before not in self._at_work:
            before.close()
        _log.info("%s on %s took over.", ready.info.runtime, ready.info.device)


def open_at_once(tier: str = AUTO, *, runtime: str = AUTO, **wishes: Any) -> Generator:
    """In place of engines.runtimes.open_generator, for a live loop.

    With 'auto' and a usable GPU, a processor runs the same network at once and the GPU takes over
    when its engine is built; otherwise it is open_generator. Raises the same.
    """
    gpus = [way for way in usable_ways() if way.is_gpu]
    free = runtime == AUTO and wishes.get("device", AUTO) == AUTO
    if not gpus or not free or wishes.get("require_gpu"):
        return open_generator(tier, runtime=runtime, **wishes)
    if tier == AUTO:
        weights, onnx, largest = wishes.get("weights"), wishes.get("onnx"), gpus[0].largest_tier
        tier = load_model_of(weights=weights, onnx=onnx, largest=largest).tier
    without = frozenset((way.runtime, way.device) for way in gpus)
    first = choose_generator(tier, without=without, **wishes).generator
    # A GPU or nothing: another one for the processor would take over from the same as it is.
    wanted = wishes | {"require_gpu": True}
    return TakeoverGenerator(first, lambda: open_generator(tier, **wanted))
