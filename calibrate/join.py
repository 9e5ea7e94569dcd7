"""A committee of networks that were trained apart: where the larger tier begins.

    python -m calibrate.join BASE.safetensors ONE.safetensors TWO.safetensors THREE.safetensors

Every member keeps its weights as they are (engines.committee says what they do together). The
committee has no ranges for 8 bits: `python -m calibrate.ranges` measures them.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from calibrate.trained import load_trained, save_trained
from engines.contract import SpecMismatch
from engines.network import TIERS, Network


def join(members: Sequence[Network], tier: str) -> Network:
    """The network of `tier` whose members these are. Raises ValueError where it has other ones."""
    joined = Network(tier)
    wanted = TIERS[tier]
    if len(members) != wanted or any(TIERS[each.tier] != 1 for each in members):
        raise ValueError(f"the tier {tier!r} takes {wanted} networks with one member each")
    for committee, *parts in zip(_parts(joined), *(_parts(each) for each in members), strict=True):
        for member, part in zip(committee.members, parts, strict=True):
            member.load_state_dict(part.state_dict())
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
    given = parser.parse_args(arguments)
    try:
        save_trained(given.out, join([load_trained(path) for path in given.members], given.tier))
    except (SpecMismatch, ValueError, OSError) as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
