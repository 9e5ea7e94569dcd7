"""What comes into every convolution of a generator, measured, so that 8 bits can hold it.

    python -m calibrate.ranges WEIGHTS.safetensors --cache CACHE/train --stills CACHE/portraits

rewrites the weights file with the ranges in it. Clips are photographs; stills add paintings and
statues. The drawn head that engines are compared on (engines.parity) is like neither and belongs to
the ranges too: clipped, it would say nothing of an engine.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from calibrate.batch import to_device
from calibrate.data import PairDataset, open_cache
from calibrate.trained import load_trained, save_trained
from engines.branches import Portrait
from engines.contract import SpecMismatch
from engines.network import Network
from engines.parity import reference_images, reference_portrait_arrays
from engines.quantize import Ranges

SHARE = 1e-5
"""Of all values: those beyond are clipped. A few outliers would cost all others their precision."""


@contextmanager
def measuring(generator: nn.Module) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Within it, every pass through `generator` widens the ranges it gives; named as in the
    weights file, under 'generator.'."""
    ranges: dict[str, NDArray[np.float32]] = {}

    def note(name: str, x: Tensor) -> None:
        values = x.detach().float().transpose(0, 1).flatten(1)  # (channels, everything of each)
        beyond = 1 + int(SHARE * values.shape[1])
        ends = [values.topk(beyond, 1, largest=large).values[:, -1] for large in (False, True)]
        limits = torch.stack(ends).cpu().numpy()
        ranges[name] = _wider(ranges.get(name, np.zeros_like(limits)), limits)

    hooks = [
        module.register_forward_pre_hook(
            lambda _, inputs, name=f"generator.{name}": note(name, inputs[0])
        )
        for name, module in generator.named_modules()
        if isinstance(module, nn.Conv2d)
    ]
    try:
        yield ranges
    finally:
        for hook in hooks:
            hook.remove()


def united(one: Ranges, other: Ranges) -> Ranges:
    """Ranges that hold both; convolutions that only one knows are left out."""
    return {name: _wider(one[name], other[name]) for name in one.keys() & other.keys()}


def _wider(one: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.stack((np.minimum(one[0], other[0]), np.maximum(one[1], other[1])))


@torch.no_grad()
def measure_ranges(network: Network, batches: Iterable[dict[str, Tensor]]) -> Ranges:
    """Over batches as `calibrate.train.to_device` makes them."""
    with measuring(network.generator) as ranges:
        for batch in batches:
            portrait: Portrait = network.encoder(batch["portrait"], batch["portrait_contours"])
            network.generator(batch["contours"], batch["motion"], portrait)
    return ranges


def drawn_heads() -> Iterator[dict[str, Tensor]]:
    """What engines are compared on, in batches of one."""
    rgb, matte, contours = reference_portrait_arrays()
    portrait = {
        "portrait": _planes(np.dstack((rgb, matte))) / 255,
        "portrait_contours": _planes(contours) / 255,
    }
    for image in reference_images():
        yield {
            **portrait, "contours": _planes(image.contours) / 255, "motion": _planes(image.motion)
        }  # fmt: skip


def _planes(picture: NDArray[Any]) -> Tensor:
    """(H, W, C) to (1, C, H, W) float32."""
    return torch.from_numpy(picture).permute(2, 0, 1)[None].float().contiguous()


def main() -> None:
    parser = argparse.ArgumentParser(description="Puts ranges for 8 bits into a weights file.")
    parser.add_argument("weights", type=Path)
    parser.add_argument("--cache", type=Path, required=True, help="cached clips")
    parser.add_argument("--stills", type=Path, help="cached stills")
    parser.add_argument("--samples", type=int, default=64)
    given = parser.parse_args()
    try:
        network = load_trained(given.weights)
    except SpecMismatch as error:
        raise SystemExit(str(error)) from error
    stills = open_cache(given.stills) if given.stills else []
    pairs = PairDataset(
        open_cache(given.cache), stills, length=given.samples, seed=0, stills_share=0.4,
        foreground_share=0.35,
    )  # fmt: skip
    device = torch.device("cpu")
    samples = (to_device(raw, device) for raw in DataLoader(pairs, batch_size=4))
    ranges = measure_ranges(network, chain(samples, drawn_heads()))
    save_trained(given.weights, network, ranges)


if __name__ == "__main__":
    main()
