"""The learned parts of the generator: encoder, motion branch, synthesis branch.

Layers are plain convolutions, ReLU, bilinear resize, pixel shuffle and grid-sample: nothing that
needs a TensorRT plugin, and no normalisation over the picture, which would cost layout changes
there. Shapes are written for a portrait of 512 x 512.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engines.contract import CONTOURS_CHANNELS

# Multiples of 16: CPUs and GPUs compute in such blocks, and would pad anything between.
FEATURES = 48
"""Channels of the encoded portrait at 64 x 64, and of the motion branch there."""
DETAIL = 32
"""Channels of the encoded portrait at 128 x 128."""
CODE = 64
"""Numbers that say what the portrait is like as a whole."""
SYNTHESIS = 48
"""Channels of the synthesis branch, at 128 x 128."""
BLOCKS = 2
"""Residual blocks of the synthesis branch."""
LANDMARKS = 16
"""Channels of what the motion branch makes of the landmark image at 128 x 128."""


class Portrait(NamedTuple):
    """What the generator needs to know of one portrait (batched). Of a committee the last three
    have the channels of every member, one after the other."""

    portrait: Tensor  # (B, 4, 512, 512) RGB and matte in [0, 1]
    half: Tensor  # (B, 3, 256, 256) RGB as the synthesis sees it
    features: Tensor  # (B, FEATURES, 64, 64)
    detail: Tensor  # (B, DETAIL, 128, 128)
    code: Tensor  # (B, CODE)


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

    def __init__(self) -> None:
        super().__init__()
        self.at_128 = nn.Sequential(conv(4 + CONTOURS_CHANNELS, 24, 2), nn.ReLU())
        self.at_64 = nn.Sequential(conv(24, 64, 2), nn.ReLU(), Residual(64))
        self.at_32 = nn.Sequential(conv(64, 96, 2), nn.ReLU(), Residual(96))
        self.at_16 = nn.Sequential(conv(96, 128, 2), nn.ReLU(), Residual(128))
        self.to_code = nn.Linear(128, CODE)
        self.up_32 = nn.Sequential(conv(128 + 96, 96), nn.ReLU())
        self.up_64 = nn.Sequential(conv(96 + 64, 64), nn.ReLU(), Residual(64))
        self.to_features = nn.Conv2d(64, FEATURES, 1)
        self.to_detail = nn.Sequential(conv(64 + 24, 24), nn.ReLU(), nn.Conv2d(24, DETAIL, 1))

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

    def __init__(self) -> None:
        super().__init__()
        width = FEATURES
        self.contours_128 = nn.Sequential(conv(CONTOURS_CHANNELS, LANDMARKS, 2), nn.ReLU())
        self.contours_64 = nn.Sequential(conv(LANDMARKS, 24, 2), nn.ReLU())
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
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns what it decides (B, 3, 64, 64), see `motion_of`, what it decided it from
        (B, FEATURES, 64, 64), and the features of the landmark image (B, LANDMARKS, 128, 128)."""
        fine = self.contours_128(contours)  # (B, LANDMARKS, 128, 128)
        coarse = resize(motion, 0.5)  # (B, 2, 64, 64)
        moved = warp(features, coarse)
        x = self.enter(
            torch.cat((self.contours_64(fine), coarse.to(features.dtype), features, moved), 1)
        )
        y = self.down_32(x)
        z = self.down_16(y)
        y = self.join_32(y + resize(self.up_32(z), 2))
        x = self.join_64(x + resize(self.up_64(y), 2))
        return self.decide(x).float(), x, fine


class SynthesisBranch(nn.Module):
    """Paints at 128 x 128 (pixel-shuffled to 256) what the warp cannot bring."""

    def __init__(self) -> None:
        super().__init__()
        width = SYNTHESIS
        self.hidden = nn.Conv2d(FEATURES, 24, 1)
        self.enter = conv(24 + DETAIL + LANDMARKS + 12, width)
        self.film = nn.Linear(CODE, 2 * width)
        self.blocks = nn.Sequential(*(Residual(width) for _ in range(BLOCKS)))
        self.paint = conv(width, 4 * 4 + 1)
        zero(self.film)
        nn.init.normal_(self.paint.weight, std=1e-3)
        start = torch.tensor((0.0, 0.0, 0.0, -2.2)).repeat_interleave(4)  # colour kept, mask 0.1
        self.paint.bias = nn.Parameter(torch.cat((start, torch.zeros(1))))  # alpha kept

    def forward(
        self, hidden: Tensor, detail: Tensor, contours: Tensor, moved: Tensor, code: Tensor
    ) -> Tensor:
        """`moved`: (B, 3, 256, 256) the warped portrait. Returns (B, 17, 128, 128), see
        `painting_of`."""
        shuffled = F.pixel_unshuffle(moved * 2 - 1, 2).to(hidden.dtype)
        x = torch.cat((resize(self.hidden(hidden), 2), detail, contours, shuffled), 1)
        gain, shift = self.film(code)[:, :, None, None].chunk(2, 1)
        x = F.relu(self.enter(x) * (1 + gain) + shift)
        painted: Tensor = self.paint(self.blocks(x)).float()
        return painted
