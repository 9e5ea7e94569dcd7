"""Networks to and from weights files."""

from __future__ import annotations

from pathlib import Path

from engines.contract import SpecMismatch
from engines.network import Network, network_of
from engines.quantize import Ranges
from engines.weights import read_weights, write_weights
from puppet.draw import DRAW_STYLE


def load_trained(path: Path) -> Network:
    """The network of a weights file, in float32 and not training. Raises SpecMismatch for weights
    of another network, and for those that were trained on another drawing of the landmarks."""
    weights = read_weights(path)
    if weights.draw_style != DRAW_STYLE:
        raise SpecMismatch(
            f"{path} was trained on the drawing {weights.draw_style!r}, this version draws "
            f"{DRAW_STYLE!r}: train again."
        )
    return network_of(weights)


def save_trained(path: Path, network: Network, ranges: Ranges | None = None) -> None:
    """Writes a network's weights file, with what comes into its convolutions where that was
    measured. What was there before stays until the new file is whole."""
    tensors = {name: t.detach().float().cpu().numpy() for name, t in network.state_dict().items()}
    write_weights(path, tensors, tier=network.tier, draw_style=DRAW_STYLE, ranges=ranges)
