"""The skin of a face as a flat painting in the template's frame (mouth ajar, eyes open)."""

from __future__ import annotations

import cv2
import numpy as np

from tests.make_demo.brush import (
    Image,
    Mask,
    area,
    blur,
    curve,
    layer,
    paint_over,
    ramp,
    ribbon,
    shade,
    spots,
    tint,
)
from tests.make_demo.character import Character
from tests.make_demo.mesh import Layer, Triangles, View, heights
from tests.make_demo.shape import Shape
from tests.make_demo.topology import EYES, LIPS_INNER, LIPS_OUTER, OVAL

_LIGHT = np.array([-0.42, -0.5, 0.76])
_CENTRE = np.array([0.0, 0.2, 0.0])


def margin(shape: Shape) -> Shape:
    """Points around the oval, so that the skin goes on under the hair and has a smooth edge."""
    oval = shape[OVAL]
    up = np.clip((0.12 - oval[:, 1:2]) / 0.3, 0, 1)
    out = _CENTRE + (oval - _CENTRE) * np.concatenate(
        [1.05 + 0.08 * up, 1.05 + 0.2 * up, np.ones_like(up)], axis=1
    )
    out[:, 2] = oval[:, 2] + 0.06 + 0.1 * up[:, 0]
    return np.concatenate([shape[:468], out])


def _light(head: Shape, triangles: Triangles, view: View) -> Mask:
    depth = heights(head, head[:, 2], triangles, view)
    hole = np.isnan(depth)
    filled = np.where(hole, 0, depth).astype(np.float32)
    known = (~hole).astype(np.float32)
    wide = 0.05 * view.unit
    spread = blur(filled, wide) / np.maximum(blur(known, wide), 1e-3)
    relief = -blur(np.where(hole, spread, filled).astype(np.float32), 0.013 * view.unit)
    dx = cv2.Sobel(relief, cv2.CV_32F, 1, 0, ksize=3, scale=1 / 8) * view.unit
    dy = cv2.Sobel(relief, cv2.CV_32F, 0, 1, ksize=3, scale=1 / 8) * view.unit
    light = _LIGHT / np.linalg.norm(_LIGHT)
    lit = (-dx * light[0] - dy * light[1] + light[2]) / np.sqrt(dx**2 + dy**2 + 1)
    return blur(lit.astype(np.float32), 0.008 * view.unit)


