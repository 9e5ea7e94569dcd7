"""What lies behind the two characters."""

from __future__ import annotations

import numpy as np

from tests.make_demo.brush import (
    area,
    blur,
    curve,
    paint_over,
    ramp,
    rgb,
    ribbon,
    spots,
    tint,
)
from tests.make_demo.mesh import View


def mira_backdrop(view: View) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """An old master's dusk: olive and amber in broad strokes."""
    rng = np.random.default_rng(5)
    x, y = view.grid()
    glow = spots(x, y, -0.35, -0.1, 0.75, 0.85)
    image = ramp(
        glow,
        [(0, rgb("#24302f")), (0.45, rgb("#4d5a48")), (0.8, rgb("#a08a57")), (1, rgb("#cfae70"))],
    )
    for _ in range(60):
        tint(
            image,
            rgb(str(rng.choice(["#6f7a55", "#b98f55", "#39474a", "#8d6a46"]))),
            spots(
                x,
                y,
                rng.uniform(-1.2, 1.2),
                rng.uniform(-1, 2),
                rng.uniform(0.05, 0.2),
                rng.uniform(0.05, 0.2),
            ),
            0.28,
        )
    image = paint_over(
        image,
        rng,
        length=0.2 * view.unit,
        width=round(0.05 * view.unit),
        count=2600,
        jitter=0.022,
        flow=-0.9,
    )
    image = paint_over(
        image,
        rng,
        length=0.12 * view.unit,
        width=round(0.022 * view.unit),
        count=5000,
        jitter=0.016,
        flow=-0.7,
    )
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
            box(
                left,
                shelf - tall,
                left + wide * 0.92,
                shelf,
                str(rng.choice(["#b4553f", "#d9a84e", "#4f7f78", "#e6dcc6", "#5b4a6b", "#7c93a8"])),
            )
            left += wide
        box(0.7, shelf, 1.6, shelf + 0.05, "#6b4a33")
    for _ in range(26):
        angle, far = rng.uniform(-2.8, -0.3), rng.uniform(0.15, 0.4)
        tip = np.array([-1.0 + far * np.cos(angle), 0.9 + far * np.sin(angle)])
        leaf = view.pixels(
            curve([(-1.0, 0.9), tuple((tip + np.array([-1.0, 0.85])) / 2), tuple(tip)], 8)
        )
        tint(
            image,
            rgb(str(rng.choice(["#3f7a4c", "#5f9a58", "#2d5c40"]))),
            ribbon(size, leaf, 0.07 * unit, 1),
            1.0,
        )
    box(-1.12, 0.9, -0.88, 1.3, "#c9704a")
    image = blur(image, 0.016 * unit)
    return np.asarray(np.clip(image, 0, 1) * 255, np.uint8)
