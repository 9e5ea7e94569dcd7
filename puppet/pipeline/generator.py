"""The generator of a run: opened once, and replaced when it breaks down in mid-run."""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from engines.contract import (
    EngineFailed,
    Generator,
    GeneratorSpec,
    LandmarkImage,
    PortraitTensors,
    SpecMismatch,
    reason,
)
from engines.in_turn import copy_of
from engines.inputs import available_cores, default_threads
from puppet.draw import DRAW_STYLE
from puppet.pipeline.events import Events

_log = logging.getLogger(__name__)
TensorsFor: TypeAlias = Callable[[GeneratorSpec], PortraitTensors]
"""Makes a portrait's tensors for a kind of generator."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What computes the portrait."""

    runtime: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    tier: str = "auto"
    require_gpu: bool = False
    threads: int | None = None
    weights: Path | None = None
    """Tuned weights of an avatar; before `tier`."""
    onnx: Path | None = None
    """An avatar's own graph; before `weights`."""
    server: str | None = None
    """HOST:PORT of a generator elsewhere, for the runtime 'remote' and no other."""
    server_deadline_s: float = 0.1
    """A picture that the server has not sent by then is computed here."""


class GeneratorKeeper:
    """Holds the running generator. Used by one thread at a time.

    When the generator fails while running, the next runtime that works takes over with the same
    portrait, and an event says so. Only when none is left is the failure raised.
    """

    def __init__(
        self,
        settings: EngineSettings,
        events: Events,
        opener: Callable[..., Generator] | None = None,
    ) -> None:
        """Opens the generator: SpecMismatch, RuntimeUnavailable. `opener` replaces
        `engines.takeover.open_at_once` (other kinds of engine, and injected faults)."""
        self._settings = settings
        self._events = events
        self._opener = opener
        self._tensors_for: TensorsFor | None = None
        self._gone: str | None = None
        """Why no runtime is left."""
        self._begun: deque[LandmarkImage] = deque()
        self._broken: list[tuple[str, bool]] = []
        """(runtime, whether on the processor): a runtime may fail on a GPU and run on the CPU."""
        self.fallbacks: list[str] = []
        self._generator = self._open(settings.runtime, settings.device)
        self._tell()

    @property
    def spec(self) -> GeneratorSpec:
        return self._generator.spec

    @property
    def leaves_a_core(self) -> bool:
        """Whether something else can compute beside it without the two slowing each other."""
        if not self.on_processor:
            return True
        return (self._settings.threads or default_threads()) < available_cores()

    @property
    def on_processor(self) -> bool:
        """Whether this machine's processor computes, and neither a GPU nor another machine."""
        return _is_cpu(self._generator.info.device)

    def describe(self) -> str:
        info = self._generator.info
        return f"{info.runtime} {info.version} on {info.device}, {info.precision}"

    def info(self) -> dict[str, str]:
        """What really runs, for the report."""
        info = self._generator.info
        return {
            "runtime": info.runtime,
            "version": info.version,
            "device": info.device,
            "precision": info.precision,
            "tier": self._generator.spec.tier,
        }

    def set_portrait(self, tensors_for: TensorsFor) -> None:
        """`tensors_for` makes the portrait's tensors for any tier; it is kept for a fallback."""
        tensors = tensors_for(self._generator.spec)
        self._tensors_for = tensors_for
        try:
            self._generator.set_portrait(tensors)
        except SpecMismatch:
            raise
        except Exception as error:  # noqa: BLE001 (a library's edge: out of memory, device lost)
            self._replace(error)

    def generate(self, image: LandmarkImage) -> NDArray[np.uint8]:
        """(512, 512, 4) uint8 RGBA, valid until the next call. Raises EngineFailed at the end."""
        return self._until_it_works(lambda generator: generator.generate(image))

    def begin(self, image: LandmarkImage) -> None:
        """Begins a picture, which `finish` gives: see engines.contract.Generator."""
        self._begun.append(copy_of(image))  # for the next runtime, should this one fail
        try:
            self._generator.begin(image)
        except Exception as error:  # noqa: BLE001 (a library's edge)
            self._replace(error)

    def finish(self) -> NDArray[np.uint8]:
        """The picture begun first, as of `generate`; valid until the next `begin`."""
        picture = self._until_it_works(lambda generator: generator.finish())
        self._begun.popleft()
        return picture

    def _until_it_works(self, make: Callable[[Generator], NDArray[np.uint8]]) -> NDArray[np.uint8]:
        while True:
            if self._gone is not None:
                raise EngineFailed(self._gone)
            try:
                picture = make(self._generator)
            except Exception as error:  # noqa: BLE001 (a library's edge: the picture stays on air)
                self._replace(error)
                continue
            if self._generator.info is not self._told or self._why_not() != self._because:
                self._tell()  # a GPU or a server has taken over, or will not
            return picture

    def close(self) -> None:
        self._generator.close()

    def _tell(self) -> None:
        self._told, self._because = self._generator.info, self._why_not()
        told = f"The portrait is computed by {self.describe()}."
        if self._because is not None:
            told = f"{self._because} {told}"
            self.fallbacks.append(told)
        elif getattr(self._generator, "is_preparing", False):
            told += " The GPU's engine is being made; it takes over when it is ready."
        self._events.tell("runtime" if self._because is None else "runtime-fallback", told)

    def _why_not(self) -> str | None:
        """Why the server, or the GPU, that was to compute does not; None without one, or while it
        does."""
        failed = getattr(self._generator, "better_failed", None)
        if failed is not None:
            return f"No GPU takes over: {failed}"
        return getattr(self._generator, "why_local", None)

    def _open(self, runtime: str, device: str) -> Generator:
        wanted = self._settings
        opener = self._opener
        if opener is None:
            opener = self._opener_for(runtime)
        return opener(
            wanted.tier,
            weights=wanted.weights,
            onnx=wanted.onnx,
            runtime=runtime,
            device=device,
            precision=wanted.precision if not self._broken else "auto",
            threads=wanted.threads,
            require_gpu=wanted.require_gpu,
            expected_draw_style=DRAW_STYLE,
        )

    def _opener_for(self, runtime: str) -> Callable[..., Generator]:
        if runtime != "remote":
            from engines.takeover import open_at_once

            return open_at_once
        from engines.remote import open_remote

        wanted = self._settings
        return partial(open_remote, server=wanted.server, deadline_s=wanted.server_deadline_s)

    def _replace(self, failure: Exception) -> None:
        """Opens the next runtime that takes this portrait and begins what was begun, or raises
        EngineFailed."""
        self._broken.append((self._generator.info.runtime, _is_cpu(self._generator.info.device)))
        was = self.describe()
        with contextlib.suppress(Exception):  # what has failed may fail to close
            self._generator.close()
        for runtime, device in self._others():
            with contextlib.ExitStack() as on_failure:
                try:
                    opened = self._open(runtime, device)
                    on_failure.callback(opened.close)
                    if self._tensors_for is not None:
                        opened.set_portrait(self._tensors_for(opened.spec))
                    for image in self._begun:
                        opened.begin(image)
                except Exception as error:  # noqa: BLE001 (a library's edge)
                    _log.info("%s on %s cannot take over: %s", runtime, device, reason(error))
                    continue
                on_failure.pop_all()
            self._generator = opened
            self._told, self._because = self._generator.info, self._why_not()
            told = f"{was} failed ({reason(failure)}); {self.describe()} took over."
            self.fallbacks.append(told)
            self._events.tell("runtime-fallback", told)
            return
        self._gone = (
            f"{was} failed ({reason(failure)}), and no other runtime can take over here. "
            "'puppet doctor' lists the runtimes and what each one lacks."
        )
        raise EngineFailed(self._gone) from failure

    def _others(self) -> Iterator[tuple[str, str]]:
        from engines.runtimes import candidates

        for candidate in candidates():
            on = candidate.runtime, _is_cpu(candidate.device)
            if candidate.available and on not in self._broken:
                yield candidate.runtime, candidate.device


def _is_cpu(device: str) -> bool:
    return device.lower().startswith("cpu")  # some say CPU, some cpu
