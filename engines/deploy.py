"""The network as it is deployed: bytes in and out, in float32 or with a float16 body.

What the exporter writes to ONNX and what the torch runtime runs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from engines.coarse import identity_grid
from engines.contract import CONTOURS_SIZE, MOTION_SIZE, PICTURE_SIZE
from engines.network import Network


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
        for size in (MOTION_SIZE, PICTURE_SIZE):
            grid = torch.from_numpy(identity_grid(size))
            self.register_buffer(f"grid_{size}", grid, persistent=False)

    def forward(
        self,
        contours: Tensor,
        motion: Tensor,
        portrait: Tensor,
        features: Tensor,
        detail: Tensor,
        code: Tensor,
    ) -> Tensor:
        small = self.get_buffer(f"grid_{MOTION_SIZE}")
        large = self.get_buffer(f"grid_{PICTURE_SIZE}")
        network = self.generator
        # TensorRT takes bytes only as graph inputs and outputs, with a cast right beside them.
        drawn = contours.to(self.body).permute(2, 0, 1)[None] * (1 / 255)
        coarse = motion.permute(2, 0, 1)[None]
        decided = network.motion(drawn, coarse, features.to(self.body))
        keep, residual, hidden, fine = decided
        change = sample(torch.cat((keep, residual), 1), small)
        refined = change[:, :1] * coarse + change[:, 1:]
        moved_detail = sample(detail, refined.permute(0, 2, 3, 1) + small)
        moved = sample(portrait, sample(refined, large).permute(0, 2, 3, 1) + large)
        half_size = F.avg_pool2d(moved, PICTURE_SIZE // CONTOURS_SIZE)[:, :3]
        synthesis = network.synthesis(
            hidden, moved_detail.to(self.body), fine, half_size, code.to(self.body)
        )
        painted = sample(torch.cat(synthesis, 1), large)
        colour, mask, alpha_change = painted[:, :3], painted[:, 3:4], painted[:, 4:]
        rgb = moved[:, :3] + mask * (colour - moved[:, :3])
        picture = torch.clamp(torch.cat((rgb, moved[:, 3:] + alpha_change), 1), 0, 1)
        return (picture * 255 + 0.5)[0].permute(1, 2, 0).to(torch.uint8)


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
