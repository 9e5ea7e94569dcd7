"""Hair, clothes and rooms of the two characters, as layers around the face."""

from __future__ import annotations

import cv2
import numpy as np

from tests.make_demo.brush import (
    Colour, Image, Mask, area, blur, curve, layer, paint_over, ramp, rgb, ribbon, shade, spots,
    tint,
)
from tests.make_demo.character import MIRA, TEO, Character, Palette
from tests.make_demo.figure import Cloth
from tests.make_demo.mesh import Layer, View
from tests.make_demo.shape import Shape, smoothstep

Guide = list[tuple[float, float]]


def _still(x: Shape, y: Shape) -> Shape:
    """A body's share of the head's movement: the neck follows, the shoulders hardly."""
    return 0.75 * (1 - smoothstep(0.55, 1.0, y)) + 0.06


def _long_hair(x: Shape, y: Shape) -> Shape:
    return 1 - 0.85 * smoothstep(0.55, 1.05, y)


def _whole(x: Shape, y: Shape) -> Shape:
    return np.ones_like(x)


def _round(x: Shape, y: Shape) -> Shape:
    return 0.0 + 0.45 * np.clip((x / 0.5) ** 2, 0, 1.2) + 0.2 * np.clip(-y - 0.3, 0, 1)


def _far(x: Shape, y: Shape) -> Shape:
    return np.full_like(x, 0.45)


def _strands(canvas: Layer, view: View, first: Guide, last: Guide, look: Palette, count: int,
             wave: float, rng: np.random.Generator, light: float = 1.0) -> None:
    """Comb strands between two guide lines, dark ones first, onto a premultiplied layer."""
    a, b = curve(first, 14), curve(last, 14)
    t = np.linspace(0, 1, 60)
    a, b = (np.stack([np.interp(t, np.linspace(0, 1, len(g)), g[:, i]) for i in (0, 1)], 1)
            for g in (a, b))
    for i in range(count):
        share = rng.uniform(0, 1)
        line = a * (1 - share) + b * share
        phase = 9.5 * t + 2.2 * share + rng.normal(0, 0.18)
        line = line + wave * (t**1.3)[:, None] * np.stack([np.sin(phase), 0.25 * np.cos(phase)], 1)
        # Locks gather towards their ends.
        pull = 0.5 * np.clip((t - 0.7) / 0.3, 0, 1)[:, None] ** 1.5
        lock = (np.floor(share * 7) + 0.5) / 7
        line = line * (1 - pull) + pull * (line + (a * (1 - lock) + b * lock) - (a * (1 - share) + b * share))
        start = rng.uniform(0, 0.25) if i > count * 0.4 else 0.0
        stop = 1 - 0.3 * rng.random() ** 1.6
        piece = line[int(start * 59) : int(stop * 59) + 1]
        depth = i / count
        gleam = np.exp(-(((t - 0.2 - 0.05 * np.sin(6 * share)) / 0.09) ** 2)) * 0.75
        gleam += 0.5 * np.exp(-(((np.sin(phase) - 0.85) / 0.4) ** 2)) * (t > 0.3)
        bright = np.clip(0.12 + 0.55 * depth * rng.uniform(0.5, 1.0) + 0.5 * depth * gleam, 0, 1)
        side = 1 - 0.35 * np.abs(share - 0.55)
        colours = ramp((bright * side * light).astype(np.float32)[None],
                       [(0, look.hair_dark), (0.5, look.hair_mid), (1, look.hair_light)])[0] * 255
        width = rng.uniform(0.006, 0.017) * (1.25 - 0.6 * depth) * view.unit
        pixels = np.round(view.pixels(piece) * 16).astype(int)
        for k in range(len(piece) - 1):
            at = k + int(start * 59)
            taper = min(1.0, 4 * (1 - k / len(piece)))
            cv2.line(canvas, tuple(pixels[k]), tuple(pixels[k + 1]),
                     (*colours[at].tolist(), 255.0), max(1, round(width * taper)), cv2.LINE_AA, 4)


def _blank(view: View) -> Layer:
    return np.zeros((view.height, view.width, 4), np.uint8)


def _mirror(guide: Guide) -> Guide:
    return [(-x, y) for x, y in guide]


