"""What the generator is judged by: small pure functions on pictures in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Where the perceptual features are read: after conv1 and every pair of fire modules.
_FIRES = {2: (16, 64), 3: (16, 64), 4: (32, 128), 5: (32, 128), 6: (48, 192), 7: (48, 192),
          8: (64, 256), 9: (64, 256)}  # fmt: skip
_POOL_AFTER = (1, 4, 8)
_TAPS = (1, 3, 5, 7, 9)
FLOOR = 3e-5
"""Mean squared difference, 45 dB, below which nothing is gained: two frames of one camera."""


class SqueezeNetFeatures(nn.Module):
    """SqueezeNet v1.0 (Iandola et al. 2016) up to fire9, frozen, for perceptual distances."""

    def __init__(self, weights: Path) -> None:
        """`weights`: .npz of `conv1` and `fireN.{s,e1,e3}` with `.weight` and `.bias`."""
        super().__init__()
        self.conv1 = nn.Conv2d(3, 96, 7, 2)
        inputs = 96
        for n, (squeeze, expand) in _FIRES.items():
            self.add_module(f"fire{n}_s", nn.Conv2d(inputs, squeeze, 1))
            self.add_module(f"fire{n}_e1", nn.Conv2d(squeeze, expand, 1))
            self.add_module(f"fire{n}_e3", nn.Conv2d(squeeze, expand, 3, padding=1))
            inputs = 2 * expand
        with np.load(weights, allow_pickle=False) as stored:
            for name, module in self.named_children():
                key = name.replace("_", ".")
                for part in ("weight", "bias"):
                    values = torch.from_numpy(stored[f"{key}.{part}"].astype(np.float32))
                    with torch.no_grad():
                        getattr(module, part).copy_(values)
        self.mean: Tensor
        self.register_buffer("mean", torch.tensor((104.0, 117.0, 123.0)).reshape(1, 3, 1, 1))
        self.requires_grad_(False)

    def forward(self, rgb: Tensor) -> list[Tensor]:
        """(B, 3, H, W) RGB in [0, 1] to five feature maps of falling resolution."""
        x = rgb.flip(1) * 255 - self.mean
        x = F.relu(self.conv1(x))
        taps = [x]
        for n in range(1, 10):
            if n > 1:
                s = F.relu(self.get_submodule(f"fire{n}_s")(x))
                e1 = self.get_submodule(f"fire{n}_e1")(s)
                e3 = self.get_submodule(f"fire{n}_e3")(s)
                x = F.relu(torch.cat((e1, e3), 1))
                if n in _TAPS:
                    taps.append(x)
            if n in _POOL_AFTER:
                x = F.max_pool2d(x, 3, 2, ceil_mode=True)
        return taps


class _FeatureDistance(torch.autograd.Function):
    """|a/|a| - b/|b||^2 over channels, which is 2 - 2 cos; b is constant.

    Written out because autograd's way through the two normalised tensors reads and writes the
    features some fifteen times in float32, which took half of a training step on a CPU; this
    takes three passes forward and two back, in the features' own precision.
    """

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        """(B, C, h, w) features to a (B, 1, h, w) float32 map in [0, 4]."""

        def dot(x: Tensor, y: Tensor) -> Tensor:
            return (x * y).sum(1, keepdim=True, dtype=torch.float32)

        inverse_a, inverse_b = torch.rsqrt(dot(a, a) + 1e-8), torch.rsqrt(dot(b, b) + 1e-8)
        cosine = dot(a, b) * inverse_a * inverse_b
        ctx.save_for_backward(a, b, inverse_a, inverse_b, cosine)
        return 2 - 2 * cosine

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        a, b, inverse_a, inverse_b, cosine = ctx.saved_tensors
        share = 2 * grads[0] * inverse_a
        grad = b * (-share * inverse_b).to(b.dtype)
        return grad.addcmul_(a, (share * inverse_a * cosine).to(a.dtype)), None


def perceptual_maps(result: list[Tensor], truth: list[Tensor]) -> list[Tensor]:
    """Squared difference of channel-normalised features (Zhang et al. 2018, section 3, without
    the learned channel weights): one (B, 1, h, w) float32 map a tap, in [0, 4]. Gradients reach
    `result` only."""
    maps: list[Tensor] = [
        _FeatureDistance.apply(a, b)  # type: ignore[no-untyped-call]
        for a, b in zip(result, truth, strict=True)
    ]
    return maps


def perceptual_loss(result: list[Tensor], truth: list[Tensor], weight: Tensor) -> Tensor:
    """Mean over taps of the maps, weighted by `weight` (B, 1, H, W); pictures count alike."""
    total = torch.zeros((), device=weight.device)
    for each in perceptual_maps(result, truth):
        share = F.adaptive_avg_pool2d(weight, (each.shape[2], each.shape[3]))
        total = total + ((each * share).flatten(1).sum(1) / share.flatten(1).sum(1)).mean()
    return total / len(result)


def windows(pictures: Tensor, corners: Tensor, size: int) -> Tensor:
    """The square of `size` pixels of each picture (B, C, H, W) whose first row and column are
    `corners` (B, 2)."""
    cut = [
        picture[:, row : row + size, column : column + size]
        for picture, (row, column) in zip(pictures, corners.tolist(), strict=True)
    ]
    return torch.stack(cut)


def weighted_l1(result: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute difference of (B, 3, H, W) pictures under weights (B, 1, H, W).

    Every picture counts alike, so that a batch may be split over processes.
    """
    each = (weight * (result - truth).abs()).flatten(1).sum(1) / (3 * weight.flatten(1).sum(1))
    return each.mean()


