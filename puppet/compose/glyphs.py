"""A small stroke alphabet, drawn by this project, for the label and the slate.

OpenCV carries no scalable font on every platform and its Hershey letters are polygons of a
plotter. These letters are geometric: straight strokes and arcs with round ends, sampled finely
and drawn at four times the size, so they look the same and good everywhere.

Units: the baseline is y = 0, upwards is positive, small letters are 1.0 tall, capitals 1.42.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Mask: TypeAlias = NDArray[np.uint8]  # (H, W), coverage 0..255
Stroke: TypeAlias = list[tuple[float, float]]

X_HEIGHT = 1.0
CAP_HEIGHT = 1.42
DESCENT = 0.45
_GAP = 0.38  # between the ink of two letters, measured from the centre lines
_SPACE = 0.52  # on top of the gap
_SAMPLES_PER_TURN = 72
_OVERSAMPLING = 4


def _line(*points: tuple[float, float]) -> Stroke:
    return list(points)


def _arc(cx: float, cy: float, rx: float, ry: float, start: float, end: float) -> Stroke:
    """Angles in degrees, counter-clockwise from the right."""
    steps = max(2, round(abs(end - start) / 360 * _SAMPLES_PER_TURN) + 1)
    angles = np.radians(np.linspace(start, end, steps))
    return [(cx + rx * math.cos(a), cy + ry * math.sin(a)) for a in angles]


def _bowl(cx: float = 0.44) -> Stroke:
    return _arc(cx, 0.5, 0.44, 0.5, 0, 360)


def _s(width: float, height: float) -> Stroke:
    """Two arcs that meet in the middle, for s and S."""
    r, q = width / 2, height / 4
    return _arc(r, 3 * q, r, q, 25, 270) + _arc(r, q, r * 1.04, q, 90, -155)


def _arch(x: float, width: float) -> Stroke:
    """The shoulder of n, m and h: up from the stem at x, over and down."""
    r = width / 2
    return [*_arc(x + r, 0.54, r, 0.46, 180, 0), (x + width, 0.0)]


_GLYPHS: dict[str, list[Stroke]] = {
    "a": [_bowl(), _line((0.88, 1.0), (0.88, 0.0))],
    "b": [_line((0.0, 1.48), (0.0, 0.0)), _bowl()],
    "c": [_arc(0.44, 0.5, 0.44, 0.5, 48, 312)],
    "d": [_bowl(), _line((0.88, 1.48), (0.88, 0.0))],
    "e": [_line((0.02, 0.52), (0.88, 0.52)) + _arc(0.44, 0.5, 0.44, 0.5, 3, 312)],
    "f": [[*_arc(0.42, 1.16, 0.24, 0.32, 75, 180), (0.18, 0.0)], _line((0, 0.98), (0.46, 0.98))],
    "g": [_bowl(), _line((0.88, 1.0), (0.88, 0.0)) + _arc(0.45, -0.03, 0.43, 0.42, 0, -145)],
    "h": [_line((0.0, 1.48), (0.0, 0.0)), _arch(0.0, 0.78)],
    "i": [_line((0.0, 0.98), (0.0, 0.0)), _line((0.0, 1.42), (0.0, 1.43))],
    "j": [
        _line((0.2, 0.98), (0.2, -0.15)) + _arc(-0.02, -0.15, 0.22, 0.28, 0, -80),
        _line((0.2, 1.42), (0.2, 1.43)),
    ],
    "k": [
        _line((0.0, 1.48), (0.0, 0.0)),
        _line((0.66, 1.0), (0.02, 0.42)),
        _line((0.26, 0.62), (0.72, 0.0)),
    ],
    "l": [_line((0.0, 1.48), (0.0, 0.0))],
    "m": [_line((0.0, 1.0), (0.0, 0.0)), _arch(0.0, 0.64), _arch(0.64, 0.64)],
    "n": [_line((0.0, 1.0), (0.0, 0.0)), _arch(0.0, 0.78)],
    "o": [_bowl()],
    "p": [_line((0.0, 1.0), (0.0, -0.45)), _bowl()],
    "q": [_bowl(), _line((0.88, 1.0), (0.88, -0.45))],
    "r": [_line((0.0, 1.0), (0.0, 0.0)), _arc(0.39, 0.54, 0.39, 0.46, 180, 78)],
    "s": [_s(0.68, 1.0)],
    "t": [
        _line((0.18, 1.3), (0.18, 0.28)) + _arc(0.43, 0.28, 0.25, 0.28, 180, 285),
        _line((0.0, 0.98), (0.5, 0.98)),
    ],
    "u": [
        _line((0.0, 1.0), (0.0, 0.46)) + _arc(0.39, 0.46, 0.39, 0.46, 180, 360),
        _line((0.78, 1.0), (0.78, 0.0)),
    ],
    "v": [_line((0.0, 1.0), (0.39, 0.0), (0.78, 1.0))],
    "w": [_line((0.0, 1.0), (0.31, 0.0), (0.6, 0.95), (0.89, 0.0), (1.2, 1.0))],
    "x": [_line((0.0, 1.0), (0.74, 0.0)), _line((0.74, 1.0), (0.0, 0.0))],
    "y": [_line((0.0, 1.0), (0.4, 0.02)), _line((0.8, 1.0), (0.24, -0.38), (0.06, -0.45))],
    "z": [_line((0.0, 1.0), (0.7, 1.0), (0.0, 0.0), (0.7, 0.0))],
    "A": [_line((0.0, 0.0), (0.56, 1.42), (1.12, 0.0)), _line((0.2, 0.48), (0.92, 0.48))],
    "B": [
        _line((0.0, 0.0), (0.0, 1.42), (0.45, 1.42))
        + _arc(0.45, 1.08, 0.36, 0.34, 90, -90)
        + [(0.0, 0.74)],
        _line((0.0, 0.0), (0.48, 0.0)) + _arc(0.48, 0.37, 0.41, 0.37, -90, 90),
    ],
    "G": [[*_arc(0.66, 0.71, 0.66, 0.71, 48, 330), (1.24, 0.66), (0.74, 0.66)]],
    "I": [_line((0.0, 1.42), (0.0, 0.0))],
    "K": [
        _line((0.0, 1.42), (0.0, 0.0)),
        _line((0.86, 1.42), (0.02, 0.56)),
        _line((0.32, 0.86), (0.92, 0.0)),
    ],
    "P": [
        _line((0.0, 0.0), (0.0, 1.42), (0.48, 1.42))
        + _arc(0.48, 1.02, 0.42, 0.4, 90, -90)
        + [(0.0, 0.62)]
    ],
    "R": [
        _line((0.0, 0.0), (0.0, 1.42), (0.48, 1.42))
        + _arc(0.48, 1.03, 0.41, 0.39, 90, -90)
        + [(0.0, 0.64)],
        _line((0.44, 0.64), (0.92, 0.0)),
    ],
    "V": [_line((0.0, 1.42), (0.56, 0.0), (1.12, 1.42))],
    "W": [_line((0.0, 1.42), (0.4, 0.0), (0.8, 1.36), (1.2, 0.0), (1.6, 1.42))],
    "-": [_line((0.0, 0.5), (0.42, 0.5))],
    ".": [_line((0.0, 0.0), (0.0, 0.01))],
}
_ACUTE = _line((0.36, 1.32), (0.56, 1.56))
_GLYPHS["é"] = [*_GLYPHS["e"], _ACUTE]
_GLYPHS["ü"] = [*_GLYPHS["u"], _line((0.2, 1.42), (0.2, 1.43)), _line((0.58, 1.42), (0.58, 1.43))]
_GLYPHS["ù"] = [*_GLYPHS["u"], _line((0.26, 1.56), (0.46, 1.32))]


def can_draw(text: str) -> bool:
    return all(letter == " " or letter in _GLYPHS for letter in text)


def _layout(text: str) -> tuple[list[Stroke], float]:
    """All strokes in text units, and the width between the outermost centre lines."""
    strokes: list[Stroke] = []
    pen = 0.0
    for letter in text:
        if letter == " ":
            pen += _SPACE
            continue
        glyph = _GLYPHS[letter]
        xs = [x for stroke in glyph for x, _ in stroke]
        shift = pen - min(xs)
        strokes += [[(x + shift, y) for x, y in stroke] for stroke in glyph]
        pen += max(xs) - min(xs) + _GAP
    return strokes, max(0.0, pen - _GAP)


def text_mask(text: str, x_height_px: float, weight: float = 0.2) -> tuple[Mask, float]:
    """Draws one line of text.

    `weight` is the stroke's width in x-heights. Returns the coverage, uint8 of shape (H, W), cut
    to the line with room for accents and descenders, and the baseline's y in it (pixels).
    Raises KeyError for a letter the alphabet lacks (see `can_draw`).
    """
    strokes, width = _layout(text)
    margin = weight  # half a stroke, and as much again for the anti-aliasing
    top = 1.6 + margin
    unit = x_height_px * _OVERSAMPLING
    size = (
        math.ceil((width + 2 * margin) * x_height_px),
        math.ceil((top + DESCENT + margin) * x_height_px),
    )
    canvas = np.zeros((size[1] * _OVERSAMPLING, size[0] * _OVERSAMPLING), np.uint8)
    draw_strokes(canvas, strokes, (margin * unit, top * unit), unit, weight * unit)
    mask = cv2.resize(canvas, size, interpolation=cv2.INTER_AREA)
    return np.asarray(mask, np.uint8), top * x_height_px


def draw_strokes(
    canvas: Mask, strokes: list[Stroke], origin: tuple[float, float], unit: float, width_px: float
) -> None:
    """Draws onto `canvas` in place; `origin` is where (0, 0) of the strokes lies, y up."""
    for stroke in strokes:
        points = np.array([(origin[0] + x * unit, origin[1] - y * unit) for x, y in stroke])
        cv2.polylines(
            canvas,
            [np.round(points * 16).astype(np.int32).reshape(-1, 1, 2)],
            isClosed=False,
            color=(255,),
            thickness=max(1, round(width_px)),
            lineType=cv2.LINE_AA,
            shift=4,
        )
