"""Neck, shoulders and clothes of the two characters, as layers behind the face."""

from __future__ import annotations

import numpy as np

from tests.make_demo.brush import (
    Colour,
    Image,
    Mask,
    area,
    curve,
    layer,
    paint_over,
    ramp,
    rgb,
    ribbon,
    shade,
    spots,
    tint,
)
from tests.make_demo.character import MIRA, TEO, Character
from tests.make_demo.figure import Cloth
from tests.make_demo.guide import far, mirror_guide
from tests.make_demo.mesh import View
from tests.make_demo.shape import Shape, smoothstep


def _still(x: Shape, y: Shape) -> Shape:
    """A body's share of the head's movement: the neck follows, the shoulders hardly."""
    return 0.75 * (1 - smoothstep(0.55, 1.0, y)) + 0.06


def _neck(view: View, who: Character) -> tuple[Image, Mask]:
    size, unit = (view.height, view.width), view.unit
    look = who.palette
    wide = 1.0 if who is MIRA else 1.28
    half = [
        (-0.155, 0.3),
        (-0.15, 0.62),
        (-0.165, 0.78),
        (-0.25, 0.9),
        (-0.5, 0.985),
        (-0.74, 1.08),
        (-0.9, 1.35),
        (-1.0, 2.6),
    ]
    left = [(x * wide, y) for x, y in half]
    outline = curve(left + mirror_guide(left)[::-1], 10)
    mask = area(size, view.pixels(outline), 0.003 * unit)
    x, y = view.grid()
    lit = 0.78 - 0.55 * np.clip((x + 0.06) / (0.2 * wide), -0.4, 1.2) * spots(x, y, 0, 0.6, 2, 0.2)
    lit = lit + 0.1 * spots(x, y, -0.2, 1.1, 0.3, 0.15) - 0.12 * (x > 0) * np.clip(x, 0, 1)
    image = ramp(
        lit.astype(np.float32),
        [(0, look.deep), (0.35, look.dark), (0.65, look.mid), (1, look.light)],
    )
    chin = view.pixels(
        curve([(-0.3, 0.3), (-0.27, 0.62), (0.03, 0.93), (0.28, 0.66), (0.3, 0.3)], 12)
    )
    shade(image, look.deep, area(size, chin, 0.03 * unit), 0.95)
    for sign in (-1, 1):
        cord = view.pixels(
            curve([(sign * 0.15 * wide, 0.66), (sign * 0.09, 0.9), (sign * 0.04, 1.0)], 10)
        )
        shade(image, look.dark, ribbon(size, cord, 0.03 * unit, 0.012 * unit), 0.5)
        bone = view.pixels(
            curve([(sign * 0.05, 1.02), (sign * 0.25, 0.985), (sign * 0.5, 1.04)], 10)
        )
        shade(
            image,
            look.dark,
            ribbon(size, bone + np.array([0, 0.02 * unit]), 0.03 * unit, 0.012 * unit),
            0.55,
        )
        tint(image, look.light, ribbon(size, bone, 0.018 * unit, 0.008 * unit), 0.55)
    return image, mask


def _garment(view: View, colour: Colour, rng: np.random.Generator) -> Image:
    """Cloth with folds that fall from the shoulders."""
    size, unit = (view.height, view.width), view.unit
    image = np.ones((*size, 3), np.float32) * np.array(colour, np.float32)
    x, y = view.grid()
    shade(image, (0.35, 0.35, 0.45), np.clip((x + 0.25) / 1.3, 0, 1).astype(np.float32), 0.8)
    tint(image, (1, 0.95, 0.82), spots(x, y, -0.62, 1.12, 0.16, 0.1), 0.3)
    for _ in range(15):
        sx, sy = rng.uniform(-0.85, 0.85), rng.uniform(1.0, 1.3)
        fold = curve(
            [
                (sx, sy),
                (sx * 0.9 + rng.normal(0, 0.04), sy + 0.25),
                (sx * 0.72 + rng.normal(0, 0.06), sy + 0.6),
            ],
            12,
        )
        mask = ribbon(size, view.pixels(fold), rng.uniform(0.03, 0.07) * unit, 0.014 * unit)
        if rng.random() < 0.6:
            shade(image, (0.42, 0.42, 0.5), mask, 0.5)
        else:
            tint(image, (1, 0.96, 0.86), mask, 0.16)
    return image


