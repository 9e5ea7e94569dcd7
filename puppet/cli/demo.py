"""`puppet demo`: everything once, with what the project ships; no camera, no download."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from puppet.cli.options import (
    SQUARE,
    ReportOption,
    RuntimeOption,
    SizeOption,
    TierOption,
    engine_of,
    file_to_write,
    parse_size,
)


def demo(
    seconds: Annotated[
        float, typer.Option(min=0.5, max=600.0, metavar="SECONDS", help="Length of the video.")
    ] = 8.0,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="FILE.mp4", callback=file_to_write, help="The video to write."
        ),
    ] = Path("puppet-demo.mp4"),
    size: SizeOption = None,
    runtime: RuntimeOption = "auto",
    tier: TierOption = "auto",
    report: ReportOption = None,
) -> None:
    """Watch it work: a shipped face clip drives a shipped portrait, live, into a video file.

    Needs no camera, no display, no GPU and no download. Prints where the video is and how long
    each stage took.
    """
    from puppet.capture.demo import demo_clip
    from puppet.cli.live import play
    from puppet.compose.settings import ComposeSettings
    from puppet.output.file import FileSink
    from puppet.pipeline.demo import demo_avatar
    from puppet.pipeline.settings import LiveSettings, Look

    settings = LiveSettings(
        avatars=(str(demo_avatar()),),
        camera="demo",
        sinks=(),
        seconds=seconds,
        look=Look(
            compose=ComposeSettings(size=parse_size(size or SQUARE)),
            engine=engine_of(runtime, tier),
        ),
        use_profile=False,
    )
    video = FileSink(out, sound_from=demo_clip())
    if play(settings, report, sinks=[video]).frames_out:
        typer.echo(f"The video is in {video.written.resolve()}")
    else:
        typer.echo("There is no video: the demo was ended before its first picture.")
