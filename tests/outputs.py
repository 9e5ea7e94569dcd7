"""Pictures for the outputs' tests, and what became of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np

from puppet.contract import Picture

WIDTH, HEIGHT, FPS = 192, 128, 30.0
MS = 1_000_000


def picture(index: int, at_ns: int | None = None) -> Picture:
    """Its brightness tells the index (up to 50), in steps a codec keeps apart."""
    rgb = np.full((HEIGHT, WIDTH, 3), 4 + 5 * index, np.uint8)
    rgb[:, : WIDTH // 2, 0] = 250
    return Picture(rgb, index * 33 * MS if at_ns is None else at_ns, index)


def index_of(rgb: np.ndarray) -> int:
    return round((float(rgb[20:-20, WIDTH // 2 + 16 : -16, 1].mean()) - 4) / 5)


def decode(path: Path, *, cut: bool = False) -> list[tuple[float, np.ndarray]]:
    """`cut`: the file may end in mid-picture."""
    shown = []
    with av.open(str(path)) as container:
        try:
            for f in container.decode(video=0):
                shown.append((float(f.pts * f.time_base), f.to_ndarray(format="rgb24")))
        except av.error.InvalidDataError:
            assert cut
    return shown


def wait_until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)
