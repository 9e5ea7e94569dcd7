"""The generator as a torch network: motion branch, warp, synthesis branch, blend.

    portrait, matte, contours --Encoder--> features (64), detail (128), code     once a portrait
    contours, motion + those  --Generator--> RGB and alpha                       every frame

The portrait's own pixels are moved, not re-invented: the coarse motion drawn with the landmarks
is kept, refined by a bounded residual or switched off (background, shoulders) at low resolution,
and the full-resolution portrait is warped by it. A synthesis branch paints only what no warp can
(the inside of the mouth, lids and irises, dis-occluded skin and hair) through a predicted mask.
The split follows the fast bi-layer avatars of Zakharov et al. (ECCV 2020) in spirit; that the
weights are learned over many people and then tuned to one follows Zakharov et al. (ICCV 2019,
section 3). Layers are plain convolutions, ReLU, bilinear resize, pixel shuffle and grid-sample:
nothing that needs a TensorRT plugin, and no normalisation over the picture, which would cost
layout changes there.

Shapes are written for one picture of 512 x 512; training runs the same code on 256 x 256
portraits, since only the warp and the blend see the portrait's resolution. What it gives there is
what the large picture is, averaged down.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engines.contract import CONTOURS_CHANNELS, SpecMismatch
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


@dataclass(frozen=True, slots=True)
class Tier:
    """Channel widths of one size of the network."""

    features: int
    """Encoded portrait at 64 x 64, and the motion branch's base width."""
    detail: int
    """Encoded portrait at 128 x 128."""
    synthesis: int
    """Width of the synthesis branch at 128 x 128."""
    blocks: int
    """Residual blocks of the synthesis branch."""
    code: int = 64


TIERS = {
    # Multiples of 16: CPUs and GPUs compute in such blocks, and would pad anything between.
    "small": Tier(features=48, detail=32, synthesis=48, blocks=2),
    "base": Tier(features=96, detail=64, synthesis=112, blocks=5),
}


class Portrait(NamedTuple):
    """What the generator needs to know of one portrait (batched)."""

    portrait: Tensor  # (B, 4, 512, 512) RGB and matte in [0, 1]
    half: Tensor  # (B, 3, 256, 256) RGB as the synthesis sees it
    features: Tensor  # (B, features, 64, 64)
    detail: Tensor  # (B, detail, 128, 128)
    code: Tensor  # (B, code)


class Warped(NamedTuple):
    """A portrait that was moved, and what the synthesis is told of it."""

    moved: Tensor  # (B, 4, 512, 512) RGB and matte in [0, 1]
    half: Tensor  # (B, 3, 256, 256) RGB as the synthesis sees it
    detail: Tensor  # (B, detail, 128, 128)
    contours: Tensor  # (B, 16, 128, 128) features of the landmark image
    hidden: Tensor  # (B, features, 64, 64) what motion was decided from
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


def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, 1)


def zero(layer: nn.Conv2d | nn.Linear) -> None:
    """Makes a layer start as nothing."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()


class Residual(nn.Module):
    """x + conv(relu(conv(x))), the second convolution starting at zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = conv(width, width), conv(width, width)
        zero(self.second)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(F.relu(self.first(x))))


def resize(x: Tensor, factor: float) -> Tensor:
    """Bilinear up-sampling by a whole factor, or averaging down."""
    if factor < 1:
        return F.avg_pool2d(x, round(1 / factor))
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


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


def warp(x: Tensor, offset: Tensor) -> Tensor:
    """Samples x (B, C, H, W) at each cell's position plus its offset (B, 2, H, W) in
    half-widths, edges repeated. Always in float32: half precision cannot address pixels."""
    rows = torch.arange(offset.shape[2], dtype=torch.float32, device=x.device)
    columns = torch.arange(offset.shape[3], dtype=torch.float32, device=x.device)
    y = (rows * 2 + 1) / offset.shape[2] - 1
    x_axis = (columns * 2 + 1) / offset.shape[3] - 1
    at_x = x_axis[None, None, :] + offset[:, 0].float()
    at_y = y[None, :, None] + offset[:, 1].float()
    with torch.autocast(x.device.type, enabled=False):
        moved = F.grid_sample(
            x.float(),
            torch.stack((at_x, at_y), -1),
            mode="bilinear",
            padding_mode="border",
            align_corners=False,
        )
    return moved.to(x.dtype)


