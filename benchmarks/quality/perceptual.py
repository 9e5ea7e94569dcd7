"""Perceptual distance: SqueezeNet features, over the whole picture and within regions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

from benchmarks.quality.metrics import Mask
from puppet.contract import Rgb


class Perceptual:
    """Mean over the taps of the squared difference of channel-normalised features (Zhang et al.
    2018, without learned channel weights). 0 is equal."""

    def __init__(self, weights: Path) -> None:
        """`weights`: the .npz that calibrate.losses.SqueezeNetFeatures takes. Raises ImportError
        without torch, OSError or KeyError for a file that is none."""
        import torch

        from calibrate.losses import SqueezeNetFeatures

        torch.set_num_threads(1)
        self._features = SqueezeNetFeatures(weights).eval()

    def compare(
        self, results: Mapping[str, Rgb], truth: Rgb, regions: Mapping[str, Mask]
    ) -> dict[str, dict[str, float | None]]:
        """For each result 'perceptual' and 'perceptual_<region>'; None in an empty region."""
        import torch

        from calibrate.losses import perceptual_maps

        stack = np.stack([*results.values(), truth])
        pictures = torch.from_numpy(stack).permute(0, 3, 1, 2).float() / 255
        with torch.inference_mode():
            taps = self._features(pictures)
            maps = perceptual_maps(
                [tap[:-1] for tap in taps],
                [tap[-1:].expand(len(results), -1, -1, -1) for tap in taps],
            )
        found: dict[str, dict[str, float | None]] = {}
        for i, name in enumerate(results):
            own = [np.asarray(tap[i, 0].numpy(), np.float32) for tap in maps]
            found[name] = {"perceptual": float(np.mean([tap.mean() for tap in own]))}
            for region, mask in regions.items():
                found[name][f"perceptual_{region}"] = _within(own, mask)
        return found


def _within(
    taps: list[np.ndarray[tuple[int, ...], np.dtype[np.float32]]], mask: Mask
) -> float | None:
    """Each tap's mean under the mask, averaged down to the tap's size."""
    if not mask.any():
        return None
    values = []
    for tap in taps:
        size = (tap.shape[1], tap.shape[0])
        share = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        values.append(float((tap * share).sum() / share.sum()))
    return float(np.mean(values))
