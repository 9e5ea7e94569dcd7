"""Buffers for pictures that travel on: reused, but never while somebody still looks at one."""

from __future__ import annotations

import sys

from puppet.contract import Rgb

_LIMIT = 16


class PictureRing:
    """Hands out copies of `still`, again and again the same few.

    Three are enough for one reader (one written, one waiting in a slot, one being read); each
    further or stalled reader may hold one more, so the ring grows up to 16 and then hands out
    arrays of its own for nobody to reuse. A buffer is free when nothing but the ring refers to
    it: views refer to their owner too, so the count of references tells.
    """

    def __init__(self, still: Rgb, count: int = 3) -> None:
        self._still = still
        self._buffers = [still.copy() for _ in range(count)]
        self._next = 0
        # What the count is when only the list refers to a buffer; not the same in every Python.
        self._alone = sys.getrefcount(self._buffers[0])

    def take(self) -> Rgb:
        """A buffer that equals `still` except where earlier users of the ring wrote."""
        for _ in range(len(self._buffers)):
            self._next = (self._next + 1) % len(self._buffers)
            if sys.getrefcount(self._buffers[self._next]) == self._alone:
                return self._buffers[self._next]
        fresh = self._still.copy()
        if len(self._buffers) < _LIMIT:
            self._buffers.append(fresh)
            self._next = len(self._buffers) - 1
        return fresh
