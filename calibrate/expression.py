"""Expressions made up from the mean face, for when only one picture of a person is there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from puppet.landmarks import (
    LEFT_BROW_LOWER,
    LEFT_BROW_UPPER,
    LEFT_LID_PAIRS,
    LIPS_INNER,
    LIPS_OUTER,
    RIGHT_BROW_LOWER,
    RIGHT_BROW_UPPER,
    RIGHT_LID_PAIRS,
    mean_face,
)

_IRISES = slice(468, 478)
_CORNERS = (61, 291)
_CHIN = 152


def imagined_expression(rng: np.random.Generator) -> NDArray[np.float32]:
    """(478, 3) float32 change of the mean face, in its unit (distance of the outer eye corners):
    a random mixture of opened jaw, smile or pout, closing lids, raised brows and a look aside."""
    face = mean_face()
    change = np.zeros_like(face)
    change += _jaw(face) * max(0.0, float(rng.normal(0.06, 0.1)))
    change += _corners(face) * float(rng.normal(0.0, 0.05))
    change += _brows() * float(rng.normal(0.0, 0.05))
    closing = rng.uniform(-0.2, 1.0) if rng.random() < 0.5 else rng.uniform(-0.2, 0.2)
    for pairs in (RIGHT_LID_PAIRS, LEFT_LID_PAIRS):
        for lower, upper in pairs:
            change[upper] += (face[lower] - face[upper]) * np.float32(0.9 * closing)
    change[_IRISES, :2] += rng.normal(0, (0.03, 0.015)).astype(np.float32)
    return change


def _jaw(face: NDArray[np.float32]) -> NDArray[np.float32]:
    """What lies below the closed lips goes down: the inner lower lip and the chin by 1."""
    change = np.zeros_like(face)
    line = face[list(LIPS_INNER), 1].mean()
    chin = face[_CHIN, 1]
    middle = 1 - np.clip(np.abs(face[:, 0]) / (0.9 * np.abs(face[:, 0]).max()), 0, 1)
    change[:, 1] = np.clip((face[:, 1] - line) / (0.3 * (chin - line)), 0, 1) * np.sqrt(middle)
    for ring in (LIPS_OUTER, LIPS_INNER):  # both start at a corner, the lower lip comes first
        count = len(ring) // 2
        arch = np.sin(np.linspace(0, np.pi, count + 1)).astype(np.float32)
        for place, point in enumerate(ring):
            below = 0 < place < count
            change[point, 1] = arch[place] if below else 0.0
    return change


def _corners(face: NDArray[np.float32]) -> NDArray[np.float32]:
    """The corners of the mouth go out by 1 and up by a half, their surroundings follow."""
    change = np.zeros_like(face)
    for corner, side in zip(_CORNERS, (-1, 1), strict=True):
        near = np.exp(-((face[:, :2] - face[corner, :2]) ** 2).sum(1) / (2 * 0.16**2))
        change[:, 0] += side * near
        change[:, 1] -= 0.5 * near
    return change


def _brows() -> NDArray[np.float32]:
    """All points of both brows go up by 1."""
    change = np.zeros_like(mean_face())
    for brow in (RIGHT_BROW_UPPER, RIGHT_BROW_LOWER, LEFT_BROW_UPPER, LEFT_BROW_LOWER):
        change[list(brow), 1] = -1
    return change
