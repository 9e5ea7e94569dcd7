"""What no loop can go below: a frame that is there already goes through tracker, retargeting,
drawing, generator and compositor, one after the other on one thread. No camera, no decoding, no
hand-over, no output, nothing beside it.
"""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import islice
from pathlib import Path

from puppet.capture.video import video_recording
from puppet.flow import AgeStats, Percentiles
from puppet.pipeline.cast import Cast
from puppet.pipeline.driver import Driver
from puppet.pipeline.events import Events
from puppet.pipeline.generator import GeneratorKeeper
from puppet.pipeline.opening import engine_for, open_tracker, set_opencv_threads
from puppet.pipeline.performer import Performer
from puppet.pipeline.report import StageTimes
from puppet.pipeline.settings import Look

WARM_UP, FRAMES = 20, 120


def measure_floor(camera: Path, avatar: str, look: Look, frames: int) -> Percentiles:
    """Milliseconds from a frame to its picture; the first WARM_UP frames of the clip do not count.
    Raises what opening the parts raises."""
    set_opencv_threads()
    cues = islice(video_recording(camera).cues(), WARM_UP + frames)
    waiting = [cue.load(cue.at_ns, number) for number, cue in enumerate(cues)]
    cast, tracker = Cast((avatar,)), open_tracker()
    generator = GeneratorKeeper(engine_for(look.engine, (avatar,)), Events())
    role, times = cast.current, AgeStats()
    driver = Driver(role.avatar, look.retarget)
    performer = Performer(role, driver, generator, look.compose, Events(), StageTimes())
    try:
        for number, frame in enumerate(waiting):
            now = time.perf_counter_ns()
            performer.perform(tracker.track(replace(frame, captured_at_ns=now)))
            if number >= WARM_UP:
                times.add_between(now, time.perf_counter_ns())
    finally:
        for part in (cast, tracker, generator):
            part.close()
    return times.percentiles()
