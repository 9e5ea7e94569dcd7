"""Guide lines for hair and clothes, and where those lie in depth."""

from __future__ import annotations

import numpy as np

from tests.make_demo.shape import Shape

Guide = list[tuple[float, float]]


def mirror_guide(guide: Guide) -> Guide:
    """The same guide on the other side of the face."""
    return [(-x, y) for x, y in guide]


def far(x: Shape, y: Shape) -> Shape:
    """The depth of what hangs about the neck: it does not slide when the head turns."""
    return np.full_like(x, 0.45)
