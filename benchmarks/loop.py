"""The live loop, measured: age, rate, drops and time per stage, on a file as camera.

python -m benchmarks.loop --camera clip.mp4 --seconds 30 --fps 30 --json loop.json
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.command import avatar_of, clip_of, clip_parser, give
from benchmarks.environment import environment
from benchmarks.floor import FRAMES, measure_floor
from puppet.capture.played import Cue, PlayedSource, Recording
from puppet.capture.video import video_recording
from puppet.cli.options import parse_size
from puppet.compose.settings import ComposeSettings
from puppet.contract import Frame
from puppet.pipeline.generator import EngineSettings
from puppet.pipeline.live import LiveRun
from puppet.pipeline.opening import Openers
from puppet.pipeline.settings import LiveSettings, Look


def retimed(recording: Recording[Frame], fps: float) -> Recording[Frame]:
    """The same pictures, decoded anew as ever, one every 1/fps seconds."""
    period_ns = 1e9 / fps

    def cues() -> Generator[Cue[Frame], None, None]:
        for number, cue in enumerate(recording.cues()):
            yield Cue(round(number * period_ns), cue.load)

    return replace(recording, cues=cues, fps=fps)


def measure(camera: Path, avatar: str, seconds: float, fps: float, look: Look) -> dict[str, Any]:
    """One run with a null sink; the report with the environment it was made in, and how far its
    age is above what the stages take without a loop around them."""
    around = environment()
    recording = retimed(video_recording(camera), fps)
    run = LiveRun(
        LiveSettings((avatar,), camera=str(camera), sinks=("null",), seconds=seconds, look=look),
        openers=Openers(source=lambda: PlayedSource(recording, loop=True)),
    )
    result = run.run()
    report, floor = result.as_dict(), measure_floor(camera, avatar, look, FRAMES)
    return {
        "benchmark": "loop",
        "camera": camera.name,
        "source_fps": fps,
        **report,
        "floor_ms": floor.as_dict(),
        "above_floor_ms": round(result.age_ms.p50 - floor.p50, 3),
        "environment": around,
    }


def main(arguments: list[str] | None = None) -> None:
    parser = clip_parser(__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--fps", type=float, default=30.0, help="the source's rate")
    parser.add_argument("--size", default="512x512")
    wanted = parser.parse_args(arguments)
    result = measure(
        clip_of(wanted),
        avatar_of(wanted),
        wanted.seconds,
        wanted.fps,
        Look(
            compose=ComposeSettings(size=parse_size(wanted.size)),
            engine=EngineSettings(runtime=wanted.runtime, tier=wanted.tier),
        ),
    )
    give(result, wanted.json)


if __name__ == "__main__":
    main()
