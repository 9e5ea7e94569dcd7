"""The generator as a torch network: motion branch, warp, synthesis branch, blend.

    portrait, matte, contours --Encoder--> features (64), detail (128), code     once a portrait
    contours, motion + those  --Generator--> RGB and alpha                       every frame

The portrait's own pixels are moved, not re-invented: the coarse motion drawn with the landmarks
is kept, refined by a bounded residual or switched off (background, shoulders) at low resolution,
and the full-resolution portrait is warped by it. A synthesis branch paints only what no warp can
(the inside of the mouth, lids and irises, dis-occluded skin and hair) through a predicted mask.
The split follows the fast bi-layer avatars of Zakharov et al. (ECCV 2020) in spirit; that the
weights are learned over many people and then tuned to one follows Zakharov et al. (ICCV 2019,
section 3).

Shapes are written for one picture of 512 x 512; training runs the same code on 256 x 256
portraits, since only the warp and the blend see the portrait's resolution. What it gives there is
what the large picture is, averaged down.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engines.branches import Encoder, MotionBranch, Portrait, SynthesisBranch, resize, warp
from engines.committee import EncoderCommittee, MotionCommittee, SynthesisCommittee
from engines.contract import SpecMismatch
from engines.weights import Weights, check_names

RESIDUAL_REACH = 0.06
"""How far the learned residual may move a pixel, in half-widths of the picture."""

GAIN = 2.0
"""Most that the coarse motion may be multiplied by: 0 stays, 1 is the coarse motion itself, and
more brings hair along that lies where the drawn motion already fades."""

CRISPER = (-0.0875, 0.1, 0.975, 0.1, -0.0875)
"""Taps along rows and columns over what is painted, before it is enlarged. Linear interpolation
leaves three quarters of waves that are four pixels long, and half of the shortest, two pixels
long. This lifts the former by 15 %, for crisp eyes and lips, and takes 40 % of the latter, where
pixel shuffle leaves combs on teeth."""

PORTRAIT_TENSORS = ("portrait", "portrait_half", "features", "detail", "code")
"""Names of the per-portrait inputs, in graph order."""

TIERS = {"small": 1, "base": 3}
"""Members of each tier's network. The larger tier is a committee of the smaller: what limits this
network is the people it was trained on, not its size, and members that were trained apart differ
in what is chance."""


class Warped(NamedTuple):
    """A portrait that was moved, and what the synthesis is told of it."""

    moved: Tensor  # (B, 4, 512, 512) RGB and matte in [0, 1]
    half: Tensor  # (B, 3, 256, 256) RGB as the synthesis sees it
    detail: Tensor  # (B, DETAIL, 128, 128), of a committee every member's
    contours: Tensor  # (B, LANDMARKS, 128, 128) features of the landmark image, likewise
    hidden: Tensor  # (B, FEATURES, 64, 64) what motion was decided from, likewise
    keep: Tensor  # as in Moved
    residual: Tensor


class Moved(NamedTuple):
    """One generated picture and what made it (training looks inside)."""

    rgb: Tensor  # (B, 3, 512, 512) in [0, 1]
    alpha: Tensor  # (B, 1, 512, 512) in [0, 1]
    keep: Tensor  # (B, 1, 64, 64) factor on the coarse motion, 0 to GAIN
    residual: Tensor  # (B, 2, 64, 64) in half-widths
    mask: Tensor  # (B, 1, 256, 256) where the synthesis shows
    painted: Tensor  # (B, 3, 256, 256) what the synthesis would show everywhere


def crisper(x: Tensor) -> Tensor:
    """x (B, C, H, W) filtered by CRISPER along rows and columns. Beyond the edges is nothing: what
    is painted and its share fade alike there, and the warped portrait shows.

    Sums of shifted pictures: a convolution would draw all around it into bf16 where that is what
    convolutions are run in, and takes longer.
    """
    size, reach = x.shape, len(CRISPER) // 2
    x = F.pad(x, (reach, reach, reach, reach))
    outer, inner, centre = CRISPER[: reach + 1]
    for axis in (3, 2):
        a, b, c, d, e = (x.narrow(axis, i, size[axis]) for i in range(len(CRISPER)))
        x = centre * c + inner * (b + d) + outer * (a + e)
    return x


def as_enlarged(x: Tensor) -> Tensor:
    """x as it is left by enlarging it twofold and averaging it down again. What is painted is shown
    enlarged; trained on pictures of its own size it must be as soft, or it never learns to be
    crisper than it is to look."""
    return resize(resize(x, 2), 0.5)


def paint_over(moved: Tensor, colour: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """What to add to the warped picture, (B, 3, h, w), and how much of that to take away for it,
    (B, 1, h, w), so that `colour` shows through `mask` over `moved` (B, 3, h, w).

    The painting knows no finer detail than its own resolution. Enlarged, it would blur what it
    only tints, skin above all: the weaker the mask, the more it is applied as a change of colour,
    which leaves the portrait's grain and brush strokes. From half a mask on it covers: what was
    left there of an eye would show through its lid.
    """
    change = torch.clamp(1 - 2 * mask, 0, 1)
    return mask * (colour - change * moved), mask * (1 - change)


def motion_of(decided: Tensor) -> tuple[Tensor, Tensor]:
    """What the motion branch decided, (B, 3, 64, 64), as the factor on the coarse motion,
    (B, 1, 64, 64) from 0 to GAIN, and what is added to that, (B, 2, 64, 64) in half-widths."""
    residual = RESIDUAL_REACH * torch.tanh(decided[:, 1:])
    return GAIN * torch.sigmoid(decided[:, :1]), residual


def painting_of(painted: Tensor, moved: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What the synthesis branch gave, (B, 17, 128, 128), over the warped portrait `moved`,
    (B, 3, 256, 256), as colour (B, 3, 256, 256) in [0, 1], mask (B, 1, 256, 256) in [0, 1] and
    alpha change (B, 1, 128, 128) in [-1, 1].

    Alpha has half the resolution of colour: shuffled out of channels too, it striped.
    """
    alpha_change = torch.tanh(painted[:, 16:])
    shuffled = F.pixel_shuffle(painted[:, :16], 2)
    # Colour is painted as a change of the warped portrait: near to right from the first step.
    colour = torch.clamp(moved.float() + torch.tanh(shuffled[:, :3]), 0, 1)
    return colour, torch.sigmoid(shuffled[:, 3:]), alpha_change