def mira_hair(view: View) -> tuple[Cloth, Cloth]:
    """Long auburn waves, parted at the side: what hangs behind the neck, and before the face."""
    rng = np.random.default_rng(MIRA.seed)
    look = MIRA.palette
    size = (view.height, view.width)
    outline = [(0, -0.5), (-0.3, -0.45), (-0.49, -0.2), (-0.53, 0.2), (-0.55, 0.6), (-0.6, 0.9),
               (-0.45, 1.2), (0, 1.15), (0.45, 1.2), (0.6, 0.9), (0.55, 0.6), (0.53, 0.2),
               (0.49, -0.2), (0.3, -0.45)]
    back = layer(np.ones((*size, 3), np.float32) * np.array(look.hair_dark, np.float32) * 0.8,
                 area(size, view.pixels(curve(outline, 10, closed=True)), 2))
    edge: Guide = [(-0.1, -0.5), (-0.42, -0.3), (-0.52, 0.1), (-0.52, 0.5), (-0.6, 0.85),
                   (-0.62, 1.2)]
    inner: Guide = [(-0.05, -0.5), (-0.2, -0.3), (-0.26, 0.1), (-0.2, 0.5), (-0.26, 0.9),
                    (-0.3, 1.25)]
    for mirror in (False, True):
        g = [_mirror(x) if mirror else x for x in (inner, edge)]
        _strands(back, view, g[0], g[1], look, 330, 0.03, rng, 0.6)
    front = _blank(view)
    left_in: Guide = [(0.06, -0.36), (-0.08, -0.27), (-0.22, -0.14), (-0.335, 0.02), (-0.345, 0.3),
                      (-0.33, 0.6), (-0.42, 0.85), (-0.34, 1.18)]
    left_out: Guide = [(0.1, -0.5), (-0.14, -0.55), (-0.42, -0.4), (-0.53, -0.05), (-0.55, 0.3),
                       (-0.6, 0.65), (-0.68, 0.9), (-0.58, 1.3)]
    right_in: Guide = [(0.07, -0.36), (0.15, -0.28), (0.245, -0.15), (0.335, 0.02), (0.345, 0.3),
                       (0.33, 0.6), (0.42, 0.85), (0.36, 1.16)]
    right_out: Guide = [(0.09, -0.5), (0.24, -0.54), (0.44, -0.38), (0.53, -0.05), (0.55, 0.3),
                        (0.6, 0.65), (0.67, 0.9), (0.57, 1.28)]
    for inside, outside in ((right_in, right_out), (left_in, left_out)):
        _strands(front, view, inside, outside, look, 560, 0.034, rng)
    return Cloth(back, _long_hair, _far), Cloth(front, _long_hair, _round)


def teo_hair(view: View) -> tuple[Cloth, Cloth]:
    """Short dark curls under a pair of headphones."""
    rng = np.random.default_rng(TEO.seed)
    look, unit = TEO.palette, view.unit
    size = (view.height, view.width)
    outer = [(-0.41, 0.08), (-0.46, -0.12), (-0.47, -0.34), (-0.36, -0.53), (-0.15, -0.63),
             (0.1, -0.64), (0.33, -0.55), (0.47, -0.36), (0.46, -0.12), (0.41, 0.08)]
    inner = [(0.375, 0.0), (0.355, -0.16), (0.28, -0.27), (0.1, -0.31), (-0.1, -0.29),
             (-0.28, -0.28), (-0.355, -0.16), (-0.375, 0.0)]
    mask = area(size, view.pixels(np.concatenate([curve(outer, 8), curve(inner, 8)])), 1.5)
    front = layer(np.ones((*size, 3), np.float32) * np.array(look.hair_dark, np.float32), mask)
    grown = cv2.dilate(mask, np.ones((3, 3), np.uint8), iterations=max(1, int(0.008 * unit)))
    _curls(front, view, grown, look, rng)
    back_outline = view.pixels(curve([(0, -0.6), (-0.42, -0.4), (-0.42, 0.1), (-0.2, 0.28),
                                      (0.2, 0.28), (0.42, 0.1), (0.42, -0.4)], 10, closed=True))
    back = layer(np.ones((*size, 3), np.float32) * np.array(look.hair_dark, np.float32),
                 area(size, back_outline, 2))
    _headphones(front, view)
    return Cloth(back, _whole, _far), Cloth(front, _whole, _round)


