"""Head pose: a similarity fit on points that expressions hardly move, and its soft limits."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from puppet.landmarks import STABLE, mean_face

Shape = NDArray[np.float64]  # (478, 3)
Real = NDArray[np.float32] | NDArray[np.float64]

_STABLE = np.array(STABLE)


@dataclass(frozen=True, slots=True)
class HeadPose:
    """picture = scale * rotation @ head + translation, for points as column vectors."""

    rotation: NDArray[np.float64]
    """(3, 3) from the head's frame to the picture's; x right, y down, z away from the viewer."""
    translation: NDArray[np.float64]
    """(3,) where the head's origin (between the outer eye corners) is, in pixels."""
    scale: float
    """Pixels per unit of the head's frame (the mean face's outer eye corner distance)."""

    def to_head(self, points: Real) -> Shape:
        """(N, 3) picture points in the head's frame."""
        head: Shape = (points - self.translation) @ self.rotation / self.scale
        return head

    def to_picture(self, points: Real) -> Shape:
        """(N, 3) head points in the picture."""
        picture: Shape = self.scale * points @ self.rotation.T + self.translation
        return picture


def fit_pose(points: Real, head: Real | None = None) -> HeadPose:
    """The least-squares similarity from `head` (478, 3) to picture `points` (478, 3) over the
    stable points; `head` is the mean face unless a person's own shape is known.

    Closed form of Umeyama (1991), without reflection.
    """
    model = (mean_face() if head is None else head)[_STABLE].astype(np.float64)
    target = points[_STABLE].astype(np.float64)
    model_centre, target_centre = model.mean(0), target.mean(0)
    a, b = model - model_centre, target - target_centre
    u, s, vt = np.linalg.svd(b.T @ a)
    signs = np.array((1.0, 1.0, np.sign(np.linalg.det(u @ vt))))
    rotation = (u * signs) @ vt
    scale = float((s * signs).sum() / (a * a).sum())
    return HeadPose(rotation, target_centre - scale * rotation @ model_centre, scale)


def to_vector(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3,) rotation vector, radians."""
    return np.asarray(cv2.Rodrigues(rotation)[0], np.float64).ravel()


def to_matrix(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) rotation of a rotation vector in radians."""
    return np.asarray(cv2.Rodrigues(np.asarray(vector, np.float64))[0], np.float64)


def soft_limit(value: NDArray[np.float64], limit: NDArray[np.float64]) -> NDArray[np.float64]:
    """Odd, monotone, identity near 0, never beyond +-limit."""
    limited: NDArray[np.float64] = limit * np.tanh(value / limit)
    return limited
