"""The optimiser of hidden convolutions."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from calibrate.muon import Muon, hidden_weights, orthogonal
from engines.network import Network


@pytest.mark.parametrize("shape", [(16, 90), (90, 16), (24, 24)])
def test_every_direction_gets_about_the_same_length(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    given = torch.randn(shape) @ torch.diag(torch.logspace(0, -2, shape[1]))
    u, _, v = torch.linalg.svd(given, full_matrices=False)
    found = orthogonal(given)
    lengths = torch.linalg.svdvals(found)
    assert found.shape == shape
    assert lengths.max() < 1.3
    assert lengths[: len(lengths) // 2].min() > 0.6
    # The same directions: seen along them it is diagonal.
    seen = u.T @ found @ v.T
    assert (seen - torch.diag(seen.diagonal())).abs().max() < 1e-3


def test_weak_directions_are_learned_too() -> None:
    """One input a hundred times weaker than the other: momentum alone hardly sees it."""
    torch.manual_seed(0)
    pictures = torch.randn(64, 2, 4, 4) * torch.tensor((1.0, 0.01)).reshape(1, 2, 1, 1)

    def left_over(muon: bool) -> float:
        torch.manual_seed(1)
        layer = nn.Conv2d(2, 2, 1, bias=False)
        wanted = torch.eye(2).reshape(2, 2, 1, 1)
        optimiser: torch.optim.Optimizer = (
            Muon(layer.parameters(), 0.05, weight_decay=0)
            if muon
            else torch.optim.SGD(layer.parameters(), 0.05, momentum=0.95)
        )
        for _ in range(200):
            optimiser.zero_grad()
            error = layer(pictures) - nn.functional.conv2d(pictures, wanted)
            error.square().mean().backward()
            optimiser.step()
        return float((layer.weight - wanted)[:, 1].detach().abs().max())

    assert left_over(muon=True) < 0.1 < left_over(muon=False)


def test_layers_next_to_pictures_are_left_to_adam() -> None:
    network = Network("small")
    hidden, rest = hidden_weights(network)
    assert len(hidden) + len(rest) == len(list(network.parameters()))
    assert all(weight.dim() == 4 for weight in hidden)
    others = {id(parameter) for parameter in rest}
    assert id(network.generator.synthesis.paint.weight) in others
    assert id(network.generator.motion.decide.weight) in others
    assert id(network.encoder.at_128[0].weight) in others
    assert sum(w.numel() for w in hidden) > 0.9 * sum(p.numel() for p in network.parameters())