def _curls(canvas: Layer, view: View, mask: Mask, look: Palette, rng: np.random.Generator) -> None:
    ys, xs = np.nonzero(mask > 0.5)
    pick = rng.integers(0, len(ys), 620)
    for i, k in enumerate(pick):
        radius = rng.uniform(0.018, 0.042) * view.unit
        begin, turn = rng.uniform(0, 360), rng.uniform(150, 290)
        height = 1 - (ys[k] - ys.min()) / (ys.max() - ys.min())
        lit = 0.5 - 0.5 * (xs[k] - view.x) / (0.5 * view.unit)
        bright = np.clip(0.1 + 0.75 * (i / 620) * (0.25 + 0.5 * height + 0.35 * lit)
                         * rng.uniform(0.3, 1.1), 0, 1)
        colour = ramp(np.array([[bright]], np.float32),
                      [(0, look.hair_dark), (0.5, look.hair_mid), (1, look.hair_light)])[0, 0] * 255
        centre = (int(xs[k] * 16), int(ys[k] * 16))
        axes = (int(radius * 16), int(radius * rng.uniform(0.5, 0.9) * 16))
        cv2.ellipse(canvas, centre, axes, rng.uniform(0, 180), begin, begin + turn,
                    (*colour.tolist(), 255.0), max(1, round(0.0085 * view.unit)), cv2.LINE_AA, 4)


def _stamp(canvas: Layer, image: Image, mask: Mask) -> None:
    """Lay a picture through a mask over a premultiplied layer, in place."""
    above = layer(image, mask).astype(np.float32)
    keep = 1 - above[:, :, 3:] / 255
    canvas[:] = np.clip(canvas * keep + above + 0.5, 0, 255).astype(np.uint8)


def _headphones(canvas: Layer, view: View) -> None:
    size, unit = (view.height, view.width), view.unit
    x, y = view.grid()
    body = np.ones((*size, 3), np.float32) * np.array(rgb("#e9e4da"), np.float32)
    shade(body, rgb("#8a8f9c"), smoothstep(-0.25, 0.5, x.astype(np.float64)).astype(np.float32), 0.8)
    band = curve([(-0.485, 0.06), (-0.5, -0.25), (-0.36, -0.55), (0, -0.69), (0.36, -0.55),
                  (0.5, -0.25), (0.485, 0.06)], 16)
    line = view.pixels(band)
    _stamp(canvas, body * 0.72, ribbon(size, line, np.full(len(line), 0.058 * unit), 1))
    _stamp(canvas, body, ribbon(size, line - [0, 0.006 * unit], np.full(len(line), 0.036 * unit), 1))
    for sign in (-1, 1):
        angle = np.linspace(0, 2 * np.pi, 60)
        for at, rx, ry, colour in ((0.435, 0.05, 0.125, "#2c2f3a"), (0.475, 0.058, 0.135, "#d9d3c7"),
                                   (0.487, 0.036, 0.1, "#e4744f")):
            cup = np.stack([sign * at + rx * np.cos(angle), 0.1 + ry * np.sin(angle)], 1)
            image = np.ones((*size, 3), np.float32) * np.array(rgb(colour), np.float32)
            shade(image, (0.5, 0.5, 0.6), 1 - spots(x, y, sign * at - 0.015, 0.05, 0.04, 0.08), 0.45)
            _stamp(canvas, image, area(size, view.pixels(cup), 0.8))


