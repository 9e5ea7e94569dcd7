"""Two pictures in, numbers out. Pure; pictures are (H, W, 3) uint8 of one size."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from puppet.avatar.framing import FACE_OVAL
from puppet.contract import Landmarks, Rgb
from puppet.landmarks import LEFT_EYE, LIPS_OUTER, RIGHT_EYE

Mask = NDArray[np.bool_]

HIGHEST_PSNR = 100.0
"""dB, given to equal pictures."""
REGION_GROWTH = 0.035
"""How far the mouth and eye regions reach beyond lips and lids, in heights of the face."""
STILL_LEVELS = 2.0
"""Levels of 255: where the truth changes less than this between two frames it stands still."""

_SSIM_SIGMA, _SSIM_RADIUS = 1.5, 5


def psnr(result: Rgb, truth: Rgb, mask: Mask | None = None) -> float:
    """10 log10(255^2 / mean squared error), dB; over all three channels, within `mask` (H, W)."""
    squared = (result.astype(np.float32) - truth.astype(np.float32)) ** 2
    error = float(squared.mean() if mask is None else squared[mask].mean())
    return min(HIGHEST_PSNR, float(10 * np.log10(255**2 / max(error, 1e-12))))


def ssim(result: Rgb, truth: Rgb) -> float:
    """Structural similarity (Wang, Bovik, Sheikh and Simoncelli 2004): 11 x 11 Gaussian window
    of sigma 1.5, K1 0.01, K2 0.03, per colour channel, where the window lies in the picture."""
    a, b = result.astype(np.float64), truth.astype(np.float64)

    def smooth(x: NDArray[np.float64]) -> NDArray[np.float64]:
        size = 2 * _SSIM_RADIUS + 1
        blurred = cv2.GaussianBlur(x, (size, size), _SSIM_SIGMA)
        inner = slice(_SSIM_RADIUS, -_SSIM_RADIUS)
        return np.asarray(blurred[inner, inner], np.float64)

    mean_a, mean_b = smooth(a), smooth(b)
    variance_a = smooth(a * a) - mean_a * mean_a
    variance_b = smooth(b * b) - mean_b * mean_b
    covariance = smooth(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similarity = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    similarity /= (mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2)
    return float(similarity.mean())


def regions(face: Landmarks, size: int) -> dict[str, Mask]:
    """'mouth' and 'eyes' as (size, size) masks: the lips' outer polygon and the lid rings of
    `face`, grown by REGION_GROWTH. A region outside of the picture is empty."""
    points = face.points[:, :2] * (size / face.width)
    height = float(np.ptp(points[list(FACE_OVAL), 1]))
    radius = max(1, round(REGION_GROWTH * height))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))

    def grown(*rings: Sequence[int]) -> Mask:
        mask = np.zeros((size, size), np.uint8)
        for ring in rings:
            cv2.fillPoly(mask, [np.rint(points[list(ring)]).astype(np.int32)], (1.0,))
        return np.asarray(cv2.dilate(mask, disc) > 0, np.bool_)

    return {"mouth": grown(LIPS_OUTER), "eyes": grown(RIGHT_EYE, LEFT_EYE)}


def temporal(results: tuple[Rgb, Rgb], truths: tuple[Rgb, Rgb]) -> dict[str, float | None]:
    """What changes from one frame to the next that should not, in levels of 255.

    With d the change of the grey picture from frame to frame, smoothed by a Gaussian of sigma
    1.5/256 of the side (single pixels of noise do not count):

    flicker         mean of max(0, |d result| - |d truth|) where |d truth| < STILL_LEVELS: what
                    swims or flickers where the truth stands still. A still portrait has 0. None
                    where nothing stands still.
    temporal_error  mean of |d result - d truth| everywhere: the part of the error that changes;
                    a still portrait has all of the truth's own change.
    """
    change_result, change_truth = _change(*results), _change(*truths)
    calm = np.abs(change_truth) < STILL_LEVELS
    excess = np.maximum(0, np.abs(change_result) - np.abs(change_truth))[calm]
    return {
        "flicker": float(excess.mean()) if excess.size else None,
        "temporal_error": float(np.abs(change_result - change_truth).mean()),
    }


def _change(first: Rgb, second: Rgb) -> NDArray[np.float32]:
    grey = [np.asarray(cv2.cvtColor(x, cv2.COLOR_RGB2GRAY), np.float32) for x in (first, second)]
    sigma = max(0.5, 1.5 * first.shape[0] / 256)
    return np.asarray(cv2.GaussianBlur(grey[1] - grey[0], (0, 0), sigma), np.float32)
