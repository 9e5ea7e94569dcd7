"""From a rough person mask to a matte with hair edges, and to colours free of the background.

Alpha: closed-form matting (Levin et al., CVPR 2006) with the large-kernel matting Laplacian of
He et al. (CVPR 2010): applying that Laplacian takes box filters only, whatever the window.

Colour: multi-level blur fusion of Forte, "Approximate Fast Foreground Colour Estimation",
ICIP 2021.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from puppet.contract import Rgb

_RADIUS_SHARE = 1 / 64  # of the side: the Laplacian's window radius
_EPSILON = 1e-5  # colour variance below which a window counts as flat (colours 0..1)
_KNOWN_WEIGHT = 1.0  # of the trimap's sure parts, against the Laplacian's 1
_PRIOR_WEIGHT = 0.012  # of the rough mask where the trimap is unsure
_STEPS = 60
_FUSION_RADII = ((90, 1), (45, 1), (20, 2), (6, 2))  # (box size, rounds) at 512 pixels


def refine_matte(rgb: Rgb, rough: NDArray[np.float32]) -> NDArray[np.float32]:
    """Alpha 0..1 (H, W) float32 of the person in `rgb` (H, W, 3), about 512 pixels in size.

    `rough`: probability 0..1 that a pixel is the person; its edge may be off by some 2 % of the
    side and needs no detail.
    """
    side = max(rgb.shape[:2])
    radius = max(1, round(side * _RADIUS_SHARE))
    laplacian = _MattingLaplacian(rgb.astype(np.float32) / 255, radius)
    sure = _sure(rough, side)
    weight = np.where(sure, _KNOWN_WEIGHT, _PRIOR_WEIGHT).astype(np.float32)
    alpha = _conjugate_gradients(
        lambda p: laplacian.apply(p) + weight * p, weight * rough, rough.copy(), _STEPS
    )
    # The solution floats a little off 0 and 1 in flat places.
    alpha = np.clip((alpha - 0.06) / 0.88, 0, 1)
    alpha = np.where(sure, np.round(rough), alpha).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(alpha, (0, 0), max(0.5, side / 900)), np.float32)


class _MattingLaplacian:
    """L of He et al. for one picture, divided by the window's pixel count.

    (L p)_i = sum over the windows k around i of p_i - a_k . I_i - b_k, where a_k, b_k fit p as a
    linear function of the colours I in window k (ridge regression with _EPSILON).
    """

    def __init__(self, colours: NDArray[np.float32], radius: int) -> None:
        self._colours = colours
        self._window = (2 * radius + 1, 2 * radius + 1)
        self._full = np.float32(self._window[0] * self._window[1])
        self._count = self._sum(np.ones(colours.shape[:2], np.float32))
        self._mean = self._sum(colours) / self._count[..., None]
        products = colours[..., :, None] * colours[..., None, :]
        covariance = self._sum(products.reshape(*colours.shape[:2], 9))
        covariance = (covariance / self._count[..., None]).reshape(*colours.shape[:2], 3, 3)
        covariance -= self._mean[..., :, None] * self._mean[..., None, :]
        covariance += np.eye(3, dtype=np.float32) * np.float32(_EPSILON)
        self._inverse = np.linalg.inv(covariance.astype(np.float64)).astype(np.float32)

    def apply(self, p: NDArray[np.float32]) -> NDArray[np.float32]:
        mean_p = self._sum(p) / self._count
        together = self._sum(self._colours * p[..., None]) / self._count[..., None]
        slope = together - self._mean * mean_p[..., None]
        slope = np.einsum("hwij,hwj->hwi", self._inverse, slope)
        offset = mean_p - np.einsum("hwi,hwi->hw", slope, self._mean)
        fitted = np.einsum("hwi,hwi->hw", self._sum(slope), self._colours) + self._sum(offset)
        return np.asarray((self._count * p - fitted) / self._full, np.float32)

    def _sum(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Over each pixel's window; windows are cut off at the picture's border."""
        channels = [
            cv2.boxFilter(
                np.ascontiguousarray(channel),
                -1,
                self._window,
                normalize=False,
                borderType=cv2.BORDER_CONSTANT,
            )
            for channel in (cv2.split(values) if values.ndim == 3 else [values])
        ]
        return np.asarray(channels[0] if values.ndim == 2 else np.dstack(channels), np.float32)


def _sure(rough: NDArray[np.float32], side: int) -> NDArray[np.bool_]:
    """Where the rough mask is believed: far from its edge, and not undecided."""
    inside = (rough > 0.5).astype(np.uint8)
    outer = cv2.dilate(inside, _disc(side * 0.026))
    inner = cv2.erode(inside, _disc(side * 0.018), borderValue=1)
    undecided = (rough > 0.1) & (rough < 0.9)
    return np.asarray(((outer == 0) | (inner == 1)) & ~undecided, np.bool_)


def _disc(radius: float) -> NDArray[np.uint8]:
    size = 2 * max(1, round(radius)) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)


def _conjugate_gradients(
    apply: Callable[[NDArray[np.float32]], NDArray[np.float32]],
    right: NDArray[np.float32],
    start: NDArray[np.float32],
    steps: int,
) -> NDArray[np.float32]:
    """Solves apply(x) = right for a symmetric positive operator; stops when it no longer helps."""
    x = start
    residual = right - apply(x)
    direction = residual.copy()
    size = float(np.vdot(residual, residual))
    enough = 1e-6 * float(np.vdot(right, right)) + 1e-12
    for _ in range(steps):
        if size < enough:
            break
        applied = apply(direction)
        curvature = float(np.vdot(direction, applied))
        if curvature <= 0:  # rounding
            break
        step = np.float32(size / curvature)
        x = x + step * direction
        residual = residual - step * applied
        previous, size = size, float(np.vdot(residual, residual))
        direction = residual + np.float32(size / previous) * direction
    return x


def foreground_colours(rgb: Rgb, alpha: NDArray[np.float32]) -> Rgb:
    """`rgb` without the background's share at the edges; (H, W, 3) uint8, new array.

    Where alpha is 0 the colours of the nearest person pixels are carried on, so that a warp that
    samples there finds hair and not sky.
    """
    image = rgb.astype(np.float32) / 255
    a = alpha[..., None].astype(np.float32)
    front, back = image, image
    scale = max(rgb.shape[:2]) / 512
    for size, rounds in _FUSION_RADII:
        width = max(3, round(size * scale))
        for _ in range(rounds):
            front, back = _fuse(image, front, back, a, width)
    return np.asarray(np.round(np.clip(front, 0, 1) * 255), np.uint8)


def _fuse(
    image: NDArray[np.float32],
    front: NDArray[np.float32],
    back: NDArray[np.float32],
    a: NDArray[np.float32],
    width: int,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    def blur(values: NDArray[Any]) -> NDArray[np.float32]:
        return np.asarray(cv2.blur(values, (width, width)), np.float32)

    weight = blur(a)[..., None]
    mean_front = blur(front * a) / (weight + 1e-5)
    mean_back = blur(back * (1 - a)) / (1 - weight + 1e-5)
    error = image - a * mean_front - (1 - a) * mean_back
    known = weight > 1e-3  # beyond the reach of this window keep what wider ones found
    new_front = np.where(known, np.clip(mean_front + a * error, 0, 1), front)
    return new_front.astype(np.float32), np.clip(mean_back + (1 - a) * error, 0, 1)
