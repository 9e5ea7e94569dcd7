"""Each stage by itself, one after the other, nothing else running: medians in milliseconds.

python -m benchmarks.stages [--camera clip.mp4] [--frames 200] [--json stages.json]
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from benchmarks.command import avatar_of, clip_of, clip_parser, give
from benchmarks.environment import environment
from puppet.capture import open_source
from puppet.compose.compositor import Compositor
from puppet.compose.settings import ComposeSettings
from puppet.contract import Frame, Landmarks
from puppet.pipeline.cast import prepare_role
from puppet.pipeline.events import Events
from puppet.pipeline.generator import EngineSettings, GeneratorKeeper
from puppet.pipeline.opening import set_opencv_threads
from puppet.retarget import Retargeter, best_neutral, rest_face
from puppet.track import open_tracker

A = TypeVar("A")
B = TypeVar("B")
WARM_UP = 10


def timed(stage: Callable[[A], B], inputs: Iterable[A]) -> tuple[list[B], list[float]]:
    """What `stage` gives for each input, and the milliseconds it took."""
    results, times = [], []
    for item in inputs:
        since = time.perf_counter_ns()
        results.append(stage(item))
        times.append((time.perf_counter_ns() - since) / 1e6)
    return results, times


def summary(times: Sequence[float]) -> dict[str, float]:
    ordered = sorted(times[WARM_UP:] or times)
    return {"p50": round(median(ordered), 3), "p95": round(ordered[int(len(ordered) * 0.95)], 3)}


def measure(camera: Path, avatar: str, frames: int, tier: str, runtime: str) -> dict[str, Any]:
    """Medians per stage over `frames` pictures of the clip, which is repeated if it is shorter."""
    around = environment()
    set_opencv_threads()
    stages: dict[str, list[float]] = {}
    source = open_source(str(camera), realtime=False, loop=True)
    pictures, stages["capture"] = timed(lambda _: source.read(5.0), range(frames))
    source.close()

    tracker = open_tracker()
    seen, stages["track"] = timed(tracker.track, (p for p in pictures if isinstance(p, Frame)))
    tracker.close()
    pictures.clear()
    faces = [(o.landmarks, o.captured_at_ns) for o in seen if o.landmarks is not None]

    role = prepare_role(avatar)
    retargeter = Retargeter(rest_face(role.avatar.landmarks), best_neutral(seen))

    def retarget(face: tuple[Landmarks, int]) -> Landmarks:
        return retargeter.retarget(*face)

    driving, stages["retarget"] = timed(retarget, faces)
    _, stages["draw"] = timed(role.painter.paint, driving)

    generator = GeneratorKeeper(EngineSettings(tier=tier, runtime=runtime), Events())
    generator.set_portrait(role.tensors)
    images = (role.painter.paint(points) for points in driving)  # painted outside of the time
    made, stages["generate"] = timed(generator.generate, images)
    for size in ((512, 512), (1280, 720)):
        compositor = Compositor(role.avatar, ComposeSettings(size=size))
        pairs = zip(itertools.repeat(made[-1]), range(len(driving)))
        _, stages[f"compose {size[0]}x{size[1]}"] = timed(
            lambda pair, c=compositor: c.compose(pair[0], 0, pair[1]),  # type: ignore[misc]
            pairs,
        )
    runtime_info = generator.info()
    generator.close()
    return {
        "benchmark": "stages",
        "frames": len(driving),
        "stages_ms": {name: summary(times) for name, times in stages.items() if times},
        "runtime": runtime_info,
        "environment": around,
    }


def main(arguments: list[str] | None = None) -> None:
    parser = clip_parser(__doc__)
    parser.add_argument("--frames", type=int, default=200)
    wanted = parser.parse_args(arguments)
    result = measure(clip_of(wanted), avatar_of(wanted), wanted.frames, wanted.tier, wanted.runtime)
    give(result, wanted.json)


if __name__ == "__main__":
    main()
