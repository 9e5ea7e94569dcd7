"""The picture without the person: what a moving head uncovers has to look like more of the room.

The hole is filled coarse to fine: a smooth continuation of the surroundings at low resolution
(diffusion, so no smears of the person's outline), textured near the edge by the fast marching
method (Telea 2004) at medium resolution, and the grain of the picture put back on top.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from puppet.contract import Rgb

_COARSE = 96
_MEDIUM = 320
_MARGIN_SHARE = 0.012  # of the picture's longer side
_GROW_SHARE = 0.035  # of the person's size: the matte never covers all of its own edge


def remove_person(picture: Rgb, person: NDArray[np.float32]) -> Rgb:
    """(H, W, 3) uint8, new array: `picture` in-painted where `person` ((H, W), 0..1) is."""
    height, width = picture.shape[:2]
    extent = float(np.sqrt(max(1.0, float((person > 0.5).sum()))))
    grow = max(3, round(extent * _GROW_SHARE))
    hole = (person > 0.03).astype(np.uint8)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * grow + 1, 2 * grow + 1))
    hole = np.asarray(cv2.dilate(hole, kernel), np.uint8)
    unknown = _with_margin(hole)
    if unknown.all():  # nothing of the background is known
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), max(3.0, extent * 0.12)), np.uint8)

    coarse = _diffused(picture, unknown, _COARSE)
    medium = _marched(picture, unknown, _MEDIUM)
    smooth = _resized(coarse, width, height)
    near = _resized(medium, width, height)
    distance = cv2.distanceTransform(hole, cv2.DIST_L2, 5)
    # Structure carries on for a little way, then dissolves into the smooth colours.
    reach = max(4.0, 0.16 * extent)
    share = np.exp(-((np.asarray(distance, np.float32) / reach) ** 2))[..., None]
    filled = share * near + (1 - share) * smooth + _grain(picture, hole)[..., None]

    edge = np.asarray(cv2.GaussianBlur(hole.astype(np.float32), (0, 0), grow * 0.45), np.float32)
    edge = np.clip(edge * 2 - 1 + 1e-3, 0, 1)
    # Soft inwards from the grown edge, but nothing of the person may show through.
    edge = np.maximum(edge, (person > 0.03).astype(np.float32))
    edge = np.asarray(cv2.GaussianBlur(edge, (0, 0), 1.2), np.float32)[..., None]
    mixed = edge * filled + (1 - edge) * picture
    return np.asarray(np.round(np.clip(mixed, 0, 255)), np.uint8)


def _with_margin(hole: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The hole, and the picture's margin: what a scan has there, a frame's line or a white edge,
    would glow into a hole that comes near."""
    margin = max(2, round(_MARGIN_SHARE * max(hole.shape)))
    unknown = np.ones_like(hole)
    unknown[margin:-margin, margin:-margin] = hole[margin:-margin, margin:-margin]
    return unknown


def _resized(values: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    return np.asarray(
        cv2.resize(values, (width, height), interpolation=cv2.INTER_CUBIC), np.float32
    )


def _shrunk(
    picture: Rgb, hole: NDArray[np.uint8], size: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(colours, known share) at `size` for the longer side; colours of known pixels only."""
    scale = min(1.0, size / max(picture.shape[:2]))
    shape = (max(2, round(picture.shape[1] * scale)), max(2, round(picture.shape[0] * scale)))
    known = (hole == 0).astype(np.float32)
    weight = np.asarray(cv2.resize(known, shape, interpolation=cv2.INTER_AREA), np.float32)
    colours = picture.astype(np.float32) * known[..., None]
    total = np.asarray(cv2.resize(colours, shape, interpolation=cv2.INTER_AREA), np.float32)
    return total / np.maximum(weight, 1e-4)[..., None], weight


def _diffused(picture: Rgb, hole: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    """Pull-push (Gortler et al., The Lumigraph, 1996): means of ever wider known surroundings."""
    colours, weight = _shrunk(picture, hole, size)
    levels = [(colours, np.minimum(weight, 1.0))]
    while max(levels[-1][1].shape) > 2:
        values, sure = levels[-1]
        shape = (max(1, (sure.shape[1] + 1) // 2), max(1, (sure.shape[0] + 1) // 2))
        total = cv2.resize(values * sure[..., None], shape, interpolation=cv2.INTER_AREA)
        mean = np.asarray(cv2.resize(sure, shape, interpolation=cv2.INTER_AREA), np.float32)
        total = np.asarray(total, np.float32).reshape(*mean.shape, 3)
        smaller = total / np.maximum(mean, 1e-4)[..., None]
        levels.append((smaller, np.minimum(mean * 4, 1.0)))
    filled = levels[-1][0]
    for values, sure in reversed(levels[:-1]):
        up = cv2.resize(filled, (sure.shape[1], sure.shape[0]), interpolation=cv2.INTER_LINEAR)
        up = np.asarray(up, np.float32).reshape(values.shape)
        filled = sure[..., None] * values + (1 - sure[..., None]) * up
    hidden = levels[0][1] < 0.99
    soft = np.asarray(cv2.GaussianBlur(filled, (0, 0), 2.0), np.float32)
    return np.where(hidden[..., None], soft, filled).astype(np.float32)


def _marched(picture: Rgb, hole: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    colours, weight = _shrunk(picture, hole, size)
    rgb = np.asarray(np.round(np.clip(colours, 0, 255)), np.uint8)
    unknown = (weight < 0.99).astype(np.uint8)
    painted = cv2.inpaint(rgb, unknown, 5, cv2.INPAINT_TELEA)
    soft = cv2.GaussianBlur(painted, (0, 0), 1.5)  # marching leaves hard rays
    return np.where(unknown[..., None] > 0, soft, painted).astype(np.float32)


def _grain(picture: Rgb, hole: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Noise as strong as the background's own fine grain, (H, W) float32, the same every time."""
    grey = np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), np.float32)
    fine = grey - np.asarray(cv2.GaussianBlur(grey, (0, 0), 1.2), np.float32)
    strength = float(np.median(np.abs(fine[hole == 0]))) * 1.4826
    noise = np.random.default_rng(0).standard_normal(grey.shape).astype(np.float32)
    noise -= np.asarray(cv2.GaussianBlur(noise, (0, 0), 1.2), np.float32)
    return noise * min(strength, 6.0)
