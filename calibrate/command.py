"""`puppet calibrate`: fits an avatar's generator to its person's pictures."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from puppet.contract import UserError
from puppet.system import expanded

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from calibrate.tune import Tuned, TuneSettings
    from engines.network import Network
    from puppet.avatar.bundle import Avatar

_OVERHEAD_MINUTES = 0.25
"""Kept of the time for encoding and writing at the end."""


def calibrate(
    target: Annotated[
        list[str],
        typer.Argument(
            help="An avatar, or a photo to make one of; further photos are more pictures of it.",
            show_default=False,
        ),
    ],
    pictures: Annotated[
        list[Path] | None,
        typer.Option(
            help="A folder of photos, or a video, of the same person.", show_default=False
        ),
    ] = None,
    minutes: Annotated[float, typer.Option(min=0.1, help="How long at most.")] = 3.0,
    most: Annotated[int, typer.Option(min=1, max=128, help="Pictures to use at most.")] = 32,
    name: Annotated[
        str | None, typer.Option(help="Name of the avatar made of a photo.", show_default=False)
    ] = None,
    consent: Annotated[
        str | None,
        typer.Option(
            help="For a photo: self, written, synthetic or public-domain.", show_default=False
        ),
    ] = None,
    tier: Annotated[str, typer.Option(help="Network to tune: small or base.")] = "small",
    weights: Annotated[
        Path | None,
        typer.Option(help="Start from these weights, not the shipped ones.", show_default=False),
    ] = None,
    preview: Annotated[
        Path | None,
        typer.Option(help="Where to keep a picture of the progress.", show_default=False),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Processor threads.", show_default=False)
    ] = None,
) -> None:
    """Fit an avatar to 1, 8, 32 pictures or a video of its person; Ctrl-C keeps the best so far.

    More pictures make a better likeness, above all with an open mouth and closed eyes among
    them: teeth and lids are taken from there.
    """
    try:
        import torch
    except ImportError as error:
        raise UserError(
            "Calibration needs PyTorch, which is not installed. Run "
            "\"pip install 'webcam-puppet[calibrate]'\"."
        ) from error
    from calibrate.pictures import gather
    from calibrate.tune import TuneSettings
    from puppet.cli.show import console

    out, began = console(), time.monotonic()
    network = load_network(tier, weights)  # before anything slow: there may be none
    if torch.cuda.is_available():
        network = network.cuda()
    with out.status("starting") as status:
        avatar = _avatar(target[0], name, consent, status.update)
        sources = [Path(each) for each in target[1:]] + (pictures or [])
        clip = gather(avatar, sources, most=most, tell=status.update)
    number = len(clip.usable)
    out.print(f"Tuning {avatar.name} on {number} picture{'s' * (number > 1)}; Ctrl-C stops.")
    spent = (time.monotonic() - began) / 60
    settings = TuneSettings(
        minutes=max(minutes / 4, minutes - spent - _OVERHEAD_MINUTES),
        steps=400 if number == 1 else 1200,
        threads=threads,
    )
    sheet = preview or Path(tempfile.gettempdir()) / f"{avatar.name}-calibration.png"
    tuned = _tune_with_bar(network, clip, settings, sheet, out)
    save_tuned(avatar, tuned)
    out.print(outcome(tuned, number))
    out.print(f"The progress is in {sheet}. {avatar.name} is ready in {avatar.folder}.")


def outcome(tuned: Tuned, pictures: int) -> str:
    """What tuning on so many pictures gained, for the user; no more than was found out."""
    less = f"{1 - tuned.best / tuned.start:.1%} less after {tuned.steps} steps"
    if pictures > 1:
        return f"Error on what was held out: {less}."
    # MODEL_CARD.md, "Measured": on real clips one picture gained nothing.
    return (
        f"Error on made-up motions of the one picture: {less}. That says little of how the person "
        "really moves: expect what an avatar shows without tuning. Add pictures with --pictures, "
        "some with an open mouth and with closed eyes; eight make a clear difference."
    )


def load_network(tier: str, weights: Path | None) -> Network:
    """A tier's torch network with the shipped or given weights. Raises SpecMismatch, UserError."""
    from engines.models import WeightsModel, load_model_of
    from engines.network import network_of

    model = load_model_of(tier, weights=weights)
    if not isinstance(model, WeightsModel):
        raise UserError(f"The tier {tier!r} learns nothing: choose small or base.")
    return network_of(model.weights)


def save_tuned(avatar: Avatar, tuned: Tuned) -> None:
    """Writes what was tuned into the avatar's bundle. Raises UserError."""
    from engines.models import WeightsModel
    from engines.weights import read_weights
    from puppet.avatar.tuned import save_tuning

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        write_tuned_weights(path, tuned)
        content = path.read_bytes()
        graph = WeightsModel(read_weights(path)).generator("f32").data
    save_tuning(avatar, weights=content, tensors=tuned.portrait, graph=graph)


def write_tuned_weights(path: Path, tuned: Tuned) -> None:
    """The weights file of a tuned network, with ranges for 8 bits."""
    from calibrate.ranges import united
    from calibrate.trained import save_trained
    from engines.models import load_model_of, shipped_tiers

    # A few pictures of one person say little of what may come: the many of training help.
    known = tuned.network.tier in shipped_tiers()
    usual = load_model_of(tuned.network.tier).ranges if known else tuned.ranges
    save_trained(path, tuned.network, united(tuned.ranges, usual))


def _avatar(
    target: str, name: str | None, consent: str | None, tell: Callable[[str], None]
) -> Avatar:
    """The named avatar, or one made of a photo. Raises UserError."""
    from puppet.avatar.bundle import load_avatar, save_avatar
    from puppet.avatar.consent import Consent, require_consent
    from puppet.avatar.create import create_avatar
    from puppet.capture.images import IMAGE_SUFFIXES

    path = expanded(target)
    if not (path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES):
        return load_avatar(target)
    record = require_consent(None if consent is None else Consent(consent))
    avatar = create_avatar(path, name or path.stem, record, on_step=tell)
    save_avatar(avatar)
    return avatar


def _tune_with_bar(
    network: Network, clip: Any, settings: TuneSettings, sheet: Path, out: Any
) -> Tuned:
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    from calibrate.tune import Progress, tune

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Bar(*columns, console=out) as bar:
        task = bar.add_task("tuning", total=1.0)

        def tell(now: Progress) -> None:
            text = f"step {now.step}, {1 - now.best / now.start:.1%} better"
            bar.update(task, completed=now.share, description=text)
            write_picture(sheet, now.sheet)

        return tune(network, clip, settings, tell=tell)


def write_picture(path: Path, rgb: NDArray[np.uint8]) -> None:
    """Writes a PNG beside and renames it, so that a viewer never sees half of one."""
    import cv2

    part = path.with_name(f".{path.stem}.part.png")
    if cv2.imwrite(str(part), cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)):
        os.replace(part, path)
