"""The hair of the two characters, and Teo's headphones, as layers around the face."""

from __future__ import annotations

import cv2
import numpy as np

from tests.make_demo.brush import (
    Image,
    Mask,
    area,
    curve,
    layer,
    ramp,
    rgb,
    ribbon,
    shade,
    spots,
)
from tests.make_demo.character import MIRA, TEO, Palette
from tests.make_demo.figure import Cloth
from tests.make_demo.guide import Guide, far, mirror_guide
from tests.make_demo.mesh import Layer, View
from tests.make_demo.shape import Shape, smoothstep


def _long_hair(x: Shape, y: Shape) -> Shape:
    return 1 - 0.85 * smoothstep(0.55, 1.05, y)


def _whole(x: Shape, y: Shape) -> Shape:
    return np.ones_like(x)


def _round(x: Shape, y: Shape) -> Shape:
    return 0.0 + 0.45 * np.clip((x / 0.5) ** 2, 0, 1.2) + 0.2 * np.clip(-y - 0.3, 0, 1)


def _strands(
    canvas: Layer,
    view: View,
    first: Guide,
    last: Guide,
    look: Palette,
    count: int,
    wave: float,
    rng: np.random.Generator,
    light: float = 1.0,
) -> None:
    """Comb strands between two guide lines, dark ones first, onto a premultiplied layer."""
    a, b = curve(first, 14), curve(last, 14)
    t = np.linspace(0, 1, 60)
    a, b = (
        np.stack([np.interp(t, np.linspace(0, 1, len(g)), g[:, i]) for i in (0, 1)], 1)
        for g in (a, b)
    )
    for i in range(count):
        share = rng.uniform(0, 1)
        line = a * (1 - share) + b * share
        phase = 9.5 * t + 2.2 * share + rng.normal(0, 0.18)
        line = line + wave * (t**1.3)[:, None] * np.stack([np.sin(phase), 0.25 * np.cos(phase)], 1)
        # Locks gather towards their ends.
        pull = 0.5 * np.clip((t - 0.7) / 0.3, 0, 1)[:, None] ** 1.5
        lock = (np.floor(share * 7) + 0.5) / 7
        line = line * (1 - pull) + pull * (
            line + (a * (1 - lock) + b * lock) - (a * (1 - share) + b * share)
        )
        start = rng.uniform(0, 0.25) if i > count * 0.4 else 0.0
        stop = 1 - 0.3 * rng.random() ** 1.6
        piece = line[int(start * 59) : int(stop * 59) + 1]
        depth = i / count
        gleam = np.exp(-(((t - 0.2 - 0.05 * np.sin(6 * share)) / 0.09) ** 2)) * 0.75
        gleam += 0.5 * np.exp(-(((np.sin(phase) - 0.85) / 0.4) ** 2)) * (t > 0.3)
        bright = np.clip(0.12 + 0.55 * depth * rng.uniform(0.5, 1.0) + 0.5 * depth * gleam, 0, 1)
        side = 1 - 0.35 * np.abs(share - 0.55)
        colours = (
            ramp(
                (bright * side * light).astype(np.float32)[None],
                [(0, look.hair_dark), (0.5, look.hair_mid), (1, look.hair_light)],
            )[0]
            * 255
        )
        width = rng.uniform(0.006, 0.017) * (1.25 - 0.6 * depth) * view.unit
        pixels = np.round(view.pixels(piece) * 16).astype(int)
        for k in range(len(piece) - 1):
            at = k + int(start * 59)
            taper = min(1.0, 4 * (1 - k / len(piece)))
            cv2.line(
                canvas,
                tuple(pixels[k]),
                tuple(pixels[k + 1]),
                (*colours[at].tolist(), 255.0),
                max(1, round(width * taper)),
                cv2.LINE_AA,
                4,
            )


def _blank(view: View) -> Layer:
    return np.zeros((view.height, view.width, 4), np.uint8)


