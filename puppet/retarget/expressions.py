"""Expressions at the press of a key: a smile, a wink, laid over whatever the driver does.

A preset moves regions of the face in the head's own frame, about anchors on the mean face with a
smooth falloff, and then sets lids and lips as openings, so that a wink closes whatever the lids
were doing. Everything here is pure; the caller keeps the gestures that are being made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from puppet import landmarks as lm
from puppet.contract import Landmarks
from puppet.landmarks import mean_face
from puppet.retarget.openings import EYES, lip_gaps, mouth_width, set_eye, set_lip_gaps
from puppet.retarget.pose import Shape, fit_pose

ATTACK_S, RELEASE_S = 0.14, 0.26
_EYE_POINTS = np.array((*lm.RIGHT_EYE, *lm.LEFT_EYE, *range(468, 478)))


@dataclass(frozen=True, slots=True)
class Push:
    """Moves the surroundings of one landmark."""

    anchor: int
    by: tuple[float, float]
    """Right and down in the head's frame, in outer eye corner distances."""
    radius: float
    """Standard deviation of the falloff, in the same unit."""


@dataclass(frozen=True, slots=True)
class Preset:
    """What an expression does at full strength."""

    pushes: tuple[Push, ...]
    lids: tuple[float, float] = (1.0, 1.0)
    """Factors on the opening of the subject's right and left eye."""
    lips: float = 0.0
    """Added gap between the lips' middles, in mouth widths."""


def _both(right: Push) -> tuple[Push, Push]:
    """A push on the subject's right side, and its mirror image."""
    partner = int(lm.mirror_order()[right.anchor])
    return right, Push(partner, (-right.by[0], right.by[1]), right.radius)


@cache
def presets() -> Mapping[str, Preset]:
    """The expressions by name, in the order of their keys."""
    corner, cheek, inner_brow, mid_brow, outer_brow, chin, upper_lip = 61, 50, 55, 105, 70, 152, 0
    return {
        "smile": Preset(
            (
                *_both(Push(corner, (-0.075, -0.075), 0.13)),
                *_both(Push(cheek, (-0.01, -0.04), 0.16)),
            ),
            lids=(0.86, 0.86),
        ),
        "wink": Preset(
            (Push(291, (0.05, -0.05), 0.12), Push(280, (0.0, -0.035), 0.15)), lids=(1.0, 0.0)
        ),
        "surprise": Preset(
            (
                *_both(Push(mid_brow, (0.0, -0.09), 0.16)),
                *_both(Push(outer_brow, (0.0, -0.04), 0.12)),
                Push(chin, (0.0, 0.10), 0.3),
            ),
            lids=(1.22, 1.22),
            lips=0.22,
        ),
        "frown": Preset(
            (
                *_both(Push(inner_brow, (0.03, 0.06), 0.11)),
                *_both(Push(corner, (0.015, 0.06), 0.11)),
                Push(upper_lip, (0.0, -0.012), 0.1),
            ),
            lids=(0.85, 0.85),
        ),
    }


def express(face: Landmarks, name: str, level: float) -> Landmarks:
    """`face` with the preset `name` laid over it by `level` (0: nothing, 1: all of it).

    Raises KeyError for an unknown name.
    """
    preset = presets()[name]
    if level <= 0:
        return face
    pose = fit_pose(face.points)
    shape = pose.to_head(face.points)
    before = shape.copy()
    shape[:, :2] += level * _field(name)
    _open_lips(shape, level * preset.lips)
    for eye, lids in zip(EYES, preset.lids, strict=True):
        set_eye(shape, before, eye, 1 + level * (lids - 1), np.zeros(2))
    return replace(face, points=pose.to_picture(shape).astype(np.float32))


@cache
def _field(name: str) -> NDArray[np.float64]:
    """(478, 2) displacements of a preset at full strength; eyes stay where they are."""
    mean = mean_face()[:, :2].astype(np.float64)
    moved = np.zeros_like(mean)
    for push in presets()[name].pushes:
        distance = np.linalg.norm(mean - mean[push.anchor], axis=1)
        moved += np.exp(-0.5 * (distance / push.radius) ** 2)[:, None] * np.array(push.by)
    moved[_EYE_POINTS] = 0
    moved.setflags(write=False)
    return moved


def _open_lips(shape: Shape, by: float) -> None:
    if by <= 0:
        return
    arch = np.sin(np.linspace(0, np.pi, 11)[1:-1])
    set_lip_gaps(shape, lip_gaps(shape) + by * mouth_width(shape) * arch)


@dataclass(frozen=True, slots=True)
class Gesture:
    """A preset being made: it comes in, is held, and goes again."""

    name: str
    began_ns: int
    ends_ns: int | None = None
    """When it begins to go; None holds it until it is let go."""
    strength: float = 1.0

    def level(self, at_ns: int) -> float:
        """0 to `strength`, smooth at both ends."""
        come = _ease((at_ns - self.began_ns) / (ATTACK_S * 1e9))
        gone = 0.0 if self.ends_ns is None else _ease((at_ns - self.ends_ns) / (RELEASE_S * 1e9))
        return self.strength * come * (1 - gone)

    def let_go(self, at_ns: int) -> Gesture:
        """Goes from `at_ns` on, unless it does so earlier."""
        ends_ns = at_ns if self.ends_ns is None else min(at_ns, self.ends_ns)
        return replace(self, ends_ns=ends_ns)

    def is_over(self, at_ns: int) -> bool:
        return self.ends_ns is not None and at_ns >= self.ends_ns + RELEASE_S * 1e9


def _ease(share: float) -> float:
    share = min(1.0, max(0.0, share))
    return share * share * (3 - 2 * share)
