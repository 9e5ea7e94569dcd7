"""`puppet build`: TensorRT engines ahead of time, on any computer, with or without a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from puppet.contract import UserError

_RUNTIMES = {"tensorrt": "tensorrt_rtx", "tensorrt_rtx": "tensorrt_rtx"}


def build(
    avatar: Annotated[
        str | None,
        typer.Argument(help="An avatar, for its tuned network; or leave it out and use --base."),
    ] = None,
    base: Annotated[
        bool, typer.Option("--base", help="Build the network that all untuned avatars share.")
    ] = False,
    tier: Annotated[str, typer.Option(help="With --base: coarse, small or base.")] = "auto",
    runtime: Annotated[str, typer.Option(help="tensorrt (TensorRT for RTX cards).")] = "tensorrt",
    targets: Annotated[
        str,
        typer.Option(
            help="GPU architectures: SM86 (RTX 30), SM89 (RTX 40), SM120 (RTX 50); SM75 and SM80 "
            "on request."
        ),
    ] = "SM86,SM89,SM120",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Use this folder, not this user's cache: for another computer, which finds the "
            "engines when PUPPET_CACHE names the folder there.",
        ),
    ] = None,
) -> None:
    """Build TensorRT engines now, so that the first run on the GPU need not."""
    from engines.build import cached_engine
    from engines.cache import EngineCache
    from engines.models import load_model_of
    from puppet.cli.show import console

    if (avatar is None) is not base:
        raise UserError("Name one avatar, or give --base for the network that avatars share.")
    if runtime not in _RUNTIMES:
        raise UserError(f"Only tensorrt engines are built ahead of time, not {runtime!r}.")
    weights = _weights_of(avatar) if avatar is not None else None
    graph = load_model_of(tier, weights=weights, largest="base").generator("f16")
    wanted = tuple(name.strip().upper() for name in targets.split(",") if name.strip())
    cache, module, screen = EngineCache(out), _RUNTIMES[runtime], console()
    for target in wanted or ("",):
        with screen.status(f"Building the {graph.spec.tier} network for {target} ..."):
            engine, key = cached_engine(graph, cache, module=module, targets=(target,))
        size = f"{len(engine) / 1e6:.1f} MB"
        screen.print(f"{target}: {size}, {module} {key.version}, in {cache.folder}")


def _weights_of(name: str) -> Path:
    from puppet.avatar.bundle import load_avatar
    from puppet.avatar.tuned import tuned_weights

    path = tuned_weights(load_avatar(name))
    if path is None:
        raise UserError(
            f"The avatar {name!r} has no network of its own; it runs on the shared one. "
            "Use: puppet build --base"
        )
    return path
