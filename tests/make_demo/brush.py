"""Painting: smooth outlines, masks, tints, tapered strokes, and a painterly finish."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Shape = NDArray[np.float64]
Image = NDArray[np.float32]  # (H, W, 3), 0 to 1
Mask = NDArray[np.float32]  # (H, W), 0 to 1
Colour = tuple[float, float, float]
_FINE = 4


def rgb(code: str) -> Colour:
    """'#rrggbb' as three numbers from 0 to 1."""
    return tuple(int(code[i : i + 2], 16) / 255 for i in (1, 3, 5))  # type: ignore[return-value]


def curve(
    points: Sequence[Sequence[float]] | Shape, steps: int = 12, closed: bool = False
) -> Shape:
    """A Catmull-Rom curve through the points."""
    p = np.asarray(points, dtype=np.float64)
    p = np.concatenate([p[-1:], p, p[:2]]) if closed else np.concatenate([p[:1], p, p[-1:]])
    t = np.linspace(0, 1, steps, endpoint=False)[:, None]
    parts = []
    for a, b, c, d in zip(p, p[1:], p[2:], p[3:], strict=False):
        parts.append(
            0.5
            * (
                2 * b
                + (c - a) * t
                + (2 * a - 5 * b + 4 * c - d) * t**2
                + (3 * b - a - 3 * c + d) * t**3
            )
        )
    if not closed:
        parts.append(p[-2:-1])
    return np.concatenate(parts)


def area(size: tuple[int, int], outline: Shape, soft: float = 0.0) -> Mask:
    """The inside of an outline in pixels, its edge softened by `soft` pixels; size is (H, W)."""
    mask = np.zeros(size, np.uint8)
    cv2.fillPoly(mask, [np.round(outline * (1 << _FINE)).astype(np.int32)], 255, cv2.LINE_AA, _FINE)
    out = mask.astype(np.float32) / 255
    return blur(out, soft)


def blur(mask: Mask, sigma: float) -> Mask:
    """Gaussian blur that stays cheap for wide sigmas by working on a smaller picture."""
    if sigma <= 0.3:
        return mask
    shrink = max(1, int(sigma / 6))
    if shrink == 1:
        return np.asarray(cv2.GaussianBlur(mask, (0, 0), sigma), np.float32)
    height, width = mask.shape[:2]
    small = cv2.resize(mask, (width // shrink, height // shrink), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / shrink)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


def tint(image: Image, colour: Colour, mask: Mask, strength: float = 1.0) -> None:
    """Move the image towards a colour where the mask says so, in place."""
    image += (np.array(colour, np.float32) - image) * (mask * strength)[:, :, None]


def shade(image: Image, colour: Colour, mask: Mask, strength: float = 1.0) -> None:
    """Multiply by a colour where the mask says so, in place."""
    image *= 1 - (1 - np.array(colour, np.float32)) * (mask * strength)[:, :, None]


def ribbon(size: tuple[int, int], line: Shape, widths: Shape | float, soft: float = 0.0) -> Mask:
    """A line in pixels with a width at each point (or one that swells and tapers)."""
    if isinstance(widths, (int, float)):
        widths = widths * np.sin(np.linspace(0.0, np.pi, len(line))) ** 0.6
    along = np.gradient(line, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    across = along[:, ::-1] * [-1, 1] * np.asarray(widths)[:, None] / 2
    return area(size, np.concatenate([line + across, (line - across)[::-1]]), soft)


def ramp(values: Mask, stops: Sequence[tuple[float, Colour]]) -> Image:
    """Colours along a gradient."""
    at = [s for s, _ in stops]
    return np.stack(
        [np.interp(values, at, [c[i] for _, c in stops]) for i in range(3)], axis=-1
    ).astype(np.float32)


def spots(x: Mask, y: Mask, cx: float, cy: float, rx: float, ry: float) -> Mask:
    """A soft elliptic spot in face units."""
    return np.asarray(np.exp(-(((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2) / 2), np.float32)


def paint_over(
    image: Image,
    rng: np.random.Generator,
    *,
    length: float,
    width: int,
    count: int,
    jitter: float = 0.02,
    where: Mask | None = None,
    flow: float | None = None,
) -> Image:
    """Repaint with short strokes along the picture's own edges (Litwinowicz 1997).

    `flow` bends strokes towards one direction (radians) where the picture has no edges.
    """
    height, width_px = image.shape[:2]
    grey = cv2.GaussianBlur(image.mean(-1), (0, 0), width * 1.2)
    gx, gy = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    xx, yy, xy = (cv2.GaussianBlur(g, (0, 0), width * 2.0) for g in (gx * gx, gy * gy, gx * gy))
    angle = 0.5 * np.arctan2(2 * xy, xx - yy) + np.pi / 2
    strong = np.sqrt((xx - yy) ** 2 + 4 * xy**2)
    out = np.ascontiguousarray(np.clip(image * 255, 0, 255).astype(np.uint8))
    smooth = cv2.GaussianBlur(out, (0, 0), max(width * 0.4, 0.5))
    xs = rng.integers(0, width_px, count)
    ys = rng.integers(0, height, count)
    noise = rng.normal(0, jitter * 255, (count, 1)) + rng.normal(0, jitter * 90, (count, 3))
    turns = rng.normal(0, 0.18, count)
    sizes = rng.uniform(0.6, 1.25, count)
    chance = rng.random(count)
    for x, y, shift, wobble, size, luck in zip(xs, ys, noise, turns, sizes, chance, strict=True):
        if where is not None and luck > where[y, x]:
            continue
        calm = strong[y, x] < 2e-5
        direction = (flow if flow is not None and calm else angle[y, x]) + wobble
        dx, dy = np.cos(direction) * length * size / 2, np.sin(direction) * length * size / 2
        colour = np.clip(smooth[y, x] + shift, 0, 255)
        start = (int((x - dx) * 16), int((y - dy) * 16))
        end = (int((x + dx) * 16), int((y + dy) * 16))
        cv2.line(out, start, end, colour.tolist(), max(1, int(width * size)), cv2.LINE_AA, 4)
    return np.asarray(out, np.float32) / 255


def layer(image: Image, mask: Mask) -> NDArray[np.uint8]:
    """Colour and mask as a premultiplied uint8 layer."""
    alpha = np.clip(mask, 0, 1)[:, :, None]
    both = np.concatenate([np.clip(image, 0, 1) * alpha, alpha], axis=2)
    return np.asarray(both * 255 + 0.5, dtype=np.uint8)
