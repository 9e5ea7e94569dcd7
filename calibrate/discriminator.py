"""Judges whether a picture fits its landmark contours; used in training only."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm


class Judgement(NamedTuple):
    scores: list[Tensor]  # (B, 1, h, w) each, from fine to coarse
    features: list[Tensor]


class PatchDiscriminator(nn.Module):
    """Patch scores at two scales (Isola et al. 2017; Wang et al. 2018, section 3.1), conditioned
    on the contours, with spectral normalisation (Miyato et al. 2018)."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.scales = nn.ModuleList(self._scale(width) for _ in range(2))

    @staticmethod
    def _scale(width: int) -> nn.ModuleList:
        layers = nn.ModuleList()
        inputs = 6
        for i in range(4):
            outputs = width * 2 ** min(i, 3)
            layers.append(spectral_norm(nn.Conv2d(inputs, outputs, 4, 2 if i < 3 else 1, 1)))
            inputs = outputs
        layers.append(spectral_norm(nn.Conv2d(inputs, 1, 4, 1, 1)))
        return layers

    def forward(self, rgb: Tensor, contours: Tensor) -> Judgement:
        """rgb and contours (B, 3, 256, 256) in [0, 1]."""
        x = torch.cat((rgb * 2 - 1, contours), 1)
        scores, features = [], []
        for scale in self.scales:
            y = x
            assert isinstance(scale, nn.ModuleList)
            for layer in scale[:-1]:
                y = F.leaky_relu(layer(y), 0.2)
                features.append(y)
            scores.append(scale[-1](y))
            x = F.avg_pool2d(x, 2)
        return Judgement(scores, features)
