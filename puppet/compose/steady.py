"""Keeps the edge of the cut-out still while nothing moves."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from puppet.contract import Rgba

Matte = NDArray[np.uint8]
TREMOR = 16
"""Levels of 255. A smaller change from one picture to the next is followed only in part, the
less the smaller it is: what trembles by a few levels is the tracker's noise or an 8-bit engine's
rounding, while an edge that really moves passes through all levels in a few pixels."""


class SteadyMatte:
    """A low-pass over time whose cutoff rises with the change, pixel by pixel: the idea of the
    One Euro filter (Casiez et al., CHI 2012) without its clock. A change of d levels is followed
    by d * min(1, d / TREMOR). So nothing lags by more than TREMOR levels, there is nothing to
    reset when the avatar changes, and a still picture comes to rest.
    """

    def __init__(self) -> None:
        change = np.arange(256, dtype=np.float32)
        self._followed = np.rint(np.minimum(change, change**2 / TREMOR)).astype(np.uint8)
        self._matte: Matte | None = None
        self._picture = np.empty((0, 0, 4), np.uint8)

    def steady(self, rgba: Rgba) -> Rgba:
        """(S, S, 4) straight RGBA with its alpha steadied; the array is this object's own and is
        written again by the next call. `rgba` is left as it is."""
        if self._picture.shape != rgba.shape:
            self._picture, self._matte = np.empty_like(rgba), None
        np.copyto(self._picture, rgba)
        cv2.insertChannel(self.follow(cv2.extractChannel(rgba, 3)), self._picture, 3)
        return self._picture

    def follow(self, matte: cv2.typing.MatLike) -> Matte:
        """The next (H, W) uint8 matte, steadied; not written again."""
        if self._matte is None:
            self._matte = np.asarray(matte, np.uint8).copy()
            return self._matte
        # Saturating differences: one of the two is zero at every pixel.
        rise = cv2.LUT(cv2.subtract(matte, self._matte), self._followed)
        fall = cv2.LUT(cv2.subtract(self._matte, matte), self._followed)
        self._matte = np.asarray(cv2.subtract(cv2.add(self._matte, rise), fall), np.uint8)
        return self._matte
