"""A committee of networks that were trained apart: where the larger tier begins.

    python -m calibrate.join BASE.safetensors ONE.safetensors TWO.safetensors THREE.safetensors

Every member keeps its weights but for one thing: where members do not agree their mean is paler
than each of them, so all change colours a little more (engines.committee says what they do
together). The committee has no ranges for 8 bits: `python -m calibrate.ranges` measures them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from calibrate.trained import load_trained, save_trained
from engines.contract import SpecMismatch
from engines.network import TIERS, Network

EMPHASIS = 1.08
"""By what a committee changes the warped portrait's colours more than the mean of its members.
Chosen on the validation people (MODEL_CARD.md)."""
_COLOURS = 3 * 4
"""Of the painted channels, the first: red, green and blue of four pixels each, see
engines.network.painting_of."""


@torch.no_grad()
def join(members: Sequence[Network], tier: str, *, emphasis: float = EMPHASIS) -> Network:
    """The network of `tier` whose members these are. Raises ValueError where it has other ones."""
    joined = Network(tier)
    wanted = TIERS[tier]
    if len(members) != wanted or any(TIERS[each.tier] != 1 for each in members):
        raise ValueError(f"the tier {tier!r} takes {wanted} networks with one member each")
    for committee, *parts in zip(_parts(joined), *(_parts(each) for each in members), strict=True):
        for member, part in zip(committee.members, parts, strict=True):
            member.load_state_dict(part.state_dict())
    for name, parameter in joined.generator.synthesis.named_parameters():
        if ".paint." in name:
            parameter[:_COLOURS] *= emphasis
    return joined.eval()


def _parts(network: Network) -> tuple[nn.Module, nn.Module, nn.Module]:
    return network.encoder, network.generator.motion, network.generator.synthesis


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Joins networks to a larger tier.")
    parser.add_argument("out", type=Path, help="weights of the larger tier")
    parser.add_argument("members", type=Path, nargs="+", help="weights of its members")
    parser.add_argument(
        "--tier", choices=[name for name, members in TIERS.items() if members > 1], default="base"
    )
    parser.add_argument("--emphasis", type=float, default=EMPHASIS, help="of what they paint")
    given = parser.parse_args(arguments)
    try:
        members = [load_trained(path) for path in given.members]
        save_trained(given.out, join(members, given.tier, emphasis=given.emphasis))
    except (SpecMismatch, ValueError, OSError) as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
