"""What a training run learns, and how fast at which step."""

from __future__ import annotations

import math
from dataclasses import dataclass

LEARNED_TEETH = 0.5
"""How light the lightest teeth of everybody filmed are said to be; live a little less is said, see
puppet.retarget.teeth."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides what is learned; stored in the checkpoint."""

    tier: str = "small"
    seed: int = 1
    batch: int = 8
    """Pairs per step over all processes together."""
    steps: int = 200_000
    """Length of the learning-rate schedule."""
    rate: float = 3e-4
    warmup: int = 300
    stills_share: float = 0.15
    whole_every: int = 1
    """Every so many steps the whole picture is learned; in between the window around eyes and
    mouth, which takes half of the time (see calibrate.near)."""
    foreground_share: float = 0.35
    """Samples whose portrait shows no background of its own, as over a replaced background."""
    sources: int = 1
    """Source pictures of a sample: 1 to so many, drawn anew each time."""
    attention: float = 12.0
    """What a pixel of eyes and mouth counts above the others: they are a fiftieth of a picture."""
    l1: float = 10.0
    l2: float = 60.0
    """Weighs what is far off: shadows that a head's turn moves over a whole cheek."""
    fidelity: float = 0.1
    """Of the whole picture, the eyes and the mouth: decibels, near and far alike."""
    perceptual: float = 2.0
    eyes_seen: float = 1.0
    """What a pixel of the eyes counts there against one of the mouth."""
    alpha: float = 0.5
    small_residual: float = 0.5
    small_mask: float = 0.002
    painted: float = 3.0
    """L1 on what the synthesis would show at eyes and mouth, whatever its mask: without it the
    mask closes before there is anything worth showing."""
    adversarial_from: int = 1_000_000
    """Step from which the discriminator takes part."""
    adversarial: float = 0.05
    matching: float = 0.5
    average: float = 0.999
    """Decay of the weights' moving average, shorter at the start."""


def learning_rate(recipe: Recipe, step: int, spent: float = 0.0) -> float:
    """Linear warm-up, then a cosine down to a twentieth at the last step or when `spent` is 1."""
    if step < recipe.warmup:
        return recipe.rate * (step + 1) / recipe.warmup
    done = min(1.0, max(spent, (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)))
    return recipe.rate * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * done)))
