"""Mouths of more people than were filmed: pure functions on cuts.

What is behind the lips of a portrait with a closed mouth can only be guessed, and a network that
has seen few people guesses by heart whose teeth belong to which face. Teeth, tongues and lips of
changing colours leave nothing to be learned by heart.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from calibrate.cuts import SIZE, Cut, fill_ring
from puppet.landmarks import LIP_PAIRS, LIPS_INNER, LIPS_OUTER

_INSIDE, _LIPS = 0.15, 0.1
"""Standard deviations of the logarithm of how much lighter the inside and the lips become."""
_TINT = 0.06
"""The same of each colour by itself."""
_OPEN = 1.0
"""Pixels between the lips from which on something is seen between them."""


def recolour_mouths(cuts: list[Cut], rng: np.random.Generator) -> list[Cut]:
    """One change of colour for the inside of all mouths, and one for all lips."""
    inside, lips = (
        np.exp(rng.normal(0, lighter) + rng.normal(0, _TINT, 3)).astype(np.float32)
        for lighter in (_INSIDE, _LIPS)
    )

    def apply(each: Cut) -> Cut:
        outer, inner = mouth_shares(each.points)
        gain = 1 + (inside - 1) * inner[..., None] + (lips - 1) * (outer - inner)[..., None]
        return replace(each, rgb=np.clip(np.rint(each.rgb * gain), 0, 255).astype(np.uint8))

    return [apply(each) for each in cuts]


def close_lips(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """(478, 3) landmarks whose lips meet half-way."""
    closed = points.copy()
    for lower, upper in LIP_PAIRS:
        closed[[lower, upper]] = (points[lower] + points[upper]) / 2
    return closed


def mouth_shares(points: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(SIZE, SIZE) in [0, 1] each: the mouth with its lips, and what is seen between them."""

    def share(ring: tuple[int, ...], soft: float) -> NDArray[np.float32]:
        return np.asarray(cv2.GaussianBlur(fill_ring(points, ring), (0, 0), soft), np.float32) / 255

    outer, inner = share(LIPS_OUTER, 1.2), share(LIPS_INNER, 0.6)
    placed = points[:, :2] * (SIZE / 2)
    gaps = [float(np.linalg.norm(placed[a] - placed[b])) for a, b in LIP_PAIRS]
    if max(gaps) < _OPEN:  # a closed mouth's outline would be filled as a line
        inner = np.zeros_like(inner)
    return outer, np.minimum(inner, outer)
