"""`puppet studio`: the control panel in a browser, with a live run behind it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from puppet.cli.options import (
    WIDE,
    BackgroundOption,
    CameraSizeOption,
    FpsOption,
    LabelElsewhereOption,
    LabelLanguageOption,
    LabelSizeOption,
    ReportOption,
    RequireGpuOption,
    RuntimeOption,
    SecondsOption,
    SizeOption,
    TierOption,
    look_of,
    parse_camera_size,
)

DEFAULT_PORT = 8790  # puppet.studio.server.DEFAULT_PORT, without importing it for a help page


def studio(
    avatar: Annotated[
        list[str] | None,
        typer.Option(
            "--avatar",
            "-a",
            help="Avatar to begin with; repeat it to have several ready. Left out: all of yours, "
            "or the demo avatar.",
            show_default=False,
        ),
    ] = None,
    camera: Annotated[
        str | None,
        typer.Option(
            "--camera",
            "-c",
            help="As for 'puppet run'. Left out: the first camera, or the demo clip.",
            show_default=False,
        ),
    ] = None,
    sink: Annotated[
        list[str] | None,
        typer.Option(
            "--sink",
            "-s",
            help="Outputs that are on from the start, as for 'puppet run'; the panel switches "
            "more on and off.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where the panel is.")] = DEFAULT_PORT,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the panel in the browser.")
    ] = True,
    expose: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Let other machines in, at this address of yours instead of 127.0.0.1 "
            "(0.0.0.0: at all of them). Whoever has the token steers your puppet, and the "
            "connection is not encrypted.",
            show_default=False,
        ),
    ] = None,
    record_to: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Where recordings go. Left out: your videos."),
    ] = None,
    size: SizeOption = None,
    background: BackgroundOption = "original",
    label_size: LabelSizeOption = "medium",
    label_language: LabelLanguageOption = "en",
    label_elsewhere: LabelElsewhereOption = None,
    runtime: RuntimeOption = "auto",
    tier: TierOption = "auto",
    require_gpu: RequireGpuOption = False,
    camera_size: CameraSizeOption = None,
    fps: FpsOption = 30.0,
    seconds: SecondsOption = None,
    report: ReportOption = None,
) -> None:
    """Steer everything from a page in your browser: avatars, sliders, outputs, recording.

    The page and its API are on this machine only (127.0.0.1) and need the token in the address
    that is printed. Set PUPPET_STUDIO_TOKEN to keep the same token, for example for hot-keys.
    """
    from puppet.cli.panel import PanelOptions, play_with_panel
    from puppet.pipeline.settings import LiveSettings

    look = look_of(
        size=size or WIDE,  # for calls, which the panel can switch on at any time
        background=background,
        label_size=label_size,
        label_language=label_language,
        label_elsewhere=label_elsewhere,
        runtime=runtime,
        tier=tier,
        require_gpu=require_gpu,
    )
    settings = LiveSettings(
        avatars=tuple(avatar) if avatar else _avatars(),
        camera=camera or _camera(),
        sinks=tuple(sink or ()),
        seconds=seconds,
        look=look,
        camera_fps=fps,
        camera_size=parse_camera_size(camera_size),
        fps=fps,
    )
    options = PanelOptions(port=port, browser=browser, expose=expose, record_to=record_to)
    play_with_panel(settings, options, report)


def _avatars() -> tuple[str, ...]:
    """All of the user's that are sound, so that switching is instant; else the demo avatar."""
    from puppet.avatar.bundle import load_avatar
    from puppet.avatar.store import list_avatars
    from puppet.contract import BundleError
    from puppet.pipeline.demo import demo_avatar

    for name in list_avatars():
        try:
            load_avatar(name)
        except BundleError:
            continue
        others = [other for other in list_avatars() if other != name]
        return (name, *others[:7])
    return (str(demo_avatar()),)


def _camera() -> str | None:
    """None (the first camera) where there is one, else the demo clip."""
    from puppet.capture.devices import default_camera
    from puppet.contract import SourceError

    try:
        default_camera()
    except SourceError:
        return "demo"
    return None
