"""A larger tier that begins as a smaller one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from calibrate.trained import load_trained, save_trained
from calibrate.widen import main, widen
from engines.network import Network


@pytest.fixture
def small() -> Network:
    torch.manual_seed(3)
    network = Network("small").eval()
    with torch.no_grad():  # layers that start at zero must count too
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.03)
    return network


@pytest.fixture
def inputs() -> tuple[torch.Tensor, ...]:
    torch.manual_seed(4)
    picture, drawn, pose = (torch.rand(1, channels, 256, 256) for channels in (4, 3, 3))
    return picture, drawn, pose, 0.05 * torch.randn(1, 2, 128, 128)


def test_it_paints_what_the_smaller_one_paints(
    small: Network, inputs: tuple[torch.Tensor, ...]
) -> None:
    base = widen(small, "base")
    assert base.tier == "base"
    with torch.no_grad():
        wanted, found = small(*inputs), base(*inputs)
    assert wanted.mask.std() > 1e-3  # there is something to keep
    for name in ("rgb", "alpha", "keep", "residual", "mask", "painted"):
        assert torch.allclose(getattr(wanted, name), getattr(found, name), atol=2e-4), name


def test_what_is_new_learns_from_the_first_step_on(
    small: Network, inputs: tuple[torch.Tensor, ...]
) -> None:
    base = widen(small, "base").train()
    moved = base(*inputs)
    (moved.rgb.square().mean() + moved.alpha.mean()).backward()
    into_new = base.generator.synthesis.paint.weight.grad
    assert into_new is not None
    assert into_new[:, 48:].abs().max() > 0
    last = base.generator.synthesis.blocks[-1].second.weight.grad
    assert last is not None
    assert last.abs().max() > 0


def test_a_smaller_tier_cannot_hold_it(tmp_path: Path) -> None:
    save_trained(tmp_path / "base.safetensors", Network("base"))
    with pytest.raises(SystemExit, match="fewer blocks"):
        main([str(tmp_path / "out.safetensors"), str(tmp_path / "base.safetensors"),
              "--tier", "small"])  # fmt: skip
    assert not (tmp_path / "out.safetensors").exists()


def test_the_command_writes_weights_that_load(small: Network, tmp_path: Path) -> None:
    save_trained(tmp_path / "small.safetensors", small)
    main([str(tmp_path / "base.safetensors"), str(tmp_path / "small.safetensors")])
    assert load_trained(tmp_path / "base.safetensors").tier == "base"
