"""How steady a person's cut-out is over time: what an overlay's edge shows of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Matte = NDArray[np.uint8]
_EDGE_LEVELS = (8, 247)
"""A pixel belongs to the edge if it is between these levels of 255 at some time."""


def matte_steadiness(still: Sequence[Matte], moving: Sequence[Matte]) -> dict[str, float | None]:
    """Of mattes (H, W) in time order, over the pixels of the edge:

    matte_shimmer    mean absolute change from frame to frame, levels of 255, while the driver is
                     a still picture with sensor noise
    matte_roughness  mean absolute second difference over mean absolute first difference, while
                     it moves: 0 for an edge that passes evenly, 2 for one that flickers

    None where there is no edge, or it does not move.
    """
    first = np.abs(np.diff(_edge(still), axis=0))
    passing = np.diff(_edge(moving), axis=0)
    moved = float(np.abs(passing).mean()) if passing.size else 0.0
    return {
        "matte_shimmer": float(first.mean()) if first.size else None,
        "matte_roughness": float(np.abs(np.diff(passing, axis=0)).mean()) / moved
        if moved > 0
        else None,
    }


def _edge(mattes: Sequence[Matte]) -> NDArray[np.float32]:
    """(T, N) float32: the values over time of the pixels that are an edge at some time."""
    stack = np.stack(mattes)
    low, high = _EDGE_LEVELS
    edge = ((stack > low) & (stack < high)).any(0)
    return stack[:, edge].astype(np.float32)