def _neck(view: View, who: Character) -> tuple[Image, Mask]:
    size, unit = (view.height, view.width), view.unit
    look = who.palette
    wide = 1.0 if who is MIRA else 1.28
    half = [(-0.155, 0.3), (-0.15, 0.62), (-0.165, 0.78), (-0.25, 0.9), (-0.5, 0.985),
            (-0.74, 1.08), (-0.9, 1.35), (-1.0, 2.6)]
    left = [(x * wide, y) for x, y in half]
    outline = curve(left + _mirror(left)[::-1], 10)
    mask = area(size, view.pixels(outline), 0.003 * unit)
    x, y = view.grid()
    lit = 0.78 - 0.55 * np.clip((x + 0.06) / (0.2 * wide), -0.4, 1.2) * spots(x, y, 0, 0.6, 2, 0.2)
    lit = lit + 0.1 * spots(x, y, -0.2, 1.1, 0.3, 0.15) - 0.12 * (x > 0) * np.clip(x, 0, 1)
    image = ramp(lit.astype(np.float32), [(0, look.deep), (0.35, look.dark), (0.65, look.mid),
                                          (1, look.light)])
    chin = view.pixels(curve([(-0.3, 0.3), (-0.27, 0.62), (0.03, 0.93), (0.28, 0.66), (0.3, 0.3)], 12))
    shade(image, look.deep, area(size, chin, 0.03 * unit), 0.95)
    for sign in (-1, 1):
        cord = view.pixels(curve([(sign * 0.15 * wide, 0.66), (sign * 0.09, 0.9), (sign * 0.04, 1.0)], 10))
        shade(image, look.dark, ribbon(size, cord, 0.03 * unit, 0.012 * unit), 0.5)
        bone = view.pixels(curve([(sign * 0.05, 1.02), (sign * 0.25, 0.985), (sign * 0.5, 1.04)], 10))
        shade(image, look.dark, ribbon(size, bone + [0, 0.02 * unit], 0.03 * unit, 0.012 * unit), 0.55)
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
        fold = curve([(sx, sy), (sx * 0.9 + rng.normal(0, 0.04), sy + 0.25),
                      (sx * 0.72 + rng.normal(0, 0.06), sy + 0.6)], 12)
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
    neckline = [(-0.62, 1.0), (-0.52, 1.1), (-0.3, 1.24), (0.0, 1.3), (0.3, 1.24), (0.52, 1.1),
                (0.62, 1.0)]
    edge = curve(neckline, 12)
    below = np.concatenate([edge, [(1.3, 1.0), (1.3, 3), (-1.3, 3), (-1.3, 1.0)]])
    dress_mask = area(size, view.pixels(below), 1)
    shade(image, MIRA.palette.dark, area(size, view.pixels(below - [0, 0.035]), 0.02 * unit), 0.6)
    dress = _garment(view, rgb("#1f6a70"), rng)
    image = image + (dress - image) * dress_mask[:, :, None]
    hem = view.pixels(edge)
    cream = ribbon(size, hem, np.full(len(hem), 0.045 * unit), 1)
    tint(image, rgb("#eadcbc"), cream, 1.0)
    shade(image, rgb("#a98f63"), ribbon(size, hem + [0, 0.014 * unit], np.full(len(hem), 0.015 * unit),
                                        0.005 * unit), 0.55)
    chain = view.pixels(curve([(-0.2, 0.87), (-0.13, 1.0), (0.0, 1.1), (0.13, 1.0), (0.2, 0.87)], 14))
    tint(image, rgb("#d9a441"), ribbon(size, chain, np.full(len(chain), 0.008 * unit), 0.6), 0.95)
    x, y = view.grid()
    drop = view.pixels(curve([(0, 1.085), (0.022, 1.125), (0, 1.155), (-0.022, 1.125)], 10, closed=True))
    tint(image, rgb("#2f8f83"), area(size, drop, 1), 1.0)
    tint(image, (1, 1, 1), spots(x, y, -0.006, 1.113, 0.004, 0.006), 0.9)
    image = paint_over(image, rng, length=0.06 * unit, width=max(2, round(0.012 * unit)), count=9000,
                       jitter=0.012, where=dress_mask * (1 - cream))
    return Cloth(layer(image, mask), _still, _far)


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
    shoulders = area(size, view.pixels(curve(
        [(-0.3, 0.74), (-0.42, 0.86), (-0.72, 1.0), (-1.0, 1.13), (-1.13, 1.5), (-1.25, 3), (1.25, 3),
         (1.13, 1.5), (1.0, 1.13), (0.72, 1.0), (0.42, 0.86), (0.3, 0.74)], 8)), 1)
    mask = np.maximum(mask, shoulders * cover)
    collar = view.pixels(edge)
    for width, colour, shift in ((0.12, "#b8791c", 0.03), (0.085, "#e2a63b", 0.015)):
        roll = ribbon(size, collar + [0, shift * unit], np.full(len(collar), width * unit), 1.5)
        tint(image, rgb(colour), roll, 1.0)
        mask = np.maximum(mask, roll)
    for sign in (-1, 1):
        cord = view.pixels(curve([(sign * 0.12, 1.09), (sign * 0.14, 1.25), (sign * 0.12, 1.5)], 10))
        shade(image, (0.5, 0.4, 0.4), ribbon(size, cord + [0.012 * unit, 0], np.full(len(cord),
                                             0.022 * unit), 0.005 * unit), 0.6)
        tint(image, rgb("#f3ede0"), ribbon(size, cord, np.full(len(cord), 0.02 * unit), 0.6), 1.0)
    return Cloth(layer(image, mask), _still, _far)


