"""Checks of what goes into a generator, and its resident buffers on the host."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from engines.contract import LandmarkImage, PortraitTensors, SpecMismatch
from engines.graph import OUTPUT, Graph

Maker: TypeAlias = Callable[[tuple[int, ...], np.dtype[Any]], NDArray[Any]]


class HostBuffers:
    """One array per portrait input and, for each picture that may be at work, one per frame input
    and one for the picture. Made once; runtimes read and write them in place, without a copy."""

    def __init__(self, graph: Graph, slots: int = 1, make: Maker | None = None) -> None:
        """`make`: a zeroed array of a shape and dtype, `aligned_zeros` without it."""
        make = make or aligned_zeros
        self._portrait = graph.portrait_inputs
        self._frame = graph.frame_inputs
        output = graph.outputs[OUTPUT]
        self.portrait = {name: make(s.shape, s.dtype) for name, s in self._portrait.items()}
        self.frames = tuple(
            {name: make(s.shape, s.dtype) for name, s in self._frame.items()} for _ in range(slots)
        )
        self.pictures = tuple(make(output.shape, output.dtype) for _ in range(slots))
        self.has_portrait = not self._portrait

    def put_portrait(self, tensors: PortraitTensors) -> None:
        """Copies a portrait's tensors in. Raises SpecMismatch and then changes nothing."""
        missing, extra = self._portrait.keys() - tensors.keys(), tensors.keys() - self._portrait
        if missing or extra:
            raise SpecMismatch(
                f"The portrait's tensors do not fit this generator (missing: "
                f"{sorted(missing) or 'none'}, unknown: {sorted(extra) or 'none'}). "
                "Encode the portrait again for this tier."
            )
        for name, spec in self._portrait.items():
            given = tensors[name]
            if given.shape != spec.shape or given.dtype != spec.dtype:
                raise SpecMismatch(
                    f"Portrait tensor {name!r} is {given.dtype}{list(given.shape)}, expected "
                    f"{spec.dtype}{list(spec.shape)}. Encode the portrait again for this tier."
                )
            if not np.isfinite(given).all():
                raise SpecMismatch(f"Portrait tensor {name!r} holds numbers that are not finite.")
        for name in self._portrait:
            np.copyto(self.portrait[name], tensors[name])
        self.has_portrait = True

    def put_frame(self, image: LandmarkImage, slot: int = 0) -> None:
        """Copies a frame's landmark image in. Raises SpecMismatch."""
        if not self.has_portrait:
            raise SpecMismatch("No portrait was set: call set_portrait before generate.")
        for name, spec in self._frame.items():
            given: NDArray[Any] = getattr(image, name)
            if given.shape != spec.shape or given.dtype != spec.dtype:
                raise SpecMismatch(
                    f"Landmark image {name!r} is {given.dtype}{list(given.shape)}, expected "
                    f"{spec.dtype}{list(spec.shape)}."
                )
            np.copyto(self.frames[slot][name], given)


def aligned_zeros(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """A zeroed array that starts on a 64-byte boundary, which runtimes can use in place."""
    count = int(np.prod(shape)) * dtype.itemsize
    raw = np.zeros(count + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + count].view(dtype).reshape(shape)


def default_threads() -> int:
    """CPU threads for a generator: all of two cores, of more all but one (at most 8).

    What runs beside it (tracking, capture, outputs, the video call itself) gets the core left
    over; on two cores tracking takes turns with it. On two busy cores one thread can be the
    better choice: where other work holds a core, each layer waits for the slower of the two.
    """
    cores = available_cores()
    return cores if cores <= 2 else min(cores - 1, 8)


def available_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
