"""Weights files of networks, and mixtures of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from calibrate import mix as command
from calibrate.mix import mix
from calibrate.trained import load_trained, save_trained
from engines.contract import SpecMismatch
from engines.network import Network
from engines.weights import read_weights, write_weights
from puppet.draw import DRAW_STYLE


def network(seed: int, tier: str = "small") -> Network:
    torch.manual_seed(seed)
    made = Network(tier)
    with torch.no_grad():
        for each in made.parameters():  # what starts at nothing too
            each.copy_(torch.randn_like(each) * 0.1)
    return made


def weights_of(path: Path) -> torch.Tensor:
    tensors = read_weights(path).tensors
    return torch.cat([torch.from_numpy(tensors[n]).float().flatten() for n in sorted(tensors)])


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    ranges = {"generator.synthesis.enter": np.array(((-1,), (2,)), np.float32)}
    save_trained(path, network(1), ranges)
    loaded = load_trained(path)
    for name, tensor in network(1).state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor.half().float())
    read = read_weights(path).ranges
    assert read.keys() == ranges.keys()
    assert all((read[name] == limits).all() for name, limits in ranges.items())


def test_weights_of_another_drawing_or_shape_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    tensors = {name: t.numpy() for name, t in network(1).state_dict().items()}
    write_weights(path, tensors, tier="small", draw_style="strokes-0")
    with pytest.raises(SpecMismatch, match="strokes-0"):
        load_trained(path)
    write_weights(path, tensors, tier="base", draw_style=DRAW_STYLE)
    with pytest.raises(SpecMismatch, match="not of the 'base' network"):
        load_trained(path)
    write_weights(path, tensors, tier="huge", draw_style=DRAW_STYLE)
    with pytest.raises(SpecMismatch, match="no network 'huge'"):
        load_trained(path)


def test_a_mixture_is_the_mean_in_the_given_shares(tmp_path: Path) -> None:
    paths = [tmp_path / f"{seed}.safetensors" for seed in (1, 2)]
    for seed, path in enumerate(paths, 1):
        save_trained(path, network(seed))
    out = tmp_path / "mixed.safetensors"
    command.main([str(out), *map(str, paths), "--shares", "1", "3"])
    one, other = map(weights_of, paths)
    assert torch.allclose(weights_of(out), (one + 3 * other) / 4, atol=1e-3)
    command.main([str(out), *map(str, paths)])
    assert torch.allclose(weights_of(out), (one + other) / 2, atol=1e-3)


def test_networks_that_do_not_fit_are_not_mixed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="one tier"):
        mix([network(1), Network("base")], [1, 1])
    for shares in ([1.0], [1.0, -1.0], [0.0, 0.0]):
        with pytest.raises(ValueError, match="share"):
            mix([network(1), network(2)], shares)
    with pytest.raises(SystemExit, match="cannot be read"):
        command.main([str(tmp_path / "out"), str(tmp_path / "none.safetensors")])
