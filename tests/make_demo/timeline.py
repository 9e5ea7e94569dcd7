"""What the person in the driver clip does, and when: the truth that trackers are tested with."""

from __future__ import annotations

import itertools

import numpy as np

from tests.make_demo.shape import Expression, Pose

FPS = 30
SECONDS = 8.0
FRAMES = round(FPS * SECONDS)
BLINKS = (1.35, 2.75, 4.3, 4.62, 6.35, 7.45)  # seconds at which the lids are closed
# Sung syllables: (start, end, how far the jaw drops, how round the lips are).
SYLLABLES = (
    (1.50, 1.78, 0.35, 0.7),
    (1.80, 2.05, 0.62, 0.0),
    (2.07, 2.32, 0.25, 0.8),
    (2.35, 2.72, 0.75, 0.0),
    (2.80, 3.05, 0.40, 0.4),
    (3.08, 3.50, 0.55, 0.0),
    (5.30, 5.55, 0.30, 0.7),
    (5.58, 5.88, 0.65, 0.0),
    (5.90, 6.15, 0.40, 0.3),
    (6.18, 6.75, 0.80, 0.0),
)
_CONTENT = 0.15  # nobody's calm face is quite flat
_Keys = tuple[tuple[float, float], ...]
_SMILE: _Keys = (
    (1.2, 0),
    (1.6, 0.25),
    (3.3, 0.3),
    (3.8, 0.15),
    (4.8, 0.4),
    (5.2, 0.55),
    (6.7, 0.6),
    (7.0, 0.85),
    (7.3, 0.7),
    (7.85, 0),
)
_BROW: _Keys = (
    (2.2, 0),
    (2.45, 0.6),
    (2.9, 0),
    (3.55, 0),
    (3.75, 1.0),
    (4.05, 1.0),
    (4.3, 0),
    (6.1, 0),
    (6.4, 0.7),
    (6.8, 0),
)
_GAZE: _Keys = ((3.75, 0), (3.85, -0.9), (4.2, -0.9), (4.3, 0.9), (4.6, 0.9), (4.7, 0))
_UP: _Keys = ((6.2, 0), (6.3, -0.6), (6.6, -0.6), (6.7, 0))
_YAW: _Keys = (
    (1.2, 0),
    (1.9, -6),
    (2.7, 5),
    (3.5, -2),
    (4.1, -3),
    (4.75, -15),
    (5.2, -15),
    (5.95, 15),
    (6.35, 15),
    (7.1, 2),
    (7.6, 0),
)
_PITCH: _Keys = (
    (1.2, 0),
    (1.7, 3),
    (2.2, -3),
    (2.7, 4),
    (3.2, 0),
    (3.7, -5),
    (4.3, 0),
    (5.4, 5),
    (6.3, -6),
    (6.9, 7),
    (7.2, 3),
    (7.7, 0),
)
_ROLL: _Keys = (
    (1.3, 0),
    (2.0, 4),
    (2.8, -4),
    (3.6, 1),
    (4.8, -3),
    (5.8, 6),
    (6.7, 6),
    (7.3, -2),
    (7.8, 0),
)


def _follow(keys: _Keys, t: float) -> float:
    """A value at a time: still before the first key and after the last, eased between."""
    if t <= keys[0][0]:
        return keys[0][1]
    for (t0, v0), (t1, v1) in itertools.pairwise(keys):
        if t < t1:
            share = 0.5 - 0.5 * np.cos(np.pi * (t - t0) / (t1 - t0))
            return float(v0 + (v1 - v0) * share)
    return keys[-1][1]


def _blink(t: float) -> float:
    """Lids fall in 0.1 s, stay for two frames, rise in 0.17 s."""
    value = 0.0
    for at in BLINKS:
        away = t - at
        value = max(
            value,
            1 - max(0.0, -away - 0.034) / 0.1 if away < 0 else 1 - max(0.0, away - 0.034) / 0.17,
        )
    return float(np.clip(value, 0, 1) ** 1.2)


def _syllables(t: float) -> tuple[float, float]:
    jaw = pucker = 0.0
    for start, end, drop, rounding in SYLLABLES:
        if start < t < end:
            swell = float(np.sin(np.pi * (t - start) / (end - start)) ** 0.7)
            jaw, pucker = drop * swell, rounding * swell
    return jaw, pucker


def moment(frame: int) -> tuple[Expression, Pose]:
    """Expression and pose of a frame; frames repeat after `FRAMES`."""
    t = (frame % FRAMES) / FPS
    jaw, pucker = _syllables(t)
    sway = 2 * np.pi * t / SECONDS
    face = Expression(
        jaw=jaw,
        pucker=pucker,
        smile=(_CONTENT + _follow(_SMILE, t)) * (1 - 0.7 * pucker),
        blink=_blink(t),
        brow=_follow(_BROW, t),
        gaze_x=_follow(_GAZE, t),
        gaze_y=_follow(_UP, t),
    )
    pose = Pose(
        yaw=_follow(_YAW, t),
        pitch=_follow(_PITCH, t),
        roll=_follow(_ROLL, t),
        x=float(0.006 * np.sin(sway)),
        y=float(0.005 * (1 - np.cos(2 * sway))),
    )
    return face, pose
