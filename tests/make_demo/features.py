"""The moving parts drawn for each picture: eyeballs and mouth behind the skin, lashes before it."""

from __future__ import annotations

import cv2
import numpy as np

from tests.make_demo.brush import Image, Mask, area, blur, curve, ribbon, shade, spots, tint
from tests.make_demo.character import Character
from tests.make_demo.mesh import View
from tests.make_demo.shape import Shape
from tests.make_demo.topology import EYES, LIPS_INNER, eye_ring

_WHITE = (0.945, 0.925, 0.905)
_MOUTH = (0.17, 0.03, 0.045)
_TONGUE = (0.66, 0.25, 0.26)
_TEETH = (0.955, 0.93, 0.88)
_LASH = (0.09, 0.045, 0.05)


class _Patch:
    """A rectangle of the picture around some points, to draw small things cheaply."""

    def __init__(self, image: Image, points: Shape, view: View, room: float) -> None:
        pixels = view.pixels(points)
        pad = room * view.unit
        x0, y0 = np.maximum(np.floor(pixels.min(0) - pad), 0).astype(int)
        x1, y1 = np.ceil(pixels.max(0) + pad).astype(int)
        self.image = image[y0:y1, x0:x1]
        height, width = self.image.shape[:2]
        self.size = (height, width)
        self.view = View(width, height, view.unit, view.x - x0, view.y - y0)


def paint_eyeball(
    image: Image, face: Shape, side: str, radius: float, view: View, who: Character
) -> None:
    """White, iris, pupil and lights of one eye, in place, larger than the opening."""
    upper, lower, centre = EYES[side][:3]
    ring = face[eye_ring(side)]
    patch = _Patch(image, ring, view, 0.02)
    part, size, local, unit = patch.image, patch.size, patch.view, view.unit
    part[:] = _WHITE
    x, y = local.grid()
    cx, cy = (float(v) for v in face[centre, :2])
    middle = ring[:, :2].mean(0)
    corners = 1 - spots(x, y, middle[0], middle[1], 0.06, 0.08)
    shade(part, (0.80, 0.66, 0.64), corners, 0.75)
    iris = area(size, _disc(local, cx, cy, radius), 0.0022 * unit)
    tint(part, who.palette.iris_rim, iris)
    tint(part, who.palette.iris, area(size, _disc(local, cx, cy, radius * 0.86), 0.005 * unit))
    glow = spots(x, y, cx + 0.008, cy + radius * 0.5, radius * 0.6, radius * 0.38)
    tint(
        part,
        tuple(min(1.0, c * 1.5 + 0.14) for c in who.palette.iris),  # type: ignore[arg-type]
        glow * iris,
        0.75,
    )
    _rays(part, local, cx, cy, radius, iris)
    tint(part, (0.02, 0.015, 0.02), area(size, _disc(local, cx, cy, radius * 0.43), 0.0015 * unit))
    lid = local.pixels(curve(face[upper], 8))
    shade(part, (0.34, 0.25, 0.28), ribbon(size, lid, 0.045 * unit, 0.011 * unit), 0.75)
    sparkle = area(
        size, _disc(local, cx - 0.30 * radius, cy - 0.36 * radius, radius * 0.23), 0.0012 * unit
    )
    tint(part, (1, 1, 1), sparkle, 0.97)
    tint(
        part,
        (1, 1, 1),
        area(
            size, _disc(local, cx + 0.36 * radius, cy + 0.38 * radius, radius * 0.1), 0.0015 * unit
        ),
        0.55,
    )
    tint(
        part,
        (0.80, 0.45, 0.42),
        spots(x, y, face[lower[-1], 0], face[lower[-1], 1], 0.008, 0.006),
        0.8,
    )


def _disc(view: View, x: float, y: float, radius: float) -> Shape:
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    return view.pixels(np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], 1))


def _rays(part: Image, view: View, cx: float, cy: float, radius: float, iris: Mask) -> None:
    canvas = np.zeros(part.shape[:2], np.uint8)
    for i, angle in enumerate(np.linspace(0, 2 * np.pi, 36, endpoint=False)):
        far = radius * (0.72 if i % 2 else 0.84)
        ends = np.array(
            [[cx + r * np.cos(angle), cy + r * np.sin(angle)] for r in (0.4 * radius, far)]
        )
        a, b = np.int32(view.pixels(ends) * 16)
        cv2.line(canvas, tuple(a), tuple(b), 255, max(1, round(0.0025 * view.unit)), cv2.LINE_AA, 4)
    shade(part, (0.62, 0.6, 0.58), canvas.astype(np.float32) / 255 * iris, 0.45)


