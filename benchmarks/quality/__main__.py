"""python -m benchmarks.quality --clips DIR [--shots K] [--size 512] --json OUT [--dump DIR]

Animates the person of every clip from one frame of it with the clip's own landmarks and compares
the result with the clip: the portrait as it is, the coarse motion alone, and the generator, on
the same frames. Any folder of clips will do.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.environment import environment
from benchmarks.quality.clips import Clip, Unusable, find_clips, track_clip
from benchmarks.quality.cross import Followed, find_portraits, follow, load_sitter, mean_followed
from benchmarks.quality.faces import FaceReader
from benchmarks.quality.methods import Animator, EngineChoice, open_animators
from benchmarks.quality.perceptual import Perceptual
from benchmarks.quality.reenact import Measured, Protocol, Tools, measure_clip
from benchmarks.quality.report import as_json, print_tables, write_json, write_png, write_sheet
from benchmarks.quality.tuning import Tuner
from engines.contract import PICTURE_SIZE, EngineError
from puppet.avatar.person import Segmenter
from puppet.contract import PuppetError

SQUEEZENET = Path(__file__).resolve().parents[3] / "shared/nets/squeezenet_v1.0.npz"
"""Where the features' weights lie beside a checkout; --perceptual names another place."""


def main(arguments: list[str] | None = None) -> int:
    """Returns the exit status: 0, or 2 for a mistake that the message explains."""
    options = parse(arguments)
    console = Console()
    try:
        return run(options, console)
    except (PuppetError, EngineError, FileNotFoundError) as error:
        Console(stderr=True).print(f"[red]error:[/red] {escape(str(error))}", highlight=False)
        return 2


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.quality",
        description="Quality of the generator on a folder of clips, beside two floors.",
    )
    parser.add_argument("--clips", type=Path, required=True, help="folder of clips")
    parser.add_argument("--json", type=Path, required=True, help="result file")
    parser.add_argument(
        "--shots",
        type=int,
        default=0,
        metavar="K",
        help="tune the generator on K pictures of the person; 1 is the portrait alone (0: do not)",
    )
    parser.add_argument("--tune-minutes", type=float, default=2.75, help="at most, a clip (2.75)")
    parser.add_argument("--size", type=int, default=512, help="side of the compared pictures (512)")
    parser.add_argument("--frames", default="10", help="frames a clip, or 'all' (10)")
    parser.add_argument("--dump", type=Path, help="folder for truth and results as PNG")
    parser.add_argument("--sheet", type=Path, help="contact sheet; PNG (beside the JSON)")
    parser.add_argument("--weights", type=Path, help="weights file instead of the shipped tier")
    parser.add_argument("--tier", default="auto", help="small or base (auto)")
    parser.add_argument(
        "--runtime", default="auto", help="as 'puppet doctor' lists them, or 'torch' (auto)"
    )
    parser.add_argument("--precision", default="auto", help="f32, bf16, f16 (auto)")
    parser.add_argument("--perceptual", type=Path, help="SqueezeNet v1.0 weights, .npz")
    parser.add_argument("--cross", type=Path, help="folder of portraits to drive with the clips")
    parser.add_argument("--cross-portraits", type=int, default=6, help="how many of them (6)")
    options = parser.parse_args(arguments)
    if not 64 <= options.size <= PICTURE_SIZE:
        parser.error(f"--size must be 64 to {PICTURE_SIZE}")
    if options.shots < 0:
        parser.error("--shots must be at least 0")
    try:
        options.frames = None if options.frames == "all" else int(options.frames)
    except ValueError:
        parser.error("--frames is a number or 'all'")
    if options.frames is not None and options.frames < 1:
        parser.error("--frames must be at least 1")
    return options