class Generator(nn.Module):
    """A landmark image and a portrait in, the moved portrait out."""

    def __init__(self, members: int) -> None:
        super().__init__()
        self.motion = MotionBranch() if members == 1 else MotionCommittee(members)
        self.synthesis = SynthesisBranch() if members == 1 else SynthesisCommittee(members)

    def forward(self, contours: Tensor, motion: Tensor, portrait: Portrait) -> Moved:
        """contours (B, 3, 256, 256) in [0, 1]; motion (B, 2, 128, 128) float32 in half-widths."""
        return self.paint(self.warp(contours, motion, portrait), portrait.code)

    def warp(self, contours: Tensor, motion: Tensor, portrait: Portrait) -> Warped:
        """The first half of `forward`: the portrait moved."""
        decided, hidden, fine = self.motion(contours, motion, portrait.features)
        keep, residual = motion_of(decided)
        refined = resize(keep, 2) * motion + resize(residual, 2)  # (B, 2, 128, 128)
        detail = warp(portrait.detail, refined)
        size = portrait.portrait.shape[-1]
        moved = warp(portrait.portrait, resize(refined, size / 128))  # (B, 4, 512, 512)
        # Warped at its own size: averaging the large warp down costs three times as much.
        half = moved[:, :3] if size == 256 else warp(portrait.half, resize(refined, 2))
        return Warped(moved, half, detail, fine, hidden, keep, residual)

    def paint(self, warped: Warped, code: Tensor) -> Moved:
        """The second half: what no warp brings, painted over. `warped` may be a part of the
        picture, cut out of all its sizes; code (B, code) is the portrait's."""
        moved, half = warped.moved, warped.half
        painted = self.synthesis(warped.hidden, warped.detail, warped.contours, half, code)
        colour, mask, alpha_change = painting_of(painted, half)
        # Colours are enlarged times their mask, so that none bleeds in from where none shows.
        painted = crisper(torch.cat(paint_over(half, colour, mask), 1))
        painted = torch.cat((painted, resize(alpha_change, 2)), 1)
        enlarged = moved.shape[-1] // half.shape[-1]
        painted = as_enlarged(painted) if enlarged == 1 else resize(painted, enlarged)
        added, share, alpha_change = torch.split(painted, [3, 1, 1], 1)
        rgb = torch.clamp(moved[:, :3] * (1 - share) + added, 0, 1)
        alpha = torch.clamp(moved[:, 3:] + alpha_change, 0, 1)
        return Moved(rgb, alpha, warped.keep, warped.residual, mask, colour)


class Network(nn.Module):
    """Encoder and generator of one tier: what is trained, saved and exported together."""

    def __init__(self, tier: str) -> None:
        super().__init__()
        self.tier = tier
        members = TIERS[tier]
        self.encoder = Encoder() if members == 1 else EncoderCommittee(members)
        self.generator = Generator(members)

    def forward(
        self, portrait: Tensor, portrait_contours: Tensor, contours: Tensor, motion: Tensor
    ) -> Moved:
        moved: Moved = self.generator(contours, motion, self.encoder(portrait, portrait_contours))
        return moved


def network_of(weights: Weights) -> Network:
    """The network with these weights, in float32 and not training. Raises SpecMismatch."""
    if weights.tier not in TIERS:
        raise SpecMismatch(f"There is no network {weights.tier!r}: {', '.join(TIERS)}.")
    network = Network(weights.tier)
    check_names(weights, {name: tuple(t.shape) for name, t in network.state_dict().items()})
    network.load_state_dict(
        {name: torch.from_numpy(t.astype(np.float32)) for name, t in weights.tensors.items()}
    )
    return network.eval()