def weighted_l2(result: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """Mean squared difference, weighted and shaped as in `weighted_l1`."""
    each = (weight * (result - truth).square()).flatten(1).sum(1)
    return (each / (3 * weight.flatten(1).sum(1))).mean()


def fidelity(result: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """ln(1 + mean squared difference / FLOOR) of each picture, averaged; shapes as in
    `weighted_l1`. One dB of PSNR weighs the same everywhere, so that a portrait that hardly moves
    is not blurred for the sake of those that can never be right."""
    each = (weight * (result - truth).square()).flatten(1).sum(1)
    each = each / (3 * weight.flatten(1).sum(1)).clamp(min=1e-6)
    return torch.log1p(each / FLOOR).mean()


def fidelity_of_parts(result: Tensor, truth: Tensor, contours: Tensor) -> Tensor:
    """Of the whole picture, the eyes and the mouth, each by itself; summed."""
    parts = (torch.ones_like(contours[:, :1]), *eyes_and_mouth(contours))
    return torch.stack([fidelity(result, truth, part) for part in parts]).sum()


def multiscale(
    distance: Callable[[Tensor, Tensor, Tensor], Tensor],
    result: Tensor, truth: Tensor, weight: Tensor, scales: int = 4,
) -> Tensor:  # fmt: skip
    """A distance at full resolution and after each halving, so that the whole picture counts as
    well as its pixels. (B, 3, H, W) in [0, 1]; weight (B, 1, H, W)."""
    total = torch.zeros((), device=result.device)
    for _ in range(scales):
        total = total + distance(result, truth, weight)
        result, truth, weight = (F.avg_pool2d(t, 2) for t in (result, truth, weight))
    return total / scales


def edge_loss(result: Tensor, truth: Tensor, weight: Tensor, scales: int = 2) -> Tensor:
    """L1 between the pictures' horizontal and vertical differences, at full and half size: says
    what is blurred where no perceptual features are at hand. Shapes as in `weighted_l1`."""
    total = torch.zeros((), device=result.device)
    for _ in range(scales):
        for axis in (2, 3):
            step = (result - truth).diff(dim=axis)
            here = weight.narrow(axis, 1, step.shape[axis])
            total = total + weighted_l1(step, torch.zeros_like(step), here)
        result, truth, weight = (F.avg_pool2d(t, 2) for t in (result, truth, weight))
    return total / (2 * scales)


def eyes_and_mouth(contours: Tensor) -> tuple[Tensor, Tensor]:
    """Two maps (B, 1, 256, 256) in [0, 1]: near the eyes, near the mouth; from drawn contours
    (B, 3, 256, 256)."""

    def near(fill: Tensor) -> Tensor:
        # By rows and then by columns, one channel in plain order: at once, and channels last, this
        # took a fifth of a step on a CPU (profiled once).
        x = (fill.clamp(0, 0.4) / 0.4).contiguous()
        for kernel, padding in (((9, 1), (4, 0)), ((1, 9), (0, 4))):
            x = F.max_pool2d(x, kernel, 1, padding)
        for kernel, padding in (((9, 1), (4, 0)), ((1, 9), (0, 4))):
            x = F.avg_pool2d(x, kernel, 1, padding, count_include_pad=False)
        return x

    return near(contours[:, 1:2]), near(contours[:, 2:3])


def attention(contours: Tensor, more: float = 6.0, eyes_weight: float = 1.0) -> Tensor:
    """(B, 1, 256, 256) weights: 1, and so much more at eyes and mouth, at the eyes times
    `eyes_weight`."""
    eyes, mouth = eyes_and_mouth(contours)
    return 1 + more * (eyes_weight * eyes + mouth)


def hinge_discriminator(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    """Hinge loss over the discriminator's scores at several scales."""
    total = torch.zeros((), device=real[0].device)
    for r, f in zip(real, fake, strict=True):
        total = total + F.relu(1 - r.float()).mean() + F.relu(1 + f.float()).mean()
    return total / len(real)


def hinge_generator(fake: list[Tensor]) -> Tensor:
    return -torch.stack([f.float().mean() for f in fake]).mean()


def feature_matching(real: list[Tensor], fake: list[Tensor]) -> Tensor:
    """L1 between the discriminator's features of truth and result (Wang et al. 2018, sec. 3.2)."""
    return torch.stack(
        [(r.detach().float() - f.float()).abs().mean() for r, f in zip(real, fake, strict=True)]
    ).mean()
