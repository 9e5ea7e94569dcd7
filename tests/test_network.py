"""The generator as a torch network: what its parts promise."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from engines.branches import Portrait, resize
from engines.network import Network, crisper, paint_over


def test_at_its_own_resolution_painting_is_a_plain_blend() -> None:
    torch.manual_seed(0)
    moved, colour = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    mask = torch.rand(2, 1, 8, 8)
    added, share = paint_over(moved, colour, mask)
    assert torch.allclose(moved * (1 - share) + added, moved * (1 - mask) + colour * mask)


def test_what_is_only_tinted_keeps_the_portrait_s_finest_detail() -> None:
    torch.manual_seed(0)
    fine = torch.rand(1, 3, 16, 16)  # the portrait, with detail that the painting cannot hold
    coarse = F.avg_pool2d(fine, 2)
    grain = fine - resize(coarse, 2)

    def painted(mask: float) -> torch.Tensor:
        added, share = paint_over(coarse, coarse, torch.full((1, 1, 8, 8), mask))
        return fine * (1 - resize(share, 2)) + resize(added, 2)

    def kept(mask: float) -> float:
        return float(((painted(mask) - resize(coarse, 2)) / grain).median())

    assert kept(0.1) > 0.95  # the same colour, and nearly all its grain
    assert 0.7 < kept(0.3) < 0.9
    assert abs(kept(0.75) - 0.25) < 1e-3
    covered = painted(1.0)
    assert torch.allclose(covered, resize(coarse, 2), atol=1e-6)  # covered, grain and all


def test_what_is_painted_is_crisper_without_combs() -> None:
    column = torch.arange(64.0).expand(1, 1, 64, 64)
    inside = (..., slice(4, -4), slice(4, -4))
    flat, comb = torch.ones(1, 1, 64, 64), 1 - 2 * (column % 2)
    detail = torch.sin(torch.pi / 2 * column + torch.pi / 4)  # four pixels long
    assert torch.allclose(crisper(flat)[inside], flat[inside], atol=1e-6)
    assert torch.allclose(crisper(detail)[inside], 1.15 * detail[inside], atol=1e-5)
    assert torch.allclose(crisper(comb)[inside], 0.6 * comb[inside], atol=1e-6)


def test_untrained_networks_hand_the_coarse_motion_on() -> None:
    torch.manual_seed(0)
    network = Network("small").eval()
    portrait, contours = torch.rand(1, 4, 256, 256), torch.rand(1, 3, 256, 256)
    motion = torch.zeros(1, 2, 128, 128)
    with torch.no_grad():
        encoded: Portrait = network.encoder(portrait, contours)
        moved = network.generator(contours, motion, encoded)
    assert torch.allclose(moved.keep, torch.ones_like(moved.keep))
    assert moved.residual.abs().max() == 0
    assert (moved.rgb - portrait[:, :3]).abs().max() < 0.02
    assert (moved.alpha - portrait[:, 3:]).abs().max() < 0.02


def test_training_sees_the_large_picture_averaged_down() -> None:
    torch.manual_seed(0)
    network = Network("small").eval()
    with torch.no_grad():  # paints all kinds of things, opaque ones too
        network.generator.synthesis.paint.weight.normal_(std=0.3)
        network.generator.synthesis.paint.bias.normal_()
    contours, motion = torch.rand(1, 3, 256, 256), torch.zeros(1, 2, 128, 128)
    grey = torch.full((1, 4, 256, 256), 0.5)
    with torch.no_grad():
        encoded: Portrait = network.encoder(grey, contours)
        trained = network.generator(contours, motion, encoded)
        large = encoded._replace(portrait=torch.full((1, 4, 512, 512), 0.5))
        shown = network.generator(contours, motion, large)
    assert shown.rgb.shape[-1] == 512
    assert float(trained.rgb.std()) > 0.05
    assert torch.allclose(F.avg_pool2d(shown.rgb, 2), trained.rgb, atol=1e-5)
