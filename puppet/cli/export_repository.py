"""`puppet export-model-repository`: the generator for a server elsewhere (Triton and others)."""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from puppet.contract import UserError

if TYPE_CHECKING:
    from engines.models import Model


def export_model_repository(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="[AVATAR] OUT",
            help="An avatar by name or folder (or none, with --base), and the repository's folder.",
            show_default=False,
        ),
    ],
    base: Annotated[
        bool,
        typer.Option("--base", help="The network that all untuned avatars share; any portrait."),
    ] = False,
    tier: Annotated[str, typer.Option(help="With --base: coarse, small or base.")] = "auto",
    precision: Annotated[
        str,
        typer.Option(help="Of the plain graph: f16 (servers with a GPU) or f32 (processors)."),
    ] = "f16",
    plan: Annotated[
        bool,
        typer.Option(
            "--plan",
            help="The plain model as a TensorRT plan, not as ONNX. Takes the server's GPU and its "
            "TensorRT version here.",
        ),
    ] = False,
) -> None:
    """Write a model repository, so that another machine can compute the portrait.

    Copy the folder to the server and start it there, for example:
    tritonserver --model-repository=OUT. Then, here: puppet run --runtime remote --server HOST:8001.

    The packed model (small messages, every portrait) needs webcam-puppet in the server's Python.
    With an avatar, a plain ONNX graph with the portrait inside is written too: for any server of
    the open inference protocol, OpenVINO Model Server among them.
    """
    from engines.repository import export_repository
    from puppet.cli.show import console

    if len(arguments) != (1 if base else 2):
        raise UserError(
            "Write: puppet export-model-repository AVATAR OUT, or: puppet export-model-repository "
            "--base OUT"
        )
    if precision not in ("f16", "f32"):
        raise UserError(f"--precision {precision!r} is unknown: choose f16 or f32.")
    folder = Path(arguments[-1])
    screen = console()
    with screen.status("Writing the model repository ..."):
        if base:
            model, weights = _model(None, tier)
            portrait = None
        else:
            from puppet.avatar.bundle import load_avatar
            from puppet.avatar.tensors import portrait_tensors
            from puppet.avatar.tuned import tuned_weights

            avatar = load_avatar(arguments[0])
            model, weights = _model(tuned_weights(avatar), "auto")
            portrait = portrait_tensors(avatar, model.generator().spec)
        try:
            written = export_repository(
                folder, model, weights=weights, portrait=portrait, body=precision, plan=plan
            )
        except OSError as error:
            raise UserError(f"The repository {folder} cannot be written: {error}.") from error
    for path in written:
        screen.print(str(path), highlight=False, soft_wrap=True)
    screen.print(
        "On the server: pip install webcam-puppet, and serve this folder, for example\n"
        f"  tritonserver --model-repository={folder}\n"
        "Here: puppet run --avatar ... --runtime remote --server HOST:8001",
        highlight=False,
        soft_wrap=True,
    )


def _model(tuned: Path | None, tier: str) -> tuple[Model, bytes | None]:
    """The model a laptop without a GPU would run, and its weights as a file."""
    from engines.models import load_model_of

    model = load_model_of(tier, weights=tuned)
    if tuned is not None:
        return model, tuned.read_bytes()
    if model.tier == "coarse":
        return model, None
    return model, (resources.files("engines") / "data" / f"{model.tier}.safetensors").read_bytes()