def run(options: argparse.Namespace, console: Console) -> int:
    import cv2

    cv2.setNumThreads(1)
    where = environment()
    notes: list[str] = []
    chosen = EngineChoice(options.tier, options.weights, options.runtime, options.precision)
    animators, missing = open_animators(chosen)
    perceptual, without = open_perceptual(options.perceptual)
    notes += [note for note in (missing, without) if note]
    for note in notes:
        console.print(note, style="yellow", highlight=False, markup=False)
    tools = Tools(Segmenter(), FaceReader(), perceptual)
    protocol = Protocol(options.size, options.frames, options.shots)
    try:
        tuner = None
        if options.shots and "generator" in animators:
            tuner = Tuner(chosen, tools.segmenter, options.tune_minutes)
        clips, measured, skipped = measure_all(options, animators, tools, protocol, tuner, console)
        followed = (
            follow_all(options, clips, animators, tools, skipped, console) if options.cross else []
        )
    finally:
        tools.segmenter.close()
        tools.reader.close()

    content: dict[str, Any] = as_json(measured)
    content["skipped"] = skipped
    content["notes"] = notes
    content["environment"] = where
    content["settings"] = {
        "clips": str(options.clips),
        "size": options.size,
        "frames": options.frames or "all",
        "shots": options.shots,
        "methods": {name: animator.about for name, animator in animators.items()},
    }
    if tuner is not None:
        content["settings"]["tuning"] = {"minutes": options.tune_minutes, "error": tuner.gains}
    if options.cross:
        content["cross"] = cross_json(followed, animators)
    write_json(options.json, content)
    sheet = options.sheet or options.json.with_suffix(".png")
    write_sheet(sheet, [row for m in measured for row in m.rows])
    if measured:
        print_tables(console, measured)
    if followed:
        import numpy as np

        write_png(
            sheet.with_name(sheet.stem + "-cross.png"), np.concatenate([f.strip for f in followed])
        )
        print_cross(console, content["cross"]["mean"])
    for name, reason in skipped.items():
        console.print(f"skipped {name}: {reason}", style="yellow", highlight=False, markup=False)
    console.print(f"{options.json} and {sheet}", highlight=False, markup=False)
    return 0 if measured else 2


def open_perceptual(weights: Path | None) -> tuple[Perceptual | None, str]:
    """The perceptual distance, or a sentence why there is none."""
    path = weights or SQUEEZENET
    try:
        return Perceptual(path), ""
    except (ImportError, OSError, KeyError, ValueError) as error:
        return None, (
            f"No perceptual distances ({error}): give SqueezeNet's weights with --perceptual "
            "and install the extra 'calibrate'."
        )


def measure_all(
    options: argparse.Namespace,
    animators: Mapping[str, Animator],
    tools: Tools,
    protocol: Protocol,
    tuner: Tuner | None,
    console: Console,
) -> tuple[list[Clip], list[Measured], dict[str, str]]:
    """Every clip that can be used, and why the others cannot."""
    clips: list[Clip] = []
    measured: list[Measured] = []
    skipped: dict[str, str] = {}
    paths = find_clips(options.clips)
    with console.status("") as status:
        for k, (name, path) in enumerate(paths.items()):
            status.update(escape(f"{name} ({k + 1} of {len(paths)})"))
            try:
                clip = track_clip(name, path)
                measured.append(
                    measure_clip(clip, animators, tools, protocol, dump=options.dump, tune=tuner)
                )
                clips.append(clip)
            except Unusable as error:
                skipped[name] = str(error)
    return clips, measured, skipped


def follow_all(
    options: argparse.Namespace,
    clips: list[Clip],
    animators: Mapping[str, Animator],
    tools: Tools,
    skipped: dict[str, str],
    console: Console,
) -> list[Followed]:
    """Each portrait driven by one of the clips, in turn."""
    moving = {name: animator for name, animator in animators.items() if name != "still"}
    followed: list[Followed] = []
    if not clips:
        return followed
    with console.status("") as status:
        for k, path in enumerate(find_portraits(options.cross, options.cross_portraits)):
            clip = clips[k % len(clips)]
            status.update(escape(f"{path.name} driven by {clip.name}"))
            try:
                sitter = load_sitter(path, tools)
                name = f"{path.stem} < {clip.name}"
                followed.append(follow(name, sitter, clip, moving, tools.reader))
            except Unusable as error:
                skipped[path.name] = str(error)
    return followed


def cross_json(followed: list[Followed], animators: Mapping[str, Animator]) -> dict[str, Any]:
    """'cross' of the result file."""
    moving = [name for name in animators if name != "still"]
    return {
        "mean": {method: mean_followed(followed, method) for method in moving},
        "pairs": {f.name: f.numbers for f in followed},
    }


def print_cross(console: Console, mean: dict[str, dict[str, float | None]]) -> None:
    table = Table(title="Other people's portraits: following and stability")
    table.add_column("")
    for method in mean:
        table.add_column(method, justify="right")
    for key in next(iter(mean.values())):
        cells = [(values.get(key)) for values in mean.values()]
        table.add_row(key, *("-" if v is None else f"{v:.3f}" for v in cells))
    console.print(table)


if __name__ == "__main__":
    sys.exit(main())
