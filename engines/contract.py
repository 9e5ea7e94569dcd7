"""What every generator runtime takes, gives and promises.

EngineError
+-- RuntimeUnavailable   this runtime cannot run here; the message says why and what to do
+-- SpecMismatch         weights, graph or portrait tensors of another kind (also ValueError)
+-- ParityError          an engine whose pictures differ from the reference
+-- EngineFailed         the device failed while running (out of memory, lost, ...)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

PICTURE_SIZE = 512
CONTOURS_SIZE = 256
CONTOURS_CHANNELS = 3
MOTION_SIZE = 128

PortraitTensors: TypeAlias = Mapping[str, NDArray[np.float32]]


class EngineError(Exception):
    """Base of every error of this package."""


class RuntimeUnavailable(EngineError, RuntimeError):
    """A runtime that cannot run on this machine."""


class SpecMismatch(EngineError, ValueError):
    """Weights, graph or tensors that do not belong together."""


class ParityError(EngineError, ArithmeticError):
    """An engine whose output is not the reference output within its tolerance."""


class EngineFailed(EngineError, RuntimeError):
    """A running engine broke down."""


def reason(error: Exception) -> str:
    """What an error says; with its kind where it is not of this package, as libraries' errors may
    say little."""
    return str(error) if isinstance(error, EngineError) else f"{type(error).__name__}: {error}"


class LandmarkImage(NamedTuple):
    """One frame's input, drawn by puppet.draw, the same for training and for the live loop."""

    contours: NDArray[np.uint8]
    """(256, 256, 3): structure lines, eyes, lips; anti-aliased."""
    motion: NDArray[np.float32]
    """(128, 128, 2): for each output cell the offset (x, y) to the portrait position its colour
    comes from, in units of half the picture (2 is the whole width)."""


@dataclass(frozen=True, slots=True)
class GeneratorSpec:
    """What a generator graph is; stored in the ONNX metadata and compared on loading."""

    tier: str
    """'coarse' (warp only), 'small' (CPU) or 'base' (GPU)."""
    draw_style: str
    """Id of the drawing the weights were trained on; another drawing is refused."""
    weights_sha256: str
    version: int
    size: int = PICTURE_SIZE


@dataclass(frozen=True, slots=True)
class RuntimeInfo:
    """What really runs, as read back from the runtime."""

    runtime: str
    version: str
    device: str
    precision: str


class Generator(Protocol):
    """A loaded engine. Used by one thread at a time."""

    spec: GeneratorSpec
    info: RuntimeInfo

    def set_portrait(self, tensors: PortraitTensors) -> None:
        """Copies a portrait's tensors to the device; cheap, no rebuild. Raises SpecMismatch."""
        ...

    def generate(self, image: LandmarkImage) -> NDArray[np.uint8]:
        """(512, 512, 4) uint8, straight RGBA of the portrait without its background.

        Valid until the next call: the runtime reuses the buffer. Raises EngineFailed. Not while
        a picture is begun.
        """
        ...

    def begin(self, image: LandmarkImage) -> None:
        """Begins the picture of an image, which may be written over at once. Where the runtime can
        it works beside the caller. At most two begun pictures wait for `finish`; the portrait may
        not be changed meanwhile. Raises as `generate` does, and what failed may show in `finish`.
        """
        ...

    def finish(self) -> NDArray[np.uint8]:
        """The picture that was begun first, as `generate` gives it; valid until the next `begin`.
        Raises EngineFailed: the pictures begun and not finished are then lost."""
        ...

    def close(self) -> None:
        """Releases the device; idempotent."""
        ...
