"""What training minimises: every picture counts alike, and each loss says what it is meant to."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch.nn import functional as F

from calibrate.losses import (
    attention,
    edge_loss,
    fidelity,
    multiscale,
    perceptual_maps,
    weighted_l1,
    weighted_l2,
)


def test_losses_count_pictures_alike() -> None:
    torch.manual_seed(0)
    a, b = torch.rand(4, 3, 64, 64), torch.rand(4, 3, 64, 64)
    weight = torch.rand(4, 1, 64, 64) * torch.tensor((1.0, 5.0, 1.0, 9.0)).reshape(4, 1, 1, 1)
    for loss in (
        partial(multiscale, weighted_l1),
        partial(multiscale, weighted_l2),
        edge_loss,
        fidelity,
    ):
        whole = loss(a, b, weight)
        halves = (loss(a[:2], b[:2], weight[:2]) + loss(a[2:], b[2:], weight[2:])) / 2
        assert torch.allclose(whole, halves)
    sharp = torch.zeros(1, 3, 64, 64)
    sharp[..., ::4] = 1
    blurred = torch.nn.functional.avg_pool2d(sharp, 5, 1, 2)
    grey = torch.full_like(sharp, float(sharp.mean()))
    one = torch.ones(1, 1, 64, 64)
    assert edge_loss(sharp, sharp, one) == 0
    assert edge_loss(blurred, sharp, one) > 2 * edge_loss(grey, grey + 0.1, one)


@pytest.mark.parametrize(
    ("dtype", "near"), [(torch.float32, 1e-5), (torch.bfloat16, 0.05)], ids=["f32", "bf16"]
)
def test_feature_distance_and_its_gradient_are_those_of_normalised_features(
    dtype: torch.dtype, near: float
) -> None:
    """Against the definition, written with autograd."""
    torch.manual_seed(0)
    truth, weight = torch.rand(2, 96, 9, 9), torch.rand(2, 1, 9, 9)
    given = truth + 0.3 * torch.rand(2, 96, 9, 9)
    result = given.clone().requires_grad_()
    wanted = ((F.normalize(result) - F.normalize(truth)) ** 2).sum(1, keepdim=True)
    (wanted * weight).sum().backward()
    mine = given.to(dtype).requires_grad_()
    (found,) = perceptual_maps([mine], [truth.to(dtype)])
    (found * weight).sum().backward()
    assert mine.grad is not None
    assert result.grad is not None
    assert (found - wanted).abs().max() < near
    assert (mine.grad.float() - result.grad).norm() < near * result.grad.norm()


def test_fidelity_weighs_a_decibel_alike_near_and_far() -> None:
    truth = torch.full((1, 3, 32, 32), 0.5)
    weight = torch.ones(1, 1, 32, 32)

    def off_by(error: float) -> float:
        return float(fidelity(truth + error, truth, weight))

    assert off_by(0) == 0
    near, far = off_by(0.04) - off_by(0.02), off_by(0.4) - off_by(0.2)
    assert near == pytest.approx(far, rel=0.1)
    # Below what two frames of a camera differ by there is little to be had.
    assert off_by(0.002) - off_by(0.001) < near / 4


def test_fidelity_of_a_region_that_is_not_in_the_picture_is_nothing() -> None:
    result = torch.rand(2, 3, 32, 32, requires_grad=True)
    loss = fidelity(result, torch.rand(2, 3, 32, 32), torch.zeros(2, 1, 32, 32))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss == 0
    assert result.grad is not None
    assert result.grad.abs().max() == 0


def test_attention_is_at_eyes_and_mouth_and_may_prefer_the_eyes() -> None:
    contours = torch.zeros(1, 3, 64, 64)
    contours[0, 1, 10, 20] = contours[0, 2, 50, 40] = 0.5
    plain, eyes_first = attention(contours, 4.0), attention(contours, 4.0, 2.5)
    assert float(plain[0, 0, 10, 20]) == float(plain[0, 0, 50, 40]) == pytest.approx(5.0)
    assert float(eyes_first[0, 0, 10, 20]) == pytest.approx(11.0)
    assert float(eyes_first[0, 0, 50, 40]) == pytest.approx(5.0)
    assert float(eyes_first[0, 0, 32, 60]) == 1.0
