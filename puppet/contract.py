"""The values that travel between stages, the protocols of the two edges, and the errors.

One colour order inside: RGB, uint8, height x width x channel, C-contiguous. Conversion happens
at the device edges only. All times are `time.perf_counter_ns()`; `captured_at_ns` is stamped
once, when the device hands the picture over, and travels unchanged to every sink, where
`now - captured_at_ns` is the age of the picture.

    PuppetError
    +-- UserError            a mistake of the caller; the message says what to do next
    |   +-- BundleError      an avatar bundle that is missing, broken or hostile (also ValueError)
    |   +-- PictureError     a picture that cannot become a portrait (also ValueError)
    +-- SourceError          a camera, file or stream that cannot be opened or has failed (OSError)
    |   +-- SourceSilent     no picture within the time limit (also TimeoutError)
    +-- SinkError            an output that cannot be opened or has failed (also OSError)
    +-- TrackerError         the face tracker is not usable on this machine
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Rgb: TypeAlias = NDArray[np.uint8]  # (H, W, 3)
Rgba: TypeAlias = NDArray[np.uint8]  # (H, W, 4), straight (not premultiplied) alpha
Points: TypeAlias = NDArray[np.float32]  # (478, 3), x right, y down, z towards the picture, pixels

N_LANDMARKS = 478


class PuppetError(Exception):
    """Base of every error this package raises on purpose."""


class UserError(PuppetError):
    """Something the user can mend; the message names the remedy."""


class BundleError(UserError, ValueError):
    """An avatar bundle is missing, broken, from another version, or hostile."""


class PictureError(UserError, ValueError):
    """A picture cannot become a portrait."""


class SourceError(PuppetError, OSError):
    """A source of pictures cannot be opened or has failed."""


class SourceSilent(SourceError, TimeoutError):
    """A source delivered nothing within the time limit."""


class SinkError(PuppetError, OSError):
    """An output cannot be opened or has failed."""


class TrackerError(PuppetError, RuntimeError):
    """The face tracker is not usable on this machine."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of the driver. Never leaves the tracker: no sink accepts this type."""

    rgb: Rgb
    """(H, W, 3) uint8. Owned by whoever holds the frame; the source does not write to it again."""
    captured_at_ns: int
    index: int
    """Counts the source's pictures from 0; a gap is a dropped picture."""


Teeth = tuple[float, float]
"""How light the upper and the lower half of what is between the lips are, in (0, 1)."""


@dataclass(frozen=True, slots=True)
class Landmarks:
    """The 478 points of one face in the pixels of the picture they were found in."""

    points: Points
    width: int
    height: int
    teeth: Teeth | None = None
    """Of a driver, 0.5 as light as the cheeks (`puppet.track.teeth`); of a retargeted face, 0.5 as
    light as this driver's teeth ever are (`puppet.retarget.teeth`). None where it is not known."""

    def __post_init__(self) -> None:
        if self.points.shape != (N_LANDMARKS, 3) or self.points.dtype != np.float32:
            raise ValueError(
                f"landmarks must be float32 of shape ({N_LANDMARKS}, 3), "
                f"got {self.points.dtype} of shape {self.points.shape}"
            )


@dataclass(frozen=True, slots=True)
class Observation:
    """What is known of the driver at one instant: a face, or (`landmarks is None`) none."""

    landmarks: Landmarks | None
    captured_at_ns: int
    index: int


@dataclass(frozen=True, slots=True)
class Picture:
    """One composed picture on its way to the sinks; label and mark are already in it."""

    rgb: Rgb
    """(H, W, 3) uint8 over the chosen background. Sinks must not write to it."""
    captured_at_ns: int
    index: int
    cutout: Rgba | None = None
    """(H, W, 4) uint8, the same picture without background; present when a sink asked for it."""
    label: tuple[slice, slice] | None = None
    """Rows and columns that the label covers, for who mirrors the picture: words must not be."""


@dataclass(frozen=True, slots=True)
class SoundPiece:
    """A piece of sound, one channel at 48 kHz. Goes into recordings and nowhere else."""

    samples: NDArray[np.float32]
    """(N,) float32 in [-1, 1]. Owned by whoever holds the piece."""
    captured_at_ns: int
    """When its first sample was heard, as well as the device knows."""


class SoundSource(Protocol):
    """A microphone. Used by one thread."""

    name: str

    def open(self) -> None:
        """Begins to listen. Raises SourceError with a remedy."""
        ...

    def take(self) -> list[SoundPiece]:
        """What was heard since the last call, in order; does not wait."""
        ...

    def close(self) -> None:
        """Idempotent."""
        ...


class Source(Protocol):
    """Where the driver comes from. Used by one thread, except `close`."""

    name: str

    def read(self, timeout_s: float) -> Frame | Observation | None:
        """The next picture (or, from traces and other trackers, the next observation).

        None is the end of the stream. Raises SourceSilent after `timeout_s`, SourceError when
        the device is gone for good.
        """
        ...

    def close(self) -> None:
        """Idempotent; a blocked `read` returns or raises soon after."""
        ...


class Tracker(Protocol):
    """Finds the landmarks of the face being followed."""

    name: str

    def track(self, frame: Frame) -> Observation:
        """Frames must come in order of `captured_at_ns`."""
        ...

    def close(self) -> None: ...


class Sink(Protocol):
    """An output. `open` and `send` are called by the sink's own thread only."""

    name: str
    wants_cutout: bool

    def open(self, width: int, height: int, fps: float) -> None:
        """Raises SinkError with a remedy when the device cannot be had."""
        ...

    def send(self, picture: Picture) -> None:
        """May block for as long as the device takes. Raises SinkError when the device is gone."""
        ...

    def close(self) -> None:
        """Idempotent; what was sent so far is kept and usable."""
        ...
