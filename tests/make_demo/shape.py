"""Face shapes: a character's proportions, an expression's movements, the head's pose.

Shapes are (N, 3) float64 in face units: the oval's height is 1, the bridge of the nose is the
origin, x right, y down, z away from the viewer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tests.make_demo.topology import EYES, LIPS_INNER, LIPS_OUTER

Shape = NDArray[np.float64]

# fmt: off
_LOWER_LIP = np.array([146, 91, 181, 84, 17, 314, 405, 321, 375, 95, 88, 178, 87, 14, 317, 402, 318,
                       324, 77, 90, 180, 85, 16, 315, 404, 320, 307, 96, 89, 179, 86, 15, 316, 403,
                       319, 325])
_UPPER_LIP = np.array([61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 78, 191, 80, 81, 82, 13,
                       312, 311, 310, 415, 308, 76, 184, 74, 73, 72, 11, 302, 303, 304, 408, 306,
                       62, 183, 42, 41, 38, 12, 268, 271, 272, 407, 292])
# fmt: on
_JAW_DROP = 0.2  # face units that a fully opened mouth lowers the chin
PIVOT = np.array([0.0, 0.72, 0.42])  # the head turns about the top of the spine
_VIEW_DISTANCE = 5.0


@dataclass(frozen=True)
class Proportions:
    """How a character differs from the mean face; 1 and 0 leave it as it is."""

    width: float = 0.9
    jaw: float = 0.1  # how much narrower the chin is
    eyes: float = 1.15
    nose: float = 0.9
    lips: float = 1.1
    brow: float = 0.0  # upwards
    chin: float = 0.0  # longer


@dataclass(frozen=True)
class Expression:
    """What the face does; 0 is calm, 1 is as far as it goes (gaze: -1 to 1, smile may be < 0)."""

    jaw: float = 0.0
    smile: float = 0.0
    pucker: float = 0.0
    blink: float = 0.0
    brow: float = 0.0
    gaze_x: float = 0.0
    gaze_y: float = 0.0


@dataclass(frozen=True)
class Pose:
    """Degrees: yaw > 0 turns to the picture's right, pitch > 0 nods down, roll > 0 clockwise."""

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    x: float = 0.0
    y: float = 0.0


def smoothstep(low: float, high: float, value: Shape) -> Shape:
    """0 below `low`, 1 above `high`, smooth between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), dtype=np.float64)


def bump(shape: Shape, x: float, y: float, sigma: float) -> Shape:
    """A Gaussian around (x, y) in the picture plane."""
    distance2 = (shape[:, 0] - x) ** 2 + (shape[:, 1] - y) ** 2
    return np.asarray(np.exp(-distance2 / (2 * sigma**2)), dtype=np.float64)


def characterise(mean: Shape, traits: Proportions) -> Shape:
    """The mean face with a character's proportions."""
    out = mean.copy()
    out[:, 0] *= traits.width
    out[:, 0] *= 1 - traits.jaw * smoothstep(0.2, 0.7, out[:, 1])
    out[:, 1] += traits.chin * smoothstep(0.45, 0.7, out[:, 1])
    # Steep sides fold over at a small turn and leave a ragged cheek; a flatter face does not.
    out[:, 2] = np.where(out[:, 2] > 0.1, 0.1 + (out[:, 2] - 0.1) * 0.5, out[:, 2])
    for upper, lower, _, top, low in EYES.values():
        x, y = out[np.concatenate([upper, lower]), :2].mean(0)
        near = bump(out, x, y, 0.11)[:, None]
        out[:, :2] += near * (traits.eyes - 1) * (out[:, :2] - [x, y]) * [1.0, 1.35]
        brow_x, brow_y = out[np.concatenate([top, low]), :2].mean(0)
        out[:, 1] -= traits.brow * bump(out, brow_x, brow_y, 0.07)
    nose = bump(out, 0.0, 0.24, 0.1)
    out[:, 0] *= 1 + nose * (traits.nose - 1)
    mouth_y = out[13, 1]
    mouth = bump(out, 0.0, mouth_y, 0.12)
    out[:, 1] += mouth * (traits.lips - 1) * (out[:, 1] - mouth_y)
    return out