def mira_hair(view: View) -> tuple[Cloth, Cloth]:
    """Long auburn waves, parted at the side: what hangs behind the neck, and before the face."""
    rng = np.random.default_rng(MIRA.seed)
    look = MIRA.palette
    size = (view.height, view.width)
    outline = [
        (0, -0.5),
        (-0.3, -0.45),
        (-0.49, -0.2),
        (-0.53, 0.2),
        (-0.55, 0.6),
        (-0.6, 0.9),
        (-0.45, 1.2),
        (0, 1.15),
        (0.45, 1.2),
        (0.6, 0.9),
        (0.55, 0.6),
        (0.53, 0.2),
        (0.49, -0.2),
        (0.3, -0.45),
    ]
    back = layer(
        np.ones((*size, 3), np.float32) * np.array(look.hair_dark, np.float32) * 0.8,
        area(size, view.pixels(curve(outline, 10, closed=True)), 2),
    )
    edge: Guide = [
        (-0.1, -0.5),
        (-0.42, -0.3),
        (-0.52, 0.1),
        (-0.52, 0.5),
        (-0.6, 0.85),
        (-0.62, 1.2),
    ]
    inner: Guide = [
        (-0.05, -0.5),
        (-0.2, -0.3),
        (-0.26, 0.1),
        (-0.2, 0.5),
        (-0.26, 0.9),
        (-0.3, 1.25),
    ]
    for mirror in (False, True):
        g = [mirror_guide(x) if mirror else x for x in (inner, edge)]
        _strands(back, view, g[0], g[1], look, 330, 0.03, rng, 0.6)
    front = _blank(view)
    left_in: Guide = [
        (0.06, -0.36),
        (-0.08, -0.27),
        (-0.22, -0.14),
        (-0.335, 0.02),
        (-0.345, 0.3),
        (-0.33, 0.6),
        (-0.42, 0.85),
        (-0.34, 1.18),
    ]
    left_out: Guide = [
        (0.1, -0.5),
        (-0.14, -0.55),
        (-0.42, -0.4),
        (-0.53, -0.05),
        (-0.55, 0.3),
        (-0.6, 0.65),
        (-0.68, 0.9),
        (-0.58, 1.3),
    ]
    right_in: Guide = [
        (0.07, -0.36),
        (0.15, -0.28),
        (0.245, -0.15),
        (0.335, 0.02),
        (0.345, 0.3),
        (0.33, 0.6),
        (0.42, 0.85),
        (0.36, 1.16),
    ]
    right_out: Guide = [
        (0.09, -0.5),
        (0.24, -0.54),
        (0.44, -0.38),
        (0.53, -0.05),
        (0.55, 0.3),
        (0.6, 0.65),
        (0.67, 0.9),
        (0.57, 1.28),
    ]
    for inside, outside in ((right_in, right_out), (left_in, left_out)):
        _strands(front, view, inside, outside, look, 560, 0.034, rng)
    return Cloth(back, _long_hair, far), Cloth(front, _long_hair, _round)


def teo_hair(view: View) -> tuple[Cloth, Cloth]:
    """Short dark curls under a pair of headphones."""
    rng = np.random.default_rng(TEO.seed)
    look, unit = TEO.palette, view.unit
    size = (view.height, view.width)
    outer = [
        (-0.41, 0.08),
        (-0.46, -0.12),
        (-0.47, -0.34),
        (-0.36, -0.53),
        (-0.15, -0.63),
        (0.1, -0.64),
        (0.33, -0.55),
        (0.47, -0.36),
        (0.46, -0.12),
        (0.41, 0.08),
    ]
    inner = [
        (0.375, 0.0),
        (0.355, -0.16),
        (0.28, -0.27),
        (0.1, -0.31),
        (-0.1, -0.29),
        (-0.28, -0.28),
        (-0.355, -0.16),
        (-0.375, 0.0),
    ]
    mask = area(size, view.pixels(np.concatenate([curve(outer, 8), curve(inner, 8)])), 1.5)
    front = layer(np.ones((*size, 3), np.float32) * np.array(look.hair_dark, np.float32), mask)
    grown = cv2.dilate(mask, np.ones((3, 3), np.uint8), iterations=max(1, int(0.008 * unit)))
    _curls(front, view, grown, look, rng)
    back_outline = view.pixels(
        curve(
            [
                (0, -0.6),
                (-0.42, -0.4),
                (-0.42, 0.1),
                (-0.2, 0.28),
                (0.2, 0.28),
                (0.42, 0.1),
                (0.42, -0.4),
            ],
            10,
            closed=True,
        )
    )
    back = layer(
        np.ones((*size, 3), np.float32) * np.array(look.hair_dark, np.float32),
        area(size, back_outline, 2),
    )
    _headphones(front, view)
    return Cloth(back, _whole, far), Cloth(front, _whole, _round)


