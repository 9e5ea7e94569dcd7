"""What makes a character: proportions and colours. Hair and clothes have their own modules."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.make_demo.brush import Colour, rgb
from tests.make_demo.shape import Proportions


@dataclass(frozen=True)
class Palette:
    """Colours of a face and its hair."""

    deep: Colour  # skin turned away from the light
    dark: Colour
    mid: Colour
    light: Colour
    shine: Colour
    blush: Colour
    lip: Colour
    brow: Colour
    iris: Colour
    iris_rim: Colour
    hair_dark: Colour
    hair_mid: Colour
    hair_light: Colour


@dataclass(frozen=True)
class Character:
    """A drawn person; the pictures of both are made by the same code."""

    name: str
    palette: Palette
    traits: Proportions = field(default_factory=Proportions)
    brow_weight: float = 1.0
    lashes: float = 1.0  # how heavy
    eye_shadow: float = 0.3
    freckles: int = 0
    seed: int = 1


MIRA = Character(
    name="mira",
    palette=Palette(
        deep=rgb("#8d4a44"),
        dark=rgb("#c47d66"),
        mid=rgb("#e9b594"),
        light=rgb("#f9d9ba"),
        shine=rgb("#fff2dd"),
        blush=rgb("#e0705f"),
        lip=rgb("#bb4a4c"),
        brow=rgb("#5a2a1c"),
        iris=rgb("#5f9a6c"),
        iris_rim=rgb("#20402f"),
        hair_dark=rgb("#3f130d"),
        hair_mid=rgb("#8f3518"),
        hair_light=rgb("#e08a3e"),
    ),
    traits=Proportions(width=0.88, jaw=0.14, eyes=1.22, nose=0.84, lips=1.18, brow=0.012),
    lashes=1.0,
    eye_shadow=0.45,
    freckles=70,
    seed=7,
)
TEO = Character(
    name="teo",
    palette=Palette(
        deep=rgb("#4a2520"),
        dark=rgb("#86503b"),
        mid=rgb("#b97a55"),
        light=rgb("#d9a077"),
        shine=rgb("#f3cda2"),
        blush=rgb("#b2523d"),
        lip=rgb("#9a5148"),
        brow=rgb("#1d1210"),
        iris=rgb("#7a4a22"),
        iris_rim=rgb("#2a150b"),
        hair_dark=rgb("#0f0b0f"),
        hair_mid=rgb("#2b2024"),
        hair_light=rgb("#6b5148"),
    ),
    traits=Proportions(width=0.93, jaw=0.06, eyes=1.1, nose=1.0, lips=1.08, chin=0.015),
    brow_weight=1.45,
    lashes=0.55,
    eye_shadow=0.15,
    seed=11,
)