class Encoder(nn.Module):
    """Reads a portrait once: (B, 4, 512, 512) RGB and matte, (B, 3, 256, 256) contours."""

    def __init__(self, tier: Tier) -> None:
        super().__init__()
        width = tier.features
        self.at_128 = nn.Sequential(conv(4 + CONTOURS_CHANNELS, 24, 2), nn.ReLU())
        self.at_64 = nn.Sequential(conv(24, 64, 2), nn.ReLU(), Residual(64))
        self.at_32 = nn.Sequential(conv(64, 96, 2), nn.ReLU(), Residual(96))
        self.at_16 = nn.Sequential(conv(96, 128, 2), nn.ReLU(), Residual(128))
        self.to_code = nn.Linear(128, tier.code)
        self.up_32 = nn.Sequential(conv(128 + 96, 96), nn.ReLU())
        self.up_64 = nn.Sequential(conv(96 + 64, 64), nn.ReLU(), Residual(64))
        self.to_features = nn.Conv2d(64, width, 1)
        self.to_detail = nn.Sequential(conv(64 + 24, 24), nn.ReLU(), nn.Conv2d(24, tier.detail, 1))

    def forward(self, portrait: Tensor, contours: Tensor) -> Portrait:
        picture = portrait
        if picture.shape[-1] > contours.shape[-1]:
            picture = resize(picture, contours.shape[-1] / picture.shape[-1])
        a = self.at_128(torch.cat((picture * 2 - 1, contours), 1))  # (B, 24, 128, 128)
        b = self.at_64(a)  # (B, 64, 64, 64)
        c = self.at_32(b)  # (B, 96, 32, 32)
        d = self.at_16(c)  # (B, 128, 16, 16)
        code = self.to_code(d.mean((2, 3)))
        c = self.up_32(torch.cat((resize(d, 2), c), 1))
        b = self.up_64(torch.cat((resize(c, 2), b), 1))
        detail = self.to_detail(torch.cat((resize(b, 2), a), 1))
        return Portrait(portrait, picture[:, :3], self.to_features(b), detail, code)


