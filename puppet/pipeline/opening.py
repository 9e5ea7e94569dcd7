"""Opening what a run needs, the slow parts side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2

from engines.contract import Generator
from engines.weights import read_weights
from puppet.avatar.tuned import tuned_weights_of
from puppet.capture import MeasuredSource, open_source, path_of
from puppet.capture.clip_sound import DRIVER, DriverSound
from puppet.capture.devices import default_camera
from puppet.contract import Sink, SoundSource, Tracker, UserError
from puppet.pipeline.environment import usable_cores
from puppet.pipeline.generator import EngineSettings
from puppet.pipeline.settings import LiveSettings


@dataclass(frozen=True, slots=True)
class Openers:
    """How the parts are opened where the settings' own way shall not be used.

    For callers that bring parts of their own: another tracker or engine, a source or sink that
    is no device, an injected fault.
    """

    source: Callable[[], MeasuredSource] | None = None
    tracker: Callable[[], Tracker] | None = None
    generator: Callable[..., Generator] | None = None
    """Called as `engines.runtimes.open_generator` is."""
    sinks: tuple[Sink, ...] = ()
    """Used beside those of the settings."""


def set_opencv_threads() -> None:
    """OpenCV's pool fights with the generator's threads for the cores: on few cores it gets one.

    Its pictures here are 512 pixels wide, where a second thread gains little anyway.
    """
    cv2.setNumThreads(1 if usable_cores() <= 4 else 2)


def open_together(jobs: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
    """Runs the jobs at the same time; their results by name.

    Loading MediaPipe, a runtime and a camera take about a second each and wait on different
    things. When one fails, what the others opened is closed and the first error is raised.
    """
    with ThreadPoolExecutor(len(jobs), thread_name_prefix="puppet-open") as pool:
        waiting = {name: pool.submit(job) for name, job in jobs.items()}
    errors = [error for f in waiting.values() if (error := f.exception()) is not None]
    if errors:
        for future in waiting.values():
            if future.exception() is None:
                future.result().close()
        raise errors[0]
    return {name: future.result() for name, future in waiting.items()}


def engine_for(engine: EngineSettings, avatars: Sequence[str]) -> EngineSettings:
    """With the avatar's own weights where it was calibrated and plays alone, unless another tier
    than theirs is wished for.

    One generator plays all avatars of a run: of several, none may bring weights of its own.
    Raises BundleError, SpecMismatch.
    """
    if engine.weights or engine.onnx or len(avatars) != 1:
        return engine
    tuned = tuned_weights_of(avatars[0])
    if tuned is not None and engine.tier != "auto" and engine.tier != read_weights(tuned).tier:
        tuned = None
    return replace(engine, weights=tuned)


def open_camera(settings: LiveSettings, camera: str | None) -> MeasuredSource:
    """`camera` as the settings wish it; None is the first one. Raises UserError, SourceError."""
    spec = camera or str(default_camera().index)
    return open_source(spec, fps=settings.camera_fps, size=settings.camera_size, loop=True)


def spare_driver(driver: str | None, out: Path) -> None:
    """Raises UserError where writing `out` would lose the recording that drives."""
    path = None if driver is None else path_of(driver)
    if path is not None and path.is_file() and out.is_file() and out.samefile(path):
        raise UserError(f"{out} is what drives: it would be lost. Choose another name.")


def microphone_for(
    wanted: str | None, source: Callable[[], MeasuredSource]
) -> Callable[[], SoundSource] | None:
    """What makes the microphone of a recording; None for one without sound.

    "driver" is the sound of the clip that `source` plays when the recording begins. What is
    returned raises SourceError when there is no such microphone.
    """
    if wanted is None:
        return None
    if wanted == DRIVER:
        return lambda: DriverSound(lambda: getattr(source(), "playback", None))
    from puppet.capture.microphone import Microphone

    return partial(Microphone, wanted)


def open_tracker() -> Tracker:
    """The tracker of this machine."""
    from puppet.track import open_tracker as open_real

    return open_real()