def _jaw_weights(shape: Shape) -> Shape:
    x, y = shape[:, 0], shape[:, 1]
    half = abs(shape[61, 0])
    mouth_y = shape[13, 1]
    side = smoothstep(half * 0.9, half * 2.1, np.abs(x))
    weights = (1 - side) * smoothstep(mouth_y, mouth_y + 0.05, y)
    weights += side * 0.9 * smoothstep(0.22, 0.66, y)
    along = np.clip(np.abs(x) / half, 0, 1)
    weights[_UPPER_LIP] = -0.04 + 0.39 * along[_UPPER_LIP] ** 4
    weights[_LOWER_LIP] = 0.35 + 0.65 * (1 - along[_LOWER_LIP] ** 2.2) ** 0.7
    return weights


def _close_lids(out: Shape, rest: Shape, blink: float) -> None:
    for upper, lower, _, _, low in EYES.values():
        order = np.argsort(rest[upper, 0])
        top = rest[upper][order]
        order = np.argsort(rest[lower, 0])
        bottom = rest[lower][order]
        order = np.argsort(rest[low, 0])
        brow = rest[low][order]
        x, y = rest[:, 0], rest[:, 1]
        inside = (x >= top[0, 0]) & (x <= top[-1, 0])
        lid = np.interp(x, top[:, 0], top[:, 1])
        meet = np.interp(x, bottom[:, 0], bottom[:, 1])
        under_brow = np.interp(x, brow[:, 0], brow[:, 1])
        height = np.clip((lid - y) / np.maximum(lid - under_brow, 1e-6), 0, 1)
        above = np.where(inside & (y <= lid + 1e-6), (1 - height) ** 1.3, 0.0)
        below = np.where(inside & (y >= meet - 1e-6), np.clip(1 - (y - meet) / 0.08, 0, 1), 0.0)
        above[upper], below[lower] = 1.0, 1.0
        below[[upper[0], upper[-1]]] = above[[upper[0], upper[-1]]] = 0
        gap = meet - lid
        out[:, 1] += blink * gap * (0.9 * above - 0.1 * below)


def express(rest: Shape, face: Expression) -> Shape:
    """The calm shape with an expression on it; `rest` is left alone."""
    out = rest.copy()
    weights = _jaw_weights(rest)
    out[:, 1] += _JAW_DROP * face.jaw * weights
    out[:, 2] += 0.35 * _JAW_DROP * face.jaw * np.clip(weights, 0, 1)
    half, mouth_y = abs(rest[61, 0]), rest[61, 1]
    for sign in (-1, 1):
        corner = bump(rest, sign * half, mouth_y, 0.085)
        out[:, 0] += sign * 0.062 * face.smile * corner
        out[:, 1] -= 0.075 * face.smile * corner
        out[:, 2] += 0.02 * face.smile * corner
        cheek = bump(rest, sign * 0.22, 0.27, 0.09)
        out[:, 1] -= 0.025 * face.smile * cheek
        out[:, 2] -= 0.02 * face.smile * cheek
    mouth = bump(rest, 0.0, mouth_y, 0.11)
    out[:, 0] *= 1 - 0.42 * face.pucker * mouth
    out[:, 2] -= 0.04 * face.pucker * mouth
    _close_lids(out, rest, float(np.clip(face.blink + 0.16 * max(face.smile, 0), 0, 1)))
    for _, _, _, top, low in EYES.values():
        x, y = rest[np.concatenate([top, low]), :2].mean(0)
        lift = bump(rest, x, y - 0.04, 0.1)
        out[:, 1] -= 0.05 * face.brow * lift
    out[468:, 0] += 0.042 * face.gaze_x
    out[468:, 1] += 0.018 * face.gaze_y
    return out


def turn(shape: Shape, pose: Pose) -> Shape:
    """Rotate about the neck's top, move, and project; (N, 3) with x and y in the picture plane."""
    yaw, pitch, roll = np.radians([pose.yaw, pose.pitch, pose.roll])
    cy, sy, cp, sp, cr, sr = (f(a) for a in (yaw, pitch, roll) for f in (np.cos, np.sin))
    about_y = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    out = (shape - PIVOT) @ (about_z @ about_x @ about_y).T + PIVOT
    scale = _VIEW_DISTANCE / (_VIEW_DISTANCE + out[:, 2:])
    out[:, :2] = out[:, :2] * scale + [pose.x, pose.y]
    return np.asarray(out, dtype=np.float64)


def lips(shape: Shape) -> tuple[Shape, Shape]:
    """The outlines of the lips, outside and inside, (20, 2) each."""
    return shape[LIPS_OUTER, :2], shape[LIPS_INNER, :2]