def paint_mouth(image: Image, face: Shape, open_by: float, view: View) -> None:
    """The inside of the mouth with teeth and tongue, in place, larger than the opening."""
    inner = face[LIPS_INNER]
    patch = _Patch(image, inner, view, 0.02)
    part, size, local, unit = patch.image, patch.size, patch.view, view.unit
    part[:] = _MOUTH
    x, y = local.grid()
    left, right = face[78], face[308]
    half = abs(right[0] - left[0]) / 2
    cx = (left[0] + right[0]) / 2
    top, bottom = float(face[13, 1]), float(face[14, 1])
    tongue = spots(x, y, cx, bottom + 0.012, half * 0.55, 0.012 + 0.22 * (bottom - top))
    tint(part, _TONGUE, np.clip(tongue * 1.5, 0, 1), 0.85)
    upper = curve(inner[[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10], :2], 6)
    reach = 0.9
    inside = upper[np.abs(upper[:, 0] - cx) < half * reach]
    arch = np.clip(1 - ((inside[:, 0] - cx) / (half * reach)) ** 2, 0, 1) ** 0.4
    drop = (0.018 + 0.03 * min(open_by * 1.6, 1)) * arch
    biting = np.stack([inside[:, 0], inside[:, 1] + drop], 1)
    high = np.stack([inside[:, 0], inside[:, 1] - 0.02], 1)
    teeth = area(size, local.pixels(np.concatenate([high, biting[::-1]])), 0.002 * unit)
    tint(part, _TEETH, teeth, 0.97)
    for i in (-2, -1, 0, 1, 2):
        at = cx + i * half * 0.24
        gap = np.array([[at, top - 0.02], [at, top + 0.06]])
        shade(
            part,
            (0.72, 0.62, 0.58),
            ribbon(size, local.pixels(gap), np.full(2, 0.004 * unit), 0.0015 * unit) * teeth,
            0.5,
        )
    edge = np.clip(np.abs(x - cx) / half, 0, 1) ** 2
    shade(part, (0.45, 0.22, 0.22), edge.astype(np.float32), 0.8)
    shade(
        part, (0.4, 0.25, 0.27), ribbon(size, local.pixels(upper), 0.03 * unit, 0.008 * unit), 0.7
    )


def paint_lines(image: Image, face: Shape, open_by: float, view: View, who: Character) -> None:
    """What lies over the skin: lashes and the line between the lips, in place."""
    unit = view.unit
    for side, (upper, lower, *_) in EYES.items():
        patch = _Patch(image, face[eye_ring(side)], view, 0.06)
        part, size, local = patch.image, patch.size, patch.view
        line = curve(face[upper][:, :2], 10)
        share = np.linspace(0, 1, len(line))
        thick = np.interp(share, [0, 0.15, 0.5, 1], [0.4, 1, 0.85, 0.15]) * 0.019 * unit
        away = -1.0 if side == "right" else 1.0
        wing = np.array([[line[0, 0] + away * 0.02 * who.lashes, line[0, 1] - 0.012 * who.lashes]])
        full = np.concatenate([wing, line])
        width = np.concatenate([[0.001], thick]) * (0.45 + 0.55 * who.lashes)
        tint(part, _LASH, ribbon(size, local.pixels(full), width, 0.0016 * unit), 0.95)
        _lash_hairs(part, line, local, away, who)
        below = local.pixels(curve(face[lower][:-1, :2], 10))
        tint(part, _LASH, ribbon(size, below, 0.006 * unit, 0.0018 * unit), 0.5)
    patch = _Patch(image, face[LIPS_INNER], view, 0.03)
    part, size, local = patch.image, patch.size, patch.view
    upper = face[[78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308], :2]
    lower = face[[78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308], :2]
    seam = local.pixels(curve((upper + lower) / 2, 8))
    shut = float(np.clip(1 - open_by * 14, 0, 1))
    dark = tuple(c * 0.42 for c in who.palette.lip)
    if shut > 0:
        tint(part, dark, ribbon(size, seam, 0.011 * unit, 0.0022 * unit), 0.9 * shut)  # type: ignore[arg-type]
    for at in (face[61], face[291]):
        x, y = local.grid()
        shade(part, dark, spots(x, y, float(at[0]), float(at[1]), 0.008, 0.006), 0.6)  # type: ignore[arg-type]


def _lash_hairs(part: Image, line: Shape, view: View, away: float, who: Character) -> None:
    canvas = np.zeros(part.shape[:2], np.uint8)
    for share in np.linspace(0.03, 0.72, 15):
        at = line[int(share * (len(line) - 1))]
        long = 0.024 * who.lashes * np.interp(share, [0, 0.25, 0.8], [1.0, 0.95, 0.4])
        lean = np.interp(share, [0, 0.72], [0.85, -0.1])
        tip = at + long * np.array([away * np.sin(lean), -np.cos(lean)])
        bend = (at + tip) / 2 + [away * 0.004, 0.002]
        pixels = view.pixels(curve([at, bend, tip], 5))
        cv2.fillPoly(
            canvas,
            [
                np.round(
                    np.concatenate([pixels, pixels[::-1] + np.array([0.0035 * view.unit, 0])]) * 16
                ).astype(np.int32)
            ],
            255,
            cv2.LINE_AA,
            4,
        )
    tint(part, _LASH, blur(canvas.astype(np.float32) / 255, 0.0008 * view.unit), 0.85)
