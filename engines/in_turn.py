"""Pictures that are begun before they are fetched: the next one is laid ready, and queued on the
device, while the device still works on the one before.

That keeps a device busy where every frame is wanted (puppet render). A live loop fetches each
picture at once: to begin the next one first would show every picture a frame later.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque

import numpy as np
from numpy.typing import NDArray

from engines.contract import LandmarkImage

SLOTS = 2
"""Pictures that may be begun and not yet finished."""


class Slots:
    """Sets of buffers that are filled and emptied in turn; the first one alone while every picture
    is fetched at once. Used by one thread."""

    def __init__(self) -> None:
        self._at_work: deque[int] = deque()

    @property
    def free(self) -> int:
        """The set to be filled next. RuntimeError while all are at work."""
        for slot in range(SLOTS):
            if slot not in self._at_work:
                return slot
        raise RuntimeError(f"{SLOTS} pictures are at work: finish one before the next begins")

    def fill(self) -> None:
        """`free` is at work from here on."""
        self._at_work.append(self.free)

    def empty(self) -> int:
        """The set that was filled first; it may be filled again. RuntimeError without one."""
        if not self._at_work:
            raise RuntimeError("no picture was begun")
        return self._at_work.popleft()


class FinishedLate(ABC):
    """`begin` and `finish` for what computes only while it is called: a copy waits."""

    def __init__(self) -> None:
        self._waiting: deque[LandmarkImage] = deque()

    def begin(self, image: LandmarkImage) -> None:
        """See engines.contract.Generator."""
        if len(self._waiting) == SLOTS:
            raise RuntimeError(f"{SLOTS} pictures are at work: finish one before the next begins")
        self._waiting.append(copy_of(image))

    def finish(self) -> NDArray[np.uint8]:
        """See engines.contract.Generator."""
        if not self._waiting:
            raise RuntimeError("no picture was begun")
        return self.generate(self._waiting.popleft())

    @abstractmethod
    def generate(self, image: LandmarkImage) -> NDArray[np.uint8]:
        """See engines.contract.Generator."""


def copy_of(image: LandmarkImage) -> LandmarkImage:
    """The same, in arrays of its own."""
    return LandmarkImage(image.contours.copy(), image.motion.copy())
