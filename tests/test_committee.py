"""Networks that decide together, and how they come together."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from calibrate.join import EMPHASIS, join, main
from calibrate.trained import load_trained, save_trained
from engines.committee import mean
from engines.network import TIERS, Network, motion_of


def member(seed: int) -> Network:
    torch.manual_seed(seed)
    network = Network("small").eval()
    with torch.no_grad():  # layers that start at zero must count too
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.03)
    return network


@pytest.fixture(scope="module")
def members() -> list[Network]:
    return [member(seed) for seed in range(TIERS["base"])]


@pytest.fixture(scope="module")
def inputs() -> tuple[torch.Tensor, ...]:
    torch.manual_seed(4)
    picture, drawn, pose = (torch.rand(1, channels, 256, 256) for channels in (4, 3, 3))
    return picture, drawn, pose, 0.05 * torch.randn(1, 2, 128, 128)


@torch.no_grad()
def test_members_that_agree_paint_what_one_alone_does(
    members: list[Network], inputs: tuple[torch.Tensor, ...]
) -> None:
    wanted = members[0](*inputs)
    found = join([members[0]] * len(members), "base", emphasis=1)(*inputs)
    assert wanted.mask.std() > 1e-3  # there is something to agree on
    for name in ("rgb", "alpha", "keep", "residual", "mask", "painted"):
        assert torch.allclose(getattr(wanted, name), getattr(found, name), atol=2e-4), name


@torch.no_grad()
def test_every_member_has_its_say_by_features_of_its_own(
    members: list[Network], inputs: tuple[torch.Tensor, ...]
) -> None:
    picture, drawn, pose, motion = inputs
    joined = join(members, "base", emphasis=1)
    apart = [each.encoder(picture, drawn) for each in members]
    encoded = joined.encoder(picture, drawn)
    said = [
        each.generator.motion(pose, motion, portrait.features)[0]
        for each, portrait in zip(members, apart, strict=True)
    ]
    keep, residual = motion_of(mean(said))
    warped = joined.generator.warp(pose, motion, encoded)
    assert torch.allclose(warped.keep, keep, atol=1e-5)
    assert torch.allclose(warped.residual, residual, atol=1e-6)
    painted = []
    for index, each in enumerate(members):
        own = [x.chunk(len(members), 1)[index] for x in (warped.hidden, warped.detail)]
        landmarks = warped.contours.chunk(len(members), 1)[index]
        painted.append(
            each.generator.synthesis(*own, landmarks, warped.half, apart[index].code)
        )  # fmt: skip
    assert float((painted[0] - painted[1]).abs().max()) > 1e-2  # they do not agree
    together = joined.generator.synthesis(
        warped.hidden, warped.detail, warped.contours, warped.half, encoded.code
    )
    assert torch.allclose(together, sum(painted) / len(painted), atol=1e-5)


def test_all_of_it_learns(members: list[Network], inputs: tuple[torch.Tensor, ...]) -> None:
    joined = join(members, "base").train()
    moved = joined(*inputs)
    (moved.rgb.square().mean() + moved.alpha.mean()).backward()
    for name, parameter in joined.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_the_command_writes_weights_that_load(members: list[Network], tmp_path: Path) -> None:
    paths = [tmp_path / f"{index}.safetensors" for index in range(len(members))]
    for path, each in zip(paths, members, strict=True):
        save_trained(path, each)
    out = tmp_path / "base.safetensors"
    main([str(out), *map(str, paths)])
    loaded = load_trained(out)
    assert loaded.tier == "base"
    last = loaded.generator.synthesis.members[-1].paint.weight  # type: ignore[union-attr]
    own = members[-1].generator.synthesis.paint.weight
    assert torch.allclose(last[12:], own[12:], atol=1e-3)  # mask and alpha
    assert torch.allclose(last[:12], EMPHASIS * own[:12], atol=1e-3)


def test_a_committee_takes_as_many_single_networks_as_it_has_members(
    members: list[Network], tmp_path: Path
) -> None:
    save_trained(tmp_path / "one.safetensors", members[0])
    with pytest.raises(SystemExit, match="takes 3 networks"):
        main([str(tmp_path / "out.safetensors"), str(tmp_path / "one.safetensors")])
    assert not (tmp_path / "out.safetensors").exists()
    with pytest.raises(ValueError, match="one member each"):
        join([Network("base"), *members[1:]], "base")
