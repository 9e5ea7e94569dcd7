"""What clips of real people do not show of eyes, and paintings do: pure functions on cuts.

Few of the people trained on have light irises, so a lid that lets a little of a dark iris through
costs nothing there, and on a green-eyed portrait it is seen at once. And the tracker is sure of
where a photographed eye ends, less so of a painted one: the network shall look for itself.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from calibrate.cuts import SIZE, Cut
from puppet.landmarks import (
    LEFT_EYE,
    LEFT_IRIS_CENTRE,
    LEFT_IRIS_RIM,
    RIGHT_EYE,
    RIGHT_IRIS_CENTRE,
    RIGHT_IRIS_RIM,
)

EYES = (
    (RIGHT_EYE, RIGHT_IRIS_CENTRE, RIGHT_IRIS_RIM),
    (LEFT_EYE, LEFT_IRIS_CENTRE, LEFT_IRIS_RIM),
)
"""Ring of the lids, centre and rim of the iris, as indices of landmarks."""
_PUPIL = 0.42
"""Radius of what stays dark, of the iris's."""
_MISPLACED = 0.06
"""Standard deviation of a misplaced eye, of its width."""
_OPEN = 2.5
"""Pixels between the lids from which on an iris can be seen."""
_SUBPIXEL = 4  # bits


def recolour_irises(cuts: list[Cut], rng: np.random.Generator) -> list[Cut]:
    """The same random colour for the irises of all, as light as eyes get; pupils stay dark."""
    hsv = np.array([[[rng.integers(0, 180), rng.integers(40, 230), 255]]], np.uint8)
    colour = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0].astype(np.float32)
    colour /= colour @ np.array((0.299, 0.587, 0.114), np.float32)  # as light as grey
    lift, strength = rng.uniform(0, 70), rng.uniform(0.6, 1)

    def apply(each: Cut) -> Cut:
        share = np.float32(strength) * iris_share(each.points)[..., None]
        grey = np.asarray(cv2.cvtColor(each.rgb, cv2.COLOR_RGB2GRAY), np.float32)[..., None]
        tinted = np.clip((grey + np.float32(lift)) * colour, 0, 255)
        return replace(each, rgb=np.rint(each.rgb * (1 - share) + share * tinted).astype(np.uint8))

    return [apply(each) for each in cuts]


def iris_share(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """(SIZE, SIZE) in [0, 1]: where irises are seen between the lids, without pupils."""
    placed = (points[:, :2] + 1) * (SIZE / 2) - 0.5
    seen = np.zeros((SIZE, SIZE), np.uint8)
    for ring, middle, rim in EYES:
        radius = float(np.linalg.norm(placed[list(rim)] - placed[middle], axis=1).mean())
        iris, opening = np.zeros_like(seen), np.zeros_like(seen)
        _disc(iris, placed[middle], radius, 255)
        _disc(iris, placed[middle], _PUPIL * radius, 0)
        # A filled polygon has its outline too: along lids that meet there must be no colour.
        gaps = placed[list(ring[1:8])] - placed[list(ring[:8:-1])]
        if float(np.linalg.norm(gaps, axis=1).max()) < _OPEN:
            continue
        corners = np.rint(placed[list(ring)] * 2**_SUBPIXEL).astype(np.int32)
        cv2.fillPoly(opening, [corners], (255,), cv2.LINE_AA, _SUBPIXEL)
        seen |= np.minimum(iris, opening)
    return np.asarray(cv2.GaussianBlur(seen, (0, 0), 0.6), np.float32) / 255


def _disc(onto: NDArray[np.uint8], middle: NDArray[np.float32], radius: float, value: int) -> None:
    x, y, r = np.rint(np.array((*middle, radius)) * 2**_SUBPIXEL).astype(int).tolist()
    cv2.circle(onto, (x, y), r, (value,), cv2.FILLED, cv2.LINE_AA, _SUBPIXEL)


def misplace_eyes(cuts: list[Cut], rng: np.random.Generator) -> list[Cut]:
    """Each eye's landmarks off by the same little way in all cuts, what is around less and less."""
    offsets = rng.normal(0, _MISPLACED, (2, 2)).astype(np.float32)

    def apply(each: Cut) -> Cut:
        points = each.points.copy()
        for (ring, _, _), offset in zip(EYES, offsets, strict=True):
            eye = each.points[list(ring), :2]
            width = float(np.linalg.norm(eye[0] - eye[8]))
            away = np.linalg.norm(each.points[:, :2] - eye.mean(0), axis=1) / max(width, 1e-6)
            near = np.exp(-(np.maximum(away - 0.55, 0) ** 2) / 0.18)
            points[:, :2] += near[:, None].astype(np.float32) * offset * width
        return replace(each, points=points)

    return [apply(each) for each in cuts]
