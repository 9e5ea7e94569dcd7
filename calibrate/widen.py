"""A larger tier that paints exactly what a smaller one does: where its training may begin.

    python -m calibrate.widen START.safetensors engines/data/small.safetensors --tier base

Channels and blocks that only the larger one has start without effect (Chen, Goodfellow and Shlens
2016, "Net2Net", with zeros instead of copies): what has been learned is kept, and the new channels
find their use from the first step on.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor

from calibrate.trained import load_trained, save_trained
from engines.contract import SpecMismatch
from engines.network import TIERS, Network, Tier

Layout: TypeAlias = tuple[int, ...]
"""Sizes of the parts that are side by side in a layer's channels."""


def layouts(tier: Tier) -> dict[str, tuple[Layout, Layout]]:
    """By layer, the parts of its outputs and of its inputs, where a tier decides their sizes; ()
    for a side that is the same in every tier. Other layers are left out."""
    f, d, s = tier.features, tier.detail, tier.synthesis
    found: dict[str, tuple[Layout, Layout]] = {
        "encoder.to_features": ((f,), ()),
        "encoder.to_detail.2": ((d,), ()),
        "generator.motion.enter.0": ((f,), (24, 2, f, f)),
        "generator.motion.down_32.0": ((), (f,)),
        "generator.motion.up_64.0": ((f,), ()),
        "generator.motion.join_64.0": ((f,), (f,)),
        "generator.motion.decide": ((), (f,)),
        "generator.synthesis.hidden": ((), (f,)),
        "generator.synthesis.enter": ((s,), (24, d, 16, 12)),
        "generator.synthesis.film": ((s, s), ()),
        "generator.synthesis.paint": ((), (s,)),
    }
    for block in range(tier.blocks):
        for half in ("first", "second"):
            found[f"generator.synthesis.blocks.{block}.{half}"] = ((s,), (s,))
    return found


@torch.no_grad()
def widen(network: Network, tier: str) -> Network:
    """The network of `tier` that computes what `network` does. Raises ValueError where a part of
    the tier is smaller. New channels are drawn from torch's default generator."""
    wider = Network(tier)
    before, after = layouts(TIERS[network.tier]), layouts(TIERS[tier])
    if not set(before) <= set(after):
        raise ValueError(f"{tier!r} has fewer blocks than {network.tier!r}")
    target = dict(wider.named_parameters())
    for name, source in network.named_parameters():
        layer = name.rpartition(".")[0]
        _place(target[name], source, before.get(layer, ((), ())), after.get(layer, ((), ())))
    return wider.eval()


def _place(
    target: Tensor, source: Tensor, before: tuple[Layout, Layout], after: tuple[Layout, Layout]
) -> None:
    """Puts the smaller layer's weights or biases where its channels lie in the larger one's."""
    outputs = _places(before[0], after[0], source.shape[0])
    if source.dim() == 1:
        target[outputs] = source
        return
    inputs = _places(before[1], after[1], source.shape[1])
    rows = torch.zeros_like(target[outputs])  # nothing new speaks to what was there
    rows[:, inputs] = source
    target[outputs] = rows


def _places(before: Layout, after: Layout, count: int) -> Tensor:
    """Where each of the smaller layer's `count` channels lies in the larger one."""
    if not before:
        return torch.arange(count)
    found, start = [], 0
    for old, new in zip(before, after, strict=True):
        if old > new:
            raise ValueError(f"a part of {new} channels cannot hold {old}")
        found.append(torch.arange(start, start + old))
        start += new
    return torch.cat(found)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Begins a larger tier as a smaller one.")
    parser.add_argument("out", type=Path, help="weights of the larger tier")
    parser.add_argument("weights", type=Path, help="of the smaller")
    parser.add_argument("--tier", choices=sorted(TIERS), default="base")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    torch.manual_seed(given.seed)
    try:
        save_trained(given.out, widen(load_trained(given.weights), given.tier))
    except (SpecMismatch, ValueError, OSError) as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
