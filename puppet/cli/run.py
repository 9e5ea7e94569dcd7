"""`puppet run`: live, from a camera to a window, a virtual camera, a file, a page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from puppet.cli.options import (
    BackgroundOption,
    CameraSizeOption,
    ExpressionOption,
    FpsOption,
    LabelElsewhereOption,
    LabelLanguageOption,
    LabelSizeOption,
    PoseOption,
    PoseStrengthOption,
    ReportOption,
    RequireGpuOption,
    RuntimeOption,
    SecondsOption,
    ServerOption,
    SizeOption,
    TierOption,
    file_to_write,
    look_of,
    parse_camera_size,
    size_for,
)


def run(
    avatar: Annotated[
        list[str],
        typer.Option(
            "--avatar",
            "-a",
            metavar="NAME",
            help="Avatar by name ('puppet avatar list') or folder. Repeat it to have several "
            "ready for switching.",
            show_default=False,
        ),
    ],
    camera: Annotated[
        str | None,
        typer.Option(
            "--camera",
            "-c",
            metavar="CAMERA",
            help="Camera by number or name ('puppet devices'), /dev/videoN, a video file "
            "(plays at its own pace and loops), an address, a landmark trace, "
            "openseeface[:PORT], or 'demo'. Left out: the first camera.",
            show_default=False,
        ),
    ] = None,
    sink: Annotated[
        list[str] | None,
        typer.Option(
            "--sink",
            "-s",
            metavar="OUTPUT",
            help="Where the picture goes; repeat it for several: preview, virtual[:/dev/videoN], "
            "file:OUT.mp4, mjpeg[:PORT], overlay[:PORT] (transparent, for OBS), null. "
            "Left out: preview, a window.",
            show_default=False,
        ),
    ] = None,
    seconds: SecondsOption = None,
    report: ReportOption = None,
    size: SizeOption = None,
    background: BackgroundOption = "original",
    pose: PoseOption = "relative",
    expression_strength: ExpressionOption = None,
    pose_strength: PoseStrengthOption = None,
    label_size: LabelSizeOption = "medium",
    label_language: LabelLanguageOption = "en",
    label_elsewhere: LabelElsewhereOption = None,
    runtime: RuntimeOption = "auto",
    tier: TierOption = "auto",
    server: ServerOption = None,
    require_gpu: RequireGpuOption = False,
    camera_size: CameraSizeOption = None,
    fps: FpsOption = 30.0,
    studio: Annotated[
        bool,
        typer.Option("--studio", help="Also serve the control panel; see 'puppet studio'."),
    ] = False,
    studio_port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="PORT", help="Where the control panel is.")
    ] = 8790,
    record_trace: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.npz",
            callback=file_to_write,
            help="Write your landmarks (no picture of you) into a trace, to be used as --camera "
            "or --driver later.",
            show_default=False,
        ),
    ] = None,
    microphone: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Record this microphone into the file outputs, in sync with the picture: a name "
            "of 'puppet devices', 'default', or 'driver' for the sound of the driving clip.",
            show_default=False,
        ),
    ] = None,
    vmc: Annotated[
        str | None,
        typer.Option(
            metavar="[HOST:]PORT",
            help="Send head, blinks, mouth and gaze to a VTuber program too (VMC protocol; "
            "39539 is usual).",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Drive an avatar live with your webcam.

    Look straight ahead for the first second: that calibrates your neutral face.
    Keys, in the preview window and in this terminal: ? lists them. Ctrl-C ends; recordings are
    complete and playable.
    """
    from puppet.cli.live import play
    from puppet.contract import UserError
    from puppet.pipeline.settings import LiveSettings

    look = look_of(
        size=size_for(sink or (), size),
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
        server=server,
    )
    if microphone is not None and not any(s.startswith("file:") for s in sink or ()):
        raise UserError(
            "There is no file to record the microphone into: add --sink file:OUT.mp4, or choose "
            "the microphone in the panel."
        )
    settings = LiveSettings(
        avatars=tuple(avatar),
        camera=camera,
        sinks=tuple(sink or ["preview"]),
        seconds=seconds,
        look=look,
        camera_fps=fps,
        camera_size=parse_camera_size(camera_size),
        fps=fps,
        record_trace=record_trace,
        microphone=microphone,
        vmc=vmc,
    )
    if studio:
        from puppet.cli.panel import PanelOptions, play_with_panel

        play_with_panel(settings, PanelOptions(port=studio_port), report)
    else:
        play(settings, report)
