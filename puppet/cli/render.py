"""`puppet render`: a clip drives an avatar, every frame, into a file."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Annotated

import typer

from puppet.cli.options import (
    SQUARE,
    AvatarOption,
    BackgroundOption,
    ExpressionOption,
    LabelElsewhereOption,
    LabelLanguageOption,
    LabelSizeOption,
    PoseOption,
    PoseStrengthOption,
    ReportOption,
    RequireGpuOption,
    RuntimeOption,
    SizeOption,
    TierOption,
    file_to_write,
    look_of,
)


def render(
    avatar: AvatarOption,
    driver: Annotated[
        str,
        typer.Option(
            "--driver",
            "-d",
            metavar="CLIP",
            help="The video, folder of pictures or landmark trace that drives it; or 'demo'.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="OUT.mp4",
            callback=file_to_write,
            help="The video.",
            show_default=False,
        ),
    ],
    size: SizeOption = None,
    background: BackgroundOption = "original",
    pose: PoseOption = "relative",
    expression_strength: ExpressionOption = None,
    pose_strength: PoseStrengthOption = None,
    label_size: LabelSizeOption = "medium",
    label_language: LabelLanguageOption = "en",
    label_elsewhere: LabelElsewhereOption = None,
    audio: Annotated[bool, typer.Option(help="Carry the driver's sound over.")] = True,
    seconds: Annotated[
        float | None,
        typer.Option(
            min=0.1, metavar="SECONDS", help="Only the beginning of the clip.", show_default=False
        ),
    ] = None,
    runtime: RuntimeOption = "auto",
    tier: TierOption = "auto",
    require_gpu: RequireGpuOption = False,
    report: ReportOption = None,
) -> None:
    """Drive an avatar with a recorded clip: every frame, nothing dropped, with its sound.

    The same clip gives the same pictures every time on the same machine (with Python 3.13 and
    later nearly: that tracker may differ by hundredths of a pixel).
    """
    from puppet.cli.live import on_signals
    from puppet.cli.show import console, progress_bar, show_event, show_result
    from puppet.pipeline.events import WARNINGS, Event, Events
    from puppet.pipeline.offline import render as render_clip
    from puppet.pipeline.settings import RenderSettings

    look = look_of(
        size=size or SQUARE,
        background=background,
        pose=pose,
        expression_strength=expression_strength,
        pose_strength=pose_strength,
        label_size=label_size,
        label_language=label_language,
        label_elsewhere=label_elsewhere,
        runtime=runtime,
        tier=tier,
        require_gpu=require_gpu,
    )
    settings = RenderSettings(avatar, driver, out, look, audio=audio, seconds=seconds)
    screen, events = console(), Events()

    def tell(event: Event) -> None:
        if event.kind in WARNINGS or event.kind == "label":
            show_event(screen, event)

    events.listen(tell)
    with progress_bar(screen) as progress:
        tasks = {
            name: progress.add_task(name, total=None, visible=False)
            for name in ("tracking", "rendering")
        }

        def advance(name: str, done: int, total: int | None) -> None:
            progress.update(tasks[name], completed=done, total=total, visible=True)

        over = threading.Event()
        with on_signals(over.set):
            result = render_clip(settings, events=events, advance=advance, is_over=over.is_set)
    show_result(screen, result, report)
    typer.echo(f"The video is in {(result.video or out).resolve()}")