def _lips(image: Image, template: Shape, view: View, who: Character, lit: Mask) -> None:
    size = image.shape[:2]
    unit = view.unit
    outer = view.pixels(curve(template[LIPS_OUTER], 8, closed=True))
    inner = view.pixels(curve(template[LIPS_INNER], 8, closed=True))
    mask = area(size, outer, 0.006 * unit)
    tint(image, who.palette.lip, mask, 0.86)
    upper = area(
        size,
        np.concatenate([outer[: len(outer) // 2 + 1], inner[len(inner) // 2 :: -1]]),
        0.008 * unit,
    )
    shade(image, (0.72, 0.62, 0.64), upper * mask, 0.6)
    rim = blur(1 - area(size, outer), 0.008 * unit) * mask
    tint(image, who.palette.mid, rim, 0.25)
    near_inside = blur(area(size, inner), 0.012 * unit) * mask
    shade(image, (0.6, 0.4, 0.42), near_inside, 0.8)
    x, y = view.grid()
    low = (template[14, :2] + template[17, :2]) / 2
    shine = spots(x, y, low[0] - 0.015, low[1] - 0.004, 0.045, 0.009)
    tint(image, who.palette.shine, shine, 0.42)
    below = spots(x, y, 0.0, template[17, 1] + 0.022, 0.07, 0.012)
    shade(image, who.palette.dark, below, 0.5)


def _nose(image: Image, template: Shape, view: View, who: Character) -> None:
    size = image.shape[:2]
    x, y = view.grid()
    tip = template[4]
    tint(image, who.palette.shine, spots(x, y, tip[0] - 0.008, tip[1] - 0.012, 0.016, 0.013), 0.6)
    bridge = curve(template[[168, 6, 197, 195, 5]] + [-0.006, 0, 0], 8)
    tint(
        image,
        who.palette.shine,
        ribbon(size, view.pixels(bridge), 0.022 * view.unit, 0.012 * view.unit),
        0.38,
    )
    for sign in (-1, 1):
        hole = template[98 if sign < 0 else 327, :2] * 0.55 + template[2, :2] * 0.45
        nostril = spots(x, y, hole[0], hole[1] - 0.012, 0.017, 0.0075)
        tint(image, who.palette.deep, np.minimum(nostril * 1.3, 1), 0.85)
        line = curve(template[[129, 64, 98] if sign < 0 else [358, 294, 327]], 8)
        shade(
            image,
            who.palette.dark,
            ribbon(size, view.pixels(line), 0.014 * view.unit, 0.005 * view.unit),
            0.75,
        )
    under = spots(x, y, 0.0, template[2, 1] + 0.012, 0.06, 0.014)
    shade(image, who.palette.dark, under, 0.4)


def _around_eyes(image: Image, template: Shape, view: View, who: Character) -> None:
    size, unit = image.shape[:2], view.unit
    for side, (upper, lower, _, top, low) in EYES.items():
        lid = template[upper]
        brow = template[low]
        brow = brow[np.argsort(np.abs(brow[:, 0]))[::-1]]
        socket = np.concatenate([lid[:, :2], brow[::-1, :2]])
        shade(image, who.palette.dark, area(size, view.pixels(socket), 0.02 * unit), who.eye_shadow)
        crease = lid.copy()
        crease[1:-1, 1] -= 0.028
        crease = crease[1:]
        line = view.pixels(curve(crease, 8))
        shade(image, who.palette.dark, ribbon(size, line, 0.02 * unit, 0.012 * unit), 0.6)
        shade(image, who.palette.deep, ribbon(size, line, 0.009 * unit, 0.003 * unit), 0.75)
        lift = lid[2:-2] - [0, 0.014, 0]
        tint(
            image,
            who.palette.light,
            ribbon(size, view.pixels(curve(lift, 8)), 0.012 * unit, 0.006 * unit),
            0.3,
        )
        bag = template[lower] + [0, 0.03, 0]
        shade(
            image,
            who.palette.mid,
            ribbon(size, view.pixels(curve(bag[1:], 8)), 0.016 * unit, 0.01 * unit),
            0.55,
        )
        rim = template[lower]
        tint(
            image,
            who.palette.blush,
            ribbon(size, view.pixels(curve(rim, 8)), 0.012 * unit, 0.005 * unit),
            0.35,
        )
        _brow(image, template[top], template[low], view, who, side)


def _brow(image: Image, top: Shape, low: Shape, view: View, who: Character, side: str) -> None:
    """A soft body with hair strokes over it; both lines run from the temple to the nose."""
    size, unit = image.shape[:2], view.unit
    middle = (top + low) / 2
    middle[0, 1] += 0.004
    line = curve(middle[:, :2], 16)
    share = np.linspace(0, 1, len(line))
    widths = (
        0.042 * who.brow_weight * unit * np.interp(share, [0, 0.45, 0.85, 1], [0.1, 0.75, 1, 0.7])
    )
    body = ribbon(size, view.pixels(line), widths, 0.007 * unit)
    tint(image, who.palette.brow, body, 0.72)
    rng = np.random.default_rng(who.seed + (side == "left"))
    canvas = np.zeros(size, np.uint8)
    inward = -1.0 if side == "left" else 1.0
    for _ in range(150):
        t = rng.uniform(0.02, 0.98)
        at = np.array([np.interp(t, share, line[:, i]) for i in (0, 1)])
        width = np.interp(t, share, widths) / unit
        at[1] += rng.uniform(-0.4, 0.42) * width
        lean = np.interp(t, [0, 0.6, 1], [0.5, -0.25, -1.2]) + rng.normal(0, 0.12)
        step = 0.026 * np.array([-inward * np.cos(lean), np.sin(lean)])
        a, b = view.pixels(np.array([at - step / 2, at + step / 2]))
        cv2.line(
            canvas,
            tuple(np.int32(a * 16)),
            tuple(np.int32(b * 16)),
            255,
            max(1, round(0.004 * unit)),
            cv2.LINE_AA,
            4,
        )
    tint(image, who.palette.brow, canvas.astype(np.float32) / 255, 0.75)


def _freckles(image: Image, view: View, who: Character) -> None:
    rng = np.random.default_rng(who.seed)
    canvas = np.zeros(image.shape[:2], np.uint8)
    for _ in range(who.freckles):
        sign = rng.choice([-1, 1])
        at = np.array([[sign * abs(rng.normal(0.14, 0.07)), rng.normal(0.19, 0.035)]])
        centre = view.pixels(at)[0]
        cv2.circle(
            canvas,
            tuple(np.int32(centre * 16)),
            int(rng.uniform(0.002, 0.0042) * view.unit * 16),
            int(rng.uniform(60, 150)),
            -1,
            cv2.LINE_AA,
            4,
        )
    shade(image, who.palette.dark, blur(canvas.astype(np.float32) / 255, 0.0012 * view.unit), 0.8)


def paint_skin(
    template: Shape, head: Shape, triangles: Triangles, view: View, who: Character
) -> Layer:
    """The face without eyeballs and the inside of the mouth; (H, W, 4) premultiplied."""
    look = who.palette
    lit = _light(head, triangles, view)
    image = ramp(
        lit,
        [
            (-0.1, look.deep),
            (0.3, look.dark),
            (0.62, look.mid),
            (0.9, look.light),
            (1.0, look.shine),
        ],
    )
    x, y = view.grid()
    for sign, strength in ((-1, 0.42), (1, 0.48)):
        tint(image, look.blush, spots(x, y, sign * 0.235, 0.26, 0.085, 0.06), strength)
    tint(image, look.blush, spots(x, y, 0, 0.255, 0.045, 0.03), 0.3)
    tint(image, look.blush, spots(x, y, 0, 0.64, 0.07, 0.035), 0.14)
    _around_eyes(image, template, view, who)
    _nose(image, template, view, who)
    _lips(image, template, view, who, lit)
    if who.freckles:
        _freckles(image, view, who)
    rng = np.random.default_rng(who.seed)
    calm = spots(x, y, 0.0, 0.15, 0.2, 0.3) - 0.85 * np.clip(
        sum(
            spots(x, y, float(template[i, 0]), float(template[i, 1]), 0.13, 0.09)
            for i in (468, 473, 13)
        ),
        0,
        1,
    )
    image = paint_over(
        image,
        rng,
        length=0.035 * view.unit,
        width=max(2, round(0.008 * view.unit)),
        count=9000,
        jitter=0.007,
        where=calm.astype(np.float32),
    )
    oval = template[OVAL]
    edge = head[468:]
    share = np.where(oval[:, 1] < 0.1, 0.8, 0.12)[:, None]
    outline = view.pixels(curve(oval + (edge - oval) * share, 8, closed=True))
    return layer(image, area(image.shape[:2], outline, 0.0025 * view.unit))