def mira_backdrop(view: View) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """An old master's dusk: olive and amber in broad strokes."""
    rng = np.random.default_rng(5)
    x, y = view.grid()
    glow = spots(x, y, -0.35, -0.1, 0.75, 0.85)
    image = ramp(glow, [(0, rgb("#24302f")), (0.45, rgb("#4d5a48")), (0.8, rgb("#a08a57")),
                        (1, rgb("#cfae70"))])
    for _ in range(60):
        tint(image, rgb(str(rng.choice(["#6f7a55", "#b98f55", "#39474a", "#8d6a46"]))),
             spots(x, y, rng.uniform(-1.2, 1.2), rng.uniform(-1, 2), rng.uniform(0.05, 0.2),
                   rng.uniform(0.05, 0.2)), 0.28)
    image = paint_over(image, rng, length=0.2 * view.unit, width=round(0.05 * view.unit), count=2600,
                       jitter=0.022, flow=-0.9)
    image = paint_over(image, rng, length=0.12 * view.unit, width=round(0.022 * view.unit),
                       count=5000, jitter=0.016, flow=-0.7)
    return np.asarray(np.clip(image, 0, 1) * 255, np.uint8)


def teo_room(view: View) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """A home office out of focus: a window, a shelf with books, a plant."""
    rng = np.random.default_rng(9)
    size, unit = (view.height, view.width), view.unit
    x, y = view.grid()
    image = ramp(spots(x, y, -1.1, -0.2, 1.1, 1.2), [(0, rgb("#3f4a5c")), (1, rgb("#8d99a3"))])

    def box(x0: float, y0: float, x1: float, y1: float, colour: str, amount: float = 1.0) -> None:
        corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
        tint(image, rgb(colour), area(size, view.pixels(corners), 1), amount)

    box(-1.42, -0.8, -0.72, 0.55, "#ede6d6")
    box(-1.38, -0.76, -0.76, 0.5, "#bfe0ea")
    tint(image, rgb("#fdf6df"), spots(x, y, -1.05, -0.4, 0.2, 0.25), 0.7)
    box(-1.08, -0.76, -1.05, 0.5, "#ede6d6")
    for shelf in (0.02, 0.62):
        left = 0.74
        while left < 1.38:
            wide, tall = rng.uniform(0.045, 0.09), rng.uniform(0.24, 0.4)
            box(left, shelf - tall, left + wide * 0.92, shelf,
                str(rng.choice(["#b4553f", "#d9a84e", "#4f7f78", "#e6dcc6", "#5b4a6b", "#7c93a8"])))
            left += wide
        box(0.7, shelf, 1.6, shelf + 0.05, "#6b4a33")
    for _ in range(26):
        angle, far = rng.uniform(-2.8, -0.3), rng.uniform(0.15, 0.4)
        tip = np.array([-1.0 + far * np.cos(angle), 0.9 + far * np.sin(angle)])
        leaf = view.pixels(curve([(-1.0, 0.9), tuple((tip + [-1.0, 0.85]) / 2), tuple(tip)], 8))
        tint(image, rgb(str(rng.choice(["#3f7a4c", "#5f9a58", "#2d5c40"]))),
             ribbon(size, leaf, 0.07 * unit, 1), 1.0)
    box(-1.12, 0.9, -0.88, 1.3, "#c9704a")
    image = blur(image, 0.016 * unit)
    return np.asarray(np.clip(image, 0, 1) * 255, np.uint8)
