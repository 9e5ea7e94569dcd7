"""Sampling grids: the large constants of the graphs, computed by name instead of stored."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from engines.contract import MOTION_SIZE

LARGEST = 1024


def identity_grid(size: int) -> NDArray[np.float32]:
    """(1, size, size, 2): where each pixel's centre lies in the picture, x and y in -1..1."""
    centres = ((np.arange(size, dtype=np.float32) + 0.5) * (2 / size) - 1).astype(np.float32)
    grid = np.stack(np.broadcast_arrays(centres[None, :], centres[:, None]), axis=-1)
    return np.ascontiguousarray(grid[None])


def interleaved_grid(size: int) -> NDArray[np.float32]:
    """(1, size, 2 * size, 2): positions that enlarge two square planes, one above the other, and
    interleave them: even columns sample the upper plane, odd ones the lower.

    A motion field enlarged so lies as a sampling grid must, without a transpose. Rows keep half a
    plane's pixel away from the other plane, as sampling with repeated edges would; planes are
    MOTION_SIZE high.
    """
    centres = ((np.arange(size, dtype=np.float32) + 0.5) / size).astype(np.float32)
    rows = np.clip(centres, 0.5 / MOTION_SIZE, 1 - 0.5 / MOTION_SIZE)
    grid = np.empty((size, size, 2, 2), np.float32)
    grid[..., 0] = (centres * 2 - 1)[None, :, None]
    grid[..., 0, 1] = (rows - 1)[:, None]
    grid[..., 1, 1] = rows[:, None]
    return np.ascontiguousarray(grid.reshape(1, size, 2 * size, 2))


_KINDS: Mapping[str, Callable[[int], NDArray[np.float32]]] = {
    "identity_grid_": identity_grid,
    "interleaved_grid_": interleaved_grid,
}


def is_grid(name: str) -> bool:
    """Whether a graph's constant of this name is one of these grids."""
    return name.startswith(tuple(_KINDS))


def named_grid(name: str) -> NDArray[np.float32] | None:
    """The grid of a name; None for another name or an absurd size."""
    for prefix, make in _KINDS.items():
        size = name.removeprefix(prefix)
        if name.startswith(prefix) and size.isdecimal() and 0 < int(size[:5]) <= LARGEST:
            return make(int(size))
    return None


def name_of(values: NDArray[np.float32]) -> str | None:
    """The name of the grid that `values` is; None when it is none."""
    if values.ndim != 4 or values.shape[1] > LARGEST:
        return None
    for prefix, make in _KINDS.items():
        if np.array_equal(values, make(values.shape[1])):
            return f"{prefix}{values.shape[1]}"
    return None