class MotionBranch(nn.Module):
    """Decides at 64 x 64 what follows the coarse motion, what stays, and what needs a nudge."""

    def __init__(self, tier: Tier) -> None:
        super().__init__()
        width = tier.features
        self.contours_128 = nn.Sequential(conv(CONTOURS_CHANNELS, 16, 2), nn.ReLU())
        self.contours_64 = nn.Sequential(conv(16, 24, 2), nn.ReLU())
        self.enter = nn.Sequential(conv(24 + 2 + 2 * width, width), nn.ReLU())
        self.down_32 = nn.Sequential(conv(width, 64, 2), nn.ReLU(), Residual(64))
        self.down_16 = nn.Sequential(conv(64, 96, 2), nn.ReLU(), Residual(96), Residual(96))
        self.up_32 = nn.Sequential(nn.Conv2d(96, 64, 1), nn.ReLU())
        self.join_32 = nn.Sequential(conv(64, 64), nn.ReLU())
        self.up_64 = nn.Sequential(nn.Conv2d(64, width, 1), nn.ReLU())
        self.join_64 = nn.Sequential(conv(width, width), nn.ReLU())
        self.decide = conv(width, 3)
        zero(self.decide)  # untrained, the branch hands the coarse motion on

    def forward(
        self, contours: Tensor, motion: Tensor, features: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns (keep, residual, hidden at 64, contour features at 128)."""
        fine = self.contours_128(contours)  # (B, 16, 128, 128)
        coarse = resize(motion, 0.5)  # (B, 2, 64, 64)
        moved = warp(features, coarse)
        x = self.enter(
            torch.cat((self.contours_64(fine), coarse.to(features.dtype), features, moved), 1)
        )
        y = self.down_32(x)
        z = self.down_16(y)
        y = self.join_32(y + resize(self.up_32(z), 2))
        x = self.join_64(x + resize(self.up_64(y), 2))
        decided = self.decide(x).float()
        residual = RESIDUAL_REACH * torch.tanh(decided[:, 1:])
        return GAIN * torch.sigmoid(decided[:, :1]), residual, x, fine


class SynthesisBranch(nn.Module):
    """Paints at 128 x 128 (pixel-shuffled to 256) what the warp cannot bring."""

    def __init__(self, tier: Tier) -> None:
        super().__init__()
        width = tier.synthesis
        self.hidden = nn.Conv2d(tier.features, 24, 1)
        self.enter = conv(24 + tier.detail + 16 + 12, width)
        self.film = nn.Linear(tier.code, 2 * width)
        self.blocks = nn.Sequential(*(Residual(width) for _ in range(tier.blocks)))
        self.paint = conv(width, 4 * 4 + 1)
        zero(self.film)
        nn.init.normal_(self.paint.weight, std=1e-3)
        start = torch.tensor((0.0, 0.0, 0.0, -2.2)).repeat_interleave(4)  # colour kept, mask 0.1
        self.paint.bias = nn.Parameter(torch.cat((start, torch.zeros(1))))  # alpha kept

    def forward(
        self, hidden: Tensor, detail: Tensor, contours: Tensor, moved: Tensor, code: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """`moved`: (B, 3, 256, 256) the warped portrait. Returns colour (B, 3, 256, 256) in
        [0, 1], mask (B, 1, 256, 256) in [0, 1], alpha change (B, 1, 128, 128) in [-1, 1].

        Alpha has half the resolution of colour: shuffled out of channels too, it striped.
        """
        shuffled = F.pixel_unshuffle(moved * 2 - 1, 2).to(hidden.dtype)
        x = torch.cat((resize(self.hidden(hidden), 2), detail, contours, shuffled), 1)
        gain, shift = self.film(code)[:, :, None, None].chunk(2, 1)
        x = F.relu(self.enter(x) * (1 + gain) + shift)
        x = self.paint(self.blocks(x)).float()
        alpha_change = torch.tanh(x[:, 16:])
        x = F.pixel_shuffle(x[:, :16], 2)
        # Colour is painted as a change of the warped portrait: near to right from the first step.
        colour = torch.clamp(moved.float() + torch.tanh(x[:, :3]), 0, 1)
        return colour, torch.sigmoid(x[:, 3:]), alpha_change


class Generator(nn.Module):
    """A landmark image and a portrait in, the moved portrait out."""

    def __init__(self, tier: Tier) -> None:
        super().__init__()
        self.motion = MotionBranch(tier)
        self.synthesis = SynthesisBranch(tier)

    def forward(self, contours: Tensor, motion: Tensor, portrait: Portrait) -> Moved:
        """contours (B, 3, 256, 256) in [0, 1]; motion (B, 2, 128, 128) float32 in half-widths."""
        return self.paint(self.warp(contours, motion, portrait), portrait.code)

    def warp(self, contours: Tensor, motion: Tensor, portrait: Portrait) -> Warped:
        """The first half of `forward`: the portrait moved."""
        keep, residual, hidden, fine = self.motion(contours, motion, portrait.features)
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
        colour, mask, alpha_change = self.synthesis(
            warped.hidden, warped.detail, warped.contours, half, code
        )
        # Colours are enlarged times their mask, so that none bleeds in from where none shows.
        painted = crisper(torch.cat(paint_over(half, colour, mask), 1))
        painted = torch.cat((painted, resize(alpha_change, 2)), 1)
        enlarged = moved.shape[-1] // half.shape[-1]
        painted = as_enlarged(painted) if enlarged == 1 else resize(painted, enlarged)
        added, share, alpha_change = torch.split(painted, [3, 1, 1], 1)
        rgb = torch.clamp(moved[:, :3] * (1 - share) + added, 0, 1)
        alpha = torch.clamp(moved[:, 3:] + alpha_change, 0, 1)
        return Moved(rgb, alpha, warped.keep, warped.residual, mask, colour)


class CoarseGenerator(nn.Module):
    """The coarse motion alone, without weights: the floor every trained tier must beat."""

    def forward(self, contours: Tensor, motion: Tensor, portrait: Portrait) -> Moved:
        size = portrait.portrait.shape[-1]
        moved = warp(portrait.portrait, resize(motion, size / motion.shape[-1]))
        one = torch.ones_like(motion[:, :1])
        return Moved(
            moved[:, :3], moved[:, 3:], one, torch.zeros_like(motion), 0 * one, moved[:, :3]
        )


class Network(nn.Module):
    """Encoder and generator of one tier: what is trained, saved and exported together."""

    def __init__(self, tier: str) -> None:
        super().__init__()
        self.tier = tier
        self.encoder = Encoder(TIERS[tier])
        self.generator = Generator(TIERS[tier])

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
