"""Options that several commands share, and how their text becomes a value."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from puppet.contract import UserError
from puppet.system import expanded

if TYPE_CHECKING:
    from puppet.pipeline.generator import EngineSettings
    from puppet.pipeline.settings import Look


def file_to_write(path: Path | None) -> Path | None:
    """The callback of options that name a file to be written, `~` expanded: long work shall not
    find out at its end that there is no place for it. Raises UserError."""
    if path is None:
        return None
    path = expanded(path)
    if path.is_dir():
        raise UserError(f"{path} cannot be written: that is a folder. Name a file in it.")
    if not path.absolute().parent.is_dir():
        raise UserError(f"{path} cannot be written: there is no such folder. Make it first.")
    if not os.access(path.absolute().parent, os.W_OK):
        raise UserError(f"{path} cannot be written: no permission in that folder. Choose another.")
    return path


AvatarOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--avatar",
        "-a",
        metavar="NAME",
        help="Avatar by name ('puppet avatar list') or folder.",
        show_default=False,
    ),
]
SizeOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--size",
        metavar="WIDTHxHEIGHT",
        help="Size of the output: 512x512 (the face), 1280x720 (the whole picture) or another. "
        "Left out: 1280x720 for a virtual camera and the panel, else 512x512.",
        show_default=False,
    ),
]
BackgroundOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--background",
        metavar="WHAT",
        help="original (the portrait's own, without the person), blur[:STRENGTH], "
        "colour:#00b140, image:FILE, or transparent (for outputs that can).",
    ),
]
RuntimeOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--runtime",
        metavar="NAME[:DEVICE]",
        help="What computes the portrait: auto, openvino, openvino:GPU or :NPU (Intel's), "
        "onnxruntime, tensorrt, torch:cuda, ...; 'puppet doctor' lists them.",
    ),
]
TierOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--tier",
        metavar="NAME",
        help="How much is computed: auto, base (three networks that decide together; auto on an "
        "NVIDIA GPU), small (one of them), or coarse (the portrait is only moved: quickest, "
        "without teeth and lids). 'puppet doctor' lists them.",
    ),
]
ServerOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--server",
        metavar="HOST:PORT",
        help="With --runtime remote: the gRPC port of the server that computes the portrait "
        "('puppet export-model-repository' tells how). Landmarks and the portrait go there.",
        show_default=False,
    ),
]
RequireGpuOption: TypeAlias = Annotated[
    bool, typer.Option("--require-gpu", help="Refuse to run on the processor alone.")
]
LabelElsewhereOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--label-elsewhere",
        metavar="WHO",
        help="Leave out the visible AI label; name who labels the picture instead "
        "(for example 'OBS scene overlay'). Logged and written into the report.",
        show_default=False,
    ),
]
PoseOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--pose",
        metavar="HOW",
        help="relative: your head's movement is added to the portrait's own pose; "
        "absolute: the portrait looks where you look.",
    ),
]
ExpressionOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--expression-strength",
        metavar="FACTOR",
        min=0.0,
        max=2.0,
        help="How strongly your expression shows; 1 is as you make it.",
        show_default=False,
    ),
]
PoseStrengthOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--pose-strength",
        metavar="FACTOR",
        min=0.0,
        max=2.0,
        help="How far the head follows yours; 1 is all the way.",
        show_default=False,
    ),
]
LabelSizeOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--label-size", metavar="SIZE", help="The visible AI label: small, medium or large."
    ),
]
LabelLanguageOption: TypeAlias = Annotated[
    str,
    typer.Option(
        "--label-language",
        help="Of the label and of the slates: en, de, fr, es, it, pt, nl, sv or pl.",
    ),
]
ReportOption: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        "--report",
        metavar="FILE.json",
        callback=file_to_write,
        help="Write ages, times, drops and versions to this file.",
        show_default=False,
    ),
]

CameraSizeOption: TypeAlias = Annotated[
    str | None,
    typer.Option(
        "--camera-size",
        metavar="WIDTHxHEIGHT",
        help="Ask the camera for pictures of this size.",
        show_default=False,
    ),
]
FpsOption: TypeAlias = Annotated[
    float,
    typer.Option(
        "--fps",
        min=1.0,
        max=240.0,
        metavar="RATE",
        help="Pictures per second to ask the camera for.",
    ),
]
SecondsOption: TypeAlias = Annotated[
    float | None,
    typer.Option(
        "--seconds", min=0.1, metavar="SECONDS", help="End after this long.", show_default=False
    ),
]

SQUARE, WIDE = "512x512", "1280x720"
_SIZE = re.compile(r"(\d{1,5})\s*[xX×]\s*(\d{1,5})")


def parse_size(text: str, option: str = "--size") -> tuple[int, int]:
    """'1280x720' to (1280, 720). Raises UserError; limits are the compositor's business."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise UserError(f"{option} {text!r} is not a size: write WIDTHxHEIGHT, such as 1280x720.")
    return int(found[1]), int(found[2])


def size_for(sinks: Sequence[str], size: str | None) -> str:
    """What was asked for, or what fits the outputs: calls expect a camera's wide picture."""
    return size or (WIDE if any(s.startswith("virtual") for s in sinks) else SQUARE)


def parse_camera_size(text: str | None) -> tuple[int, int] | None:
    """As `parse_size`; None leaves it to the camera."""
    return None if text is None else parse_size(text, "--camera-size")


def engine_of(runtime: str, tier: str = "auto") -> EngineSettings:
    """From NAME or NAME:DEVICE and a tier; what there is not is refused when it is opened."""
    from puppet.pipeline.generator import EngineSettings

    name, _, device = runtime.partition(":")
    return EngineSettings(runtime=name or "auto", device=device or "auto", tier=tier)


def look_of(
    *,
    size: str,
    background: str,
    label_size: str,
    label_elsewhere: str | None,
    label_language: str,
    runtime: str,
    require_gpu: bool,
    pose: str = "relative",
    expression_strength: float | None = None,
    pose_strength: float | None = None,
    server: str | None = None,
    tier: str = "auto",
) -> Look:
    """The options that `run`, `studio` and `render` share, as settings. Raises UserError."""
    from puppet.compose.settings import ComposeSettings, LabelSettings, parse_background
    from puppet.pipeline.settings import Look
    from puppet.retarget import RetargetSettings

    if pose not in ("relative", "absolute"):
        raise UserError(f"--pose {pose!r} is unknown: choose relative or absolute.")
    if (runtime == "remote") is not (server is not None):
        raise UserError(
            "A generator on another machine takes both: puppet run --runtime remote "
            "--server HOST:PORT (the server's gRPC port)."
        )
    default = RetargetSettings()
    return Look(
        compose=ComposeSettings(
            size=parse_size(size),
            background=parse_background(background),
            label=LabelSettings(
                size=label_size,  # type: ignore[arg-type]
                language=re.split("[-_]", label_language.lower())[0],  # de-AT, as systems say it
                elsewhere=label_elsewhere,
            ),
        ),
        retarget=RetargetSettings(
            absolute_pose=pose == "absolute",
            expression=default.expression if expression_strength is None else expression_strength,
            pose=default.pose if pose_strength is None else pose_strength,
        ),
        engine=replace(engine_of(runtime, tier), require_gpu=require_gpu, server=server),
    )
