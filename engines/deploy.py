"""The network as it is deployed: bytes in and out, in float32 or with a float16 body.

What the exporter writes to ONNX and what the torch runtime runs.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from engines.contract import CONTOURS_SIZE, MOTION_SIZE, PICTURE_SIZE
from engines.grids import identity_grid, interleaved_grid
from engines.network import Network, crisper, motion_of, paint_over, painting_of


class GeneratorGraph(nn.Module):
    """The per-frame network with bytes in and out, as it is exported.

    contours (256, 256, 3) uint8, motion (128, 128, 2) float32 and the portrait's tensors give
    (512, 512, 4) uint8. With half=True the body runs in float16; motion, warp and blend stay in
    float32 because 11 bits cannot address the pixels of a picture.

    It computes what engines.network.Generator computes (the export checks that), but enlarges
    by sampling at fixed positions: OpenVINO's bf16 mode runs Resize in bf16, which costs layout
    changes and three times the error, and GridSample in float32.
    """

    def __init__(self, network: Network, *, half: bool = False) -> None:
        super().__init__()
        self.generator = network.generator.half() if half else network.generator
        self.body = torch.float16 if half else torch.float32
        for size in (MOTION_SIZE, CONTOURS_SIZE, PICTURE_SIZE):
            self._constant(f"grid_{size}", identity_grid(size))
        for size in (CONTOURS_SIZE, PICTURE_SIZE):
            self._constant(f"interleaved_{size}", interleaved_grid(size))
        self._constant("colours", np.array((1, 1, 1, 0), np.float32).reshape(1, 4, 1, 1))

    def _constant(self, name: str, values: NDArray[np.float32]) -> None:
        self.register_buffer(name, torch.from_numpy(values), persistent=False)

    def forward(
        self,
        contours: Tensor,
        motion: Tensor,
        portrait: Tensor,
        portrait_half: Tensor,
        features: Tensor,
        detail: Tensor,
        code: Tensor,
    ) -> Tensor:
        small = self.get_buffer(f"grid_{MOTION_SIZE}")
        middle = self.get_buffer(f"grid_{CONTOURS_SIZE}")
        large = self.get_buffer(f"grid_{PICTURE_SIZE}")
        network = self.generator
        # TensorRT takes bytes only as graph inputs and outputs, with a cast right beside them.
        drawn = contours.to(self.body).permute(2, 0, 1)[None] * (1 / 255)
        coarse = motion.permute(2, 0, 1)[None]
        decided, hidden, fine = network.motion(drawn, coarse, features.to(self.body))
        keep, residual = motion_of(decided)
        change = sample(torch.cat((keep, residual), 1), small)
        refined = change[:, :1] * coarse + change[:, 1:]
        moved_detail = sample(detail, refined.permute(0, 2, 3, 1) + small)
        moved = sample(portrait, self.enlarged_grid(refined, PICTURE_SIZE))
        moved_half = sample(portrait_half, self.enlarged_grid(refined, CONTOURS_SIZE))
        painted = network.synthesis(
            hidden, moved_detail.to(self.body), fine, moved_half, code.to(self.body)
        )
        colour, mask, alpha_change = painting_of(painted, moved_half)
        alpha_change = sample(alpha_change.float(), middle)
        painted, share = paint_over(moved_half, colour, mask)
        # Each by itself: joined, they would have to be split again.
        painted, share = crisper(painted), crisper(share)
        added = sample(torch.cat((painted, alpha_change), 1), large)
        share = sample(share, large) * self.get_buffer("colours")
        picture = torch.clamp(moved * (1 - share) + added, 0, 1)
        return (picture * 255 + 0.5)[0].permute(1, 2, 0).to(torch.uint8)

    def enlarged_grid(self, offset: Tensor, size: int) -> Tensor:
        """The sampling grid (1, size, size, 2) that moves by `offset` (1, 2, 128, 128).

        The two planes are enlarged as one picture of twice the height, at positions that take
        from them in turn: the result already lies as a grid must, with no transpose.
        """
        stacked = offset.reshape(1, 1, 2 * MOTION_SIZE, MOTION_SIZE)
        enlarged = sample(stacked, self.get_buffer(f"interleaved_{size}"))
        return enlarged.reshape(1, size, size, 2) + self.get_buffer(f"grid_{size}")


def sample(x: Tensor, grid: Tensor) -> Tensor:
    """Bilinear values of x (1, C, H, W) at grid (1, h, w, 2), edges repeated."""
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)


class EncoderGraph(nn.Module):
    """The encoder with bytes in: rgb (512, 512, 3), matte (512, 512), contours (256, 256, 3)."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.encoder = network.encoder

    def forward(
        self, portrait_rgb: Tensor, portrait_matte: Tensor, portrait_contours: Tensor
    ) -> tuple[Tensor, ...]:
        rgba = torch.cat((portrait_rgb, portrait_matte[:, :, None]), 2).permute(2, 0, 1)[None]
        drawn = portrait_contours.permute(2, 0, 1)[None].float() * (1 / 255)
        return tuple(self.encoder(rgba.float() * (1 / 255), drawn))