def _curls(canvas: Layer, view: View, mask: Mask, look: Palette, rng: np.random.Generator) -> None:
    ys, xs = np.nonzero(mask > 0.5)
    pick = rng.integers(0, len(ys), 620)
    for i, k in enumerate(pick):
        radius = rng.uniform(0.018, 0.042) * view.unit
        begin, turn = rng.uniform(0, 360), rng.uniform(150, 290)
        height = 1 - (ys[k] - ys.min()) / (ys.max() - ys.min())
        lit = 0.5 - 0.5 * (xs[k] - view.x) / (0.5 * view.unit)
        bright = np.clip(
            0.1 + 0.75 * (i / 620) * (0.25 + 0.5 * height + 0.35 * lit) * rng.uniform(0.3, 1.1),
            0,
            1,
        )
        colour = (
            ramp(
                np.array([[bright]], np.float32),
                [(0, look.hair_dark), (0.5, look.hair_mid), (1, look.hair_light)],
            )[0, 0]
            * 255
        )
        centre = (int(xs[k] * 16), int(ys[k] * 16))
        axes = (int(radius * 16), int(radius * rng.uniform(0.5, 0.9) * 16))
        cv2.ellipse(
            canvas,
            centre,
            axes,
            rng.uniform(0, 180),
            begin,
            begin + turn,
            (*colour.tolist(), 255.0),
            max(1, round(0.0085 * view.unit)),
            cv2.LINE_AA,
            4,
        )


def _stamp(canvas: Layer, image: Image, mask: Mask) -> None:
    """Lay a picture through a mask over a premultiplied layer, in place."""
    above = layer(image, mask).astype(np.float32)
    keep = 1 - above[:, :, 3:] / 255
    canvas[:] = np.clip(canvas * keep + above + 0.5, 0, 255).astype(np.uint8)


def _headphones(canvas: Layer, view: View) -> None:
    size, unit = (view.height, view.width), view.unit
    x, y = view.grid()
    body = np.ones((*size, 3), np.float32) * np.array(rgb("#e9e4da"), np.float32)
    shade(
        body, rgb("#8a8f9c"), smoothstep(-0.25, 0.5, x.astype(np.float64)).astype(np.float32), 0.8
    )
    band = curve(
        [
            (-0.485, 0.06),
            (-0.5, -0.25),
            (-0.36, -0.55),
            (0, -0.69),
            (0.36, -0.55),
            (0.5, -0.25),
            (0.485, 0.06),
        ],
        16,
    )
    line = view.pixels(band)
    _stamp(canvas, body * 0.72, ribbon(size, line, np.full(len(line), 0.058 * unit), 1))
    _stamp(
        canvas, body, ribbon(size, line - [0, 0.006 * unit], np.full(len(line), 0.036 * unit), 1)
    )
    for sign in (-1, 1):
        angle = np.linspace(0, 2 * np.pi, 60)
        for at, rx, ry, colour in (
            (0.435, 0.05, 0.125, "#2c2f3a"),
            (0.475, 0.058, 0.135, "#d9d3c7"),
            (0.487, 0.036, 0.1, "#e4744f"),
        ):
            cup = np.stack([sign * at + rx * np.cos(angle), 0.1 + ry * np.sin(angle)], 1)
            image = np.ones((*size, 3), np.float32) * np.array(rgb(colour), np.float32)
            shade(
                image, (0.5, 0.5, 0.6), 1 - spots(x, y, sign * at - 0.015, 0.05, 0.04, 0.08), 0.45
            )
            _stamp(canvas, image, area(size, view.pixels(cup), 0.8))
