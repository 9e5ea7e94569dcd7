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
_COARSE_STEPS, _FINE_STEPS = 80, 25
_FUSION_RADII = ((90, 1), (45, 1), (20, 2), (6, 2))  # (box size, rounds) at 512 pixels


def refine_matte(rgb: Rgb, rough: NDArray[np.float32]) -> NDArray[np.float32]:
    """Alpha 0..1 (H, W) float32 of the person in `rgb` (H, W, 3), about 512 pixels in size.

    `rough`: probability 0..1 that a pixel is the person; its edge may be off by some 2 % of the
    side and needs no detail.
    """
    side = max(rgb.shape[:2])
    half = (rgb.shape[1] // 2, rgb.shape[0] // 2)
    small = np.asarray(cv2.resize(rgb, half, interpolation=cv2.INTER_AREA), np.uint8)
    small_rough = np.asarray(cv2.resize(rough, half, interpolation=cv2.INTER_AREA), np.float32)
    # Long-range agreement is cheap at half the size; the full size then only needs the detail.
    coarse = _solve(small, small_rough, small_rough, _COARSE_STEPS)
    start = np.asarray(cv2.resize(coarse, (rgb.shape[1], rgb.shape[0])), np.float32)
    sure = _sure(rough, side)
    alpha = _solve(rgb, rough, start, _FINE_STEPS)
    # The solution floats a little off 0 and 1 in flat places.
    alpha = np.clip((alpha - 0.06) / 0.88, 0, 1)
    alpha = np.where(sure, np.round(rough), alpha).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(alpha, (0, 0), max(0.5, side / 900)), np.float32)


def _solve(
    rgb: Rgb, rough: NDArray[np.float32], start: NDArray[np.float32], steps: int
) -> NDArray[np.float32]:
    side = max(rgb.shape[:2])
    radius = max(1, round(side * _RADIUS_SHARE))
    laplacian = _MattingLaplacian(rgb.astype(np.float32) / 255, radius)
    weight = np.where(_sure(rough, side), _KNOWN_WEIGHT, _PRIOR_WEIGHT).astype(np.float32)
    return _conjugate_gradients(
        lambda p: laplacian.apply(p) + weight * p, weight * rough, start.copy(), steps
    )


class _MattingLaplacian:
    """L of He et al. for one picture, divided by the window's pixel count.

    (L p)_i = sum over the windows k around i of p_i - a_k . I_i - b_k, where a_k, b_k fit p as a
    linear function of the colours I in window k (ridge regression with _EPSILON).
    """

    def __init__(self, colours: NDArray[np.float32], radius: int) -> None:
        self._window = (2 * radius + 1, 2 * radius + 1)
        self._full = np.float32(self._window[0] * self._window[1])
        self._red, self._green, self._blue = (np.ascontiguousarray(c) for c in cv2.split(colours))
        self._count = self._sum(np.ones(colours.shape[:2], np.float32))
        self._share = 1 / self._count
        self._means = [self._sum(c) * self._share for c in (self._red, self._green, self._blue)]
        self._inverse = self._inverse_covariance(colours)

    def _inverse_covariance(self, colours: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """The six different entries rr, rg, rb, gg, gb, bb of the windows' 3 x 3 inverses."""
        wide = colours.astype(np.float64)  # differences of nearly equal products
        means = [self._sum(wide[..., i]) * self._share for i in range(3)]

        def covariance(i: int, j: int) -> NDArray[np.float64]:
            product = self._sum(wide[..., i] * wide[..., j]) * self._share
            return np.asarray(product - means[i] * means[j] + (_EPSILON if i == j else 0.0))

        rr, rg, rb = covariance(0, 0), covariance(0, 1), covariance(0, 2)
        gg, gb, bb = covariance(1, 1), covariance(1, 2), covariance(2, 2)
        adjugate = [gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg]
        adjugate += [rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg]
        determinant = rr * adjugate[0] + rg * adjugate[1] + rb * adjugate[2]
        return [(entry / determinant).astype(np.float32) for entry in adjugate]

    def apply(self, p: NDArray[np.float32]) -> NDArray[np.float32]:
        mean_p = self._sum(p) * self._share
        mean_r, mean_g, mean_b = self._means
        r = self._sum(self._red * p) * self._share - mean_r * mean_p
        g = self._sum(self._green * p) * self._share - mean_g * mean_p
        b = self._sum(self._blue * p) * self._share - mean_b * mean_p
        rr, rg, rb, gg, gb, bb = self._inverse
        slope_r = rr * r + rg * g + rb * b
        slope_g = rg * r + gg * g + gb * b
        slope_b = rb * r + gb * g + bb * b
        offset = mean_p - slope_r * mean_r - slope_g * mean_g - slope_b * mean_b
        fitted = self._sum(slope_r) * self._red + self._sum(slope_g) * self._green
        fitted += self._sum(slope_b) * self._blue + self._sum(offset)
        return np.asarray((self._count * p - fitted) / self._full, np.float32)

    def _sum(self, values: NDArray[Any]) -> NDArray[Any]:
        """Over each pixel's window; windows are cut off at the picture's border."""
        border = cv2.BORDER_CONSTANT
        return np.asarray(
            cv2.boxFilter(values, -1, self._window, normalize=False, borderType=border)
        )


def _sure(rough: NDArray[np.float32], side: int) -> NDArray[np.bool_]:
    """Where the rough mask is believed: far from its edge, and not undecided."""
    inside = (rough > 0.5).astype(np.uint8)
    outer = cv2.dilate(inside, _disc(side * 0.026))
    inner = cv2.erode(inside, _disc(side * 0.018), borderValue=(1,))
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
    enough = 1e-9 * float(np.vdot(right, right)) + 1e-12
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
