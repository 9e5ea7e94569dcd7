"""A part of a picture painted for the whole: it is what the whole shows there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from calibrate.batch import to_device
from calibrate.combine import SeveralSources
from calibrate.cuts import SIZE, Cut
from calibrate.data import WINDOW, as_sample
from calibrate.losses import windows
from calibrate.near import MARGIN, PART, judge_window, part_around
from engines.network import network_of
from puppet.landmarks import mean_face
from tests.engine_models import random_weights


@pytest.fixture(scope="module")
def network() -> SeveralSources:
    return SeveralSources(network_of(random_weights()))


def person(seed: int) -> Cut:
    """A face of noise."""
    rng = np.random.default_rng(seed)
    rgb, matte = rng.integers(0, 256, (SIZE, SIZE, 3)), rng.integers(0, 256, (SIZE, SIZE))
    points = 0.6 * mean_face() + rng.normal(0, 0.02, (478, 3))
    return Cut(rgb.astype(np.uint8), matte.astype(np.uint8), points.astype(np.float32))


def test_a_part_is_what_the_whole_shows_there(network: SeveralSources) -> None:
    samples = torch.utils.data.default_collate([as_sample(person(1), person(2))] * 3)
    samples["window"] = torch.tensor([[0, 128], [61, 34], [128, 7]])
    batch = to_device(samples, torch.device("cpu"))
    told = [batch[name] for name in ("portrait", "portrait_contours", "contours", "motion")]
    corners = part_around(batch["window"])
    with torch.no_grad():
        whole = network(*told)
        part = network(*told, corners=corners)
    assert part.rgb.shape == (3, 3, PART, PART)
    judged, compared = judge_window(part, batch, corners)
    for name in ("rgb", "alpha", "mask", "painted"):
        wanted = windows(getattr(whole, name), batch["window"], WINDOW)
        off = (getattr(judged, name) - wanted).abs()
        assert wanted.std() > 0.01
        assert off.mean() < 0.01
        # Six convolutions see 12 pixels far; what is resized and filtered, a few more.
        assert off[:, :, 16:-16, 16:-16].max() < 1e-5
    assert torch.equal(compared["target"], windows(batch["target"], batch["window"], WINDOW))
    assert compared["contours"].shape[2:] == compared["target_matte"].shape[2:] == (WINDOW, WINDOW)
    assert batch["target"].shape[-1] == SIZE, "the caller's batch stays"


def test_a_part_holds_its_window_and_stays_inside_the_picture() -> None:
    places = np.arange(SIZE - WINDOW + 1)
    window = torch.from_numpy(np.stack((places, places[::-1].copy()), 1))
    corners = part_around(window)
    assert corners.min() == 0
    assert corners.max() + PART == SIZE
    inside = window - corners
    assert inside.min() >= 0
    assert inside.max() + WINDOW <= PART
    middle = (window > MARGIN).all(1) & (window < SIZE - WINDOW - MARGIN).all(1)
    assert inside[middle].min() >= MARGIN
    assert inside[middle].max() + WINDOW <= PART - MARGIN // 2
