"""Several source pictures of one person as one portrait.

Every extra picture is first moved onto the main portrait's geometry by the coarse motion, then
encoded, and its features are averaged with the main portrait's where both show the same. There
is nothing to learn here: averaging the encodings of K pictures is the embedding of Zakharov et
al. (ICCV 2019, section 3.2), spatial because the pictures were aligned first.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from calibrate.cuts import Cut, align
from calibrate.near import cut_part
from engines.branches import Portrait
from engines.network import Moved, Network
from puppet.draw import draw_contours


def blend(main: Portrait, others: Portrait, weight: Tensor) -> Portrait:
    """Weighted mean of a portrait's encoding with those of S aligned pictures.

    `main` is batched (B, ...), `others` (B * S, ...) in the same order, `weight` (B, S, 64, 64);
    the main portrait's own weight is 1, and its pixels stay as they are.
    """
    batch, several = weight.shape[:2]

    def mean(own: Tensor, extra: Tensor) -> Tensor:
        size = own.shape[2:]
        share = weight if size == weight.shape[2:] else F.interpolate(weight, size, mode="bilinear")
        extra = extra.reshape(batch, several, *own.shape[1:])
        total = own + (extra * share[:, :, None].to(extra.dtype)).sum(1)
        return total / (1 + share.sum(1, keepdim=True)).to(own.dtype)

    alike = weight.mean((2, 3))[..., None].to(main.code.dtype)
    codes = others.code.reshape(batch, several, -1)
    code = (main.code + (codes * alike).sum(1)) / (1 + alike.sum(1))
    features, detail = mean(main.features, others.features), mean(main.detail, others.detail)
    return Portrait(main.portrait, main.half, features, detail, code)


class SeveralSources(nn.Module):
    """A network whose portrait may come from several pictures; adds no parameters."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(
        self,
        portrait: Tensor,
        portrait_contours: Tensor,
        contours: Tensor,
        motion: Tensor,
        extra: Tensor | None = None,
        extra_weight: Tensor | None = None,
        corners: Tensor | None = None,
    ) -> Moved:
        """As `Network`; `extra` (B, S, 4, 256, 256) in [0, 1], `extra_weight` (B, S, 64, 64). With
        `corners`, (B, 2), only the part that begins there is painted, see calibrate.near."""
        encoded: Portrait = self.network.encoder(portrait, portrait_contours)
        if extra is not None and extra_weight is not None:
            drawn = portrait_contours.repeat_interleave(extra.shape[1], 0)
            encoded = blend(encoded, self.network.encoder(extra.flatten(0, 1), drawn), extra_weight)
        generator = self.network.generator
        warped = generator.warp(contours, motion, encoded)
        if corners is not None:
            warped = cut_part(warped, corners)
        return generator.paint(warped, encoded.code)


def combine(network: Network, portraits: Sequence[Cut]) -> Portrait:
    """Encodes 1 to 8 (or more) pictures of a person as one portrait; the first is the main one.

    Returns a batch of one, float32, on the network's device, without gradients.
    """
    main, others = portraits[0], portraits[1:]
    device = next(network.parameters()).device
    contours = _picture(draw_contours(main.points), device)
    with torch.no_grad():
        encoded: Portrait = network.encoder(_rgba(main, device), contours)
        if not others:
            return encoded
        aligned = [align(main, other) for other in others]
        pictures = torch.cat([_rgba(cut, device) for cut, _ in aligned])
        weight = torch.from_numpy(np.stack([w for _, w in aligned]))[None].to(device)
        extra = network.encoder(pictures, contours.expand(len(others), -1, -1, -1))
        return blend(encoded, extra, weight)


def _picture(values: NDArray[np.uint8], device: torch.device) -> Tensor:
    return torch.from_numpy(values).to(device).permute(2, 0, 1)[None].float() / 255


def _rgba(cut: Cut, device: torch.device) -> Tensor:
    return _picture(np.dstack((cut.rgb, cut.matte)), device)
