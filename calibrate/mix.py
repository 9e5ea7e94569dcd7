"""The mean of several weights files: runs that began with the same weights and saw other samples
agree on what is to be learned, and mixing takes out much of what is chance (Wortsman et al. 2022,
"Model soups").

    python -m calibrate.mix MIXED.safetensors ONE.safetensors OTHER.safetensors --shares 1 3

The mixture has no ranges for 8 bits: `python -m calibrate.ranges` measures them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from calibrate.trained import load_trained, save_trained
from engines.contract import SpecMismatch
from engines.network import Network


@torch.no_grad()
def mix(networks: Sequence[Network], shares: Sequence[float]) -> Network:
    """A network whose every weight is the mean of the given ones', in these shares of their sum."""
    if len({network.tier for network in networks}) != 1:
        raise ValueError("networks of one tier can be mixed, not of several")
    if len(networks) != len(shares) or min(shares) < 0 or sum(shares) <= 0:
        raise ValueError("every network needs a share, none below 0 and one above")
    mixed = Network(networks[0].tier)
    for each in mixed.parameters():
        each.zero_()
    for network, share in zip(networks, shares, strict=True):
        for each, part in zip(mixed.parameters(), network.parameters(), strict=True):
            each.add_(part, alpha=share / sum(shares))
    return mixed.eval()


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Mixes weights files.")
    parser.add_argument("out", type=Path, help="the mixture")
    parser.add_argument("weights", type=Path, nargs="+")
    parser.add_argument("--shares", type=float, nargs="+", help="of each; left out, alike")
    given = parser.parse_args(arguments)
    try:
        networks = [load_trained(path) for path in given.weights]
        save_trained(given.out, mix(networks, given.shares or [1.0] * len(networks)))
    except (SpecMismatch, ValueError, OSError) as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