def mira_body(view: View) -> Cloth:
    """Neck and shoulders in a teal dress with a cream hem and a pendant."""
    rng = np.random.default_rng(MIRA.seed + 1)
    size, unit = (view.height, view.width), view.unit
    image, mask = _neck(view, MIRA)
    neckline = [
        (-0.62, 1.0),
        (-0.52, 1.1),
        (-0.3, 1.24),
        (0.0, 1.3),
        (0.3, 1.24),
        (0.52, 1.1),
        (0.62, 1.0),
    ]
    edge = curve(neckline, 12)
    below = np.concatenate([edge, [(1.3, 1.0), (1.3, 3), (-1.3, 3), (-1.3, 1.0)]])
    dress_mask = area(size, view.pixels(below), 1)
    shade(image, MIRA.palette.dark, area(size, view.pixels(below - [0, 0.035]), 0.02 * unit), 0.6)
    dress = _garment(view, rgb("#1f6a70"), rng)
    image = image + (dress - image) * dress_mask[:, :, None]
    hem = view.pixels(edge)
    cream = ribbon(size, hem, np.full(len(hem), 0.045 * unit), 1)
    tint(image, rgb("#eadcbc"), cream, 1.0)
    shade(
        image,
        rgb("#a98f63"),
        ribbon(
            size, hem + np.array([0, 0.014 * unit]), np.full(len(hem), 0.015 * unit), 0.005 * unit
        ),
        0.55,
    )
    chain = view.pixels(
        curve([(-0.2, 0.87), (-0.13, 1.0), (0.0, 1.1), (0.13, 1.0), (0.2, 0.87)], 14)
    )
    tint(image, rgb("#d9a441"), ribbon(size, chain, np.full(len(chain), 0.008 * unit), 0.6), 0.95)
    x, y = view.grid()
    drop = view.pixels(
        curve([(0, 1.085), (0.022, 1.125), (0, 1.155), (-0.022, 1.125)], 10, closed=True)
    )
    tint(image, rgb("#2f8f83"), area(size, drop, 1), 1.0)
    tint(image, (1, 1, 1), spots(x, y, -0.006, 1.113, 0.004, 0.006), 0.9)
    image = paint_over(
        image,
        rng,
        length=0.06 * unit,
        width=max(2, round(0.012 * unit)),
        count=9000,
        jitter=0.012,
        where=dress_mask * (1 - cream),
    )
    return Cloth(layer(image, mask), _still, far)


def teo_body(view: View) -> Cloth:
    """Neck and shoulders in a mustard hooded sweater over a white shirt."""
    rng = np.random.default_rng(TEO.seed + 1)
    size, unit = (view.height, view.width), view.unit
    image, mask = _neck(view, TEO)
    sweater = _garment(view, rgb("#d99a2b"), rng)
    shirt_edge = curve([(-0.3, 0.86), (-0.18, 0.98), (0, 1.02), (0.18, 0.98), (0.3, 0.86)], 12)
    under = np.concatenate([shirt_edge, [(1.4, 0.86), (1.4, 3), (-1.4, 3), (-1.4, 0.86)]])
    tint(image, rgb("#e9e6df"), area(size, view.pixels(under), 1), 1.0)
    edge = curve([(-0.36, 0.8), (-0.22, 0.98), (0, 1.13), (0.22, 0.98), (0.36, 0.8)], 12)
    below = np.concatenate([edge, [(1.4, 0.8), (1.4, 3), (-1.4, 3), (-1.4, 0.8)]])
    cover = area(size, view.pixels(below), 1)
    shade(image, (0.5, 0.45, 0.45), area(size, view.pixels(below - [0, 0.02]), 0.015 * unit), 0.7)
    image = image + (sweater - image) * cover[:, :, None]
    shoulders = area(
        size,
        view.pixels(
            curve(
                [
                    (-0.3, 0.74),
                    (-0.42, 0.86),
                    (-0.72, 1.0),
                    (-1.0, 1.13),
                    (-1.13, 1.5),
                    (-1.25, 3),
                    (1.25, 3),
                    (1.13, 1.5),
                    (1.0, 1.13),
                    (0.72, 1.0),
                    (0.42, 0.86),
                    (0.3, 0.74),
                ],
                8,
            )
        ),
        1,
    )
    mask = np.maximum(mask, shoulders * cover)
    collar = view.pixels(edge)
    for width, colour, shift in ((0.12, "#b8791c", 0.03), (0.085, "#e2a63b", 0.015)):
        roll = ribbon(
            size, collar + np.array([0, shift * unit]), np.full(len(collar), width * unit), 1.5
        )
        tint(image, rgb(colour), roll, 1.0)
        mask = np.maximum(mask, roll)
    for sign in (-1, 1):
        cord = view.pixels(
            curve([(sign * 0.12, 1.09), (sign * 0.14, 1.25), (sign * 0.12, 1.5)], 10)
        )
        shade(
            image,
            (0.5, 0.4, 0.4),
            ribbon(
                size,
                cord + np.array([0.012 * unit, 0]),
                np.full(len(cord), 0.022 * unit),
                0.005 * unit,
            ),
            0.6,
        )
        tint(image, rgb("#f3ede0"), ribbon(size, cord, np.full(len(cord), 0.02 * unit), 0.6), 1.0)
    return Cloth(layer(image, mask), _still, far)
