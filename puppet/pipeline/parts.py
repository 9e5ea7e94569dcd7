"""What a live run has opened, and how it is opened: all of it or nothing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from puppet.capture import MeasuredSource
from puppet.contract import Tracker, UserError
from puppet.output import FanOut, open_sink
from puppet.output.file import FileSink
from puppet.pipeline.cast import Cast
from puppet.pipeline.driver import Driver
from puppet.pipeline.events import Events
from puppet.pipeline.generator import GeneratorKeeper
from puppet.pipeline.opening import (
    Openers,
    engine_for,
    microphone_for,
    open_camera,
    open_together,
    open_tracker,
    set_opencv_threads,
    spare_driver,
)
from puppet.pipeline.performer import Performer
from puppet.pipeline.profiles import Profile
from puppet.pipeline.report import StageTimes
from puppet.pipeline.settings import LiveSettings
from puppet.pipeline.tracking import TrackingOutputs


@dataclass(frozen=True, slots=True)
class Parts:
    """What a run has opened; whoever opened it closes it."""

    source: MeasuredSource
    tracker: Tracker
    generator: GeneratorKeeper
    cast: Cast
    performer: Performer
    fan_out: FanOut
    profile: Profile
    tracking: TrackingOutputs

    def close(self) -> None:
        """Closes what tracking and work used; source and outputs are closed before it ends."""
        self.cast.close()
        self.tracker.close()
        self.generator.close()
        self.tracking.close()


def open_parts(
    settings: LiveSettings,
    openers: Openers,
    events: Events,
    times: StageTimes,
    *,
    on_key: Callable[[str], None],
    on_sink_failure: Callable[[str, Exception], None],
) -> Parts:
    """Opens source, tracker, generator, avatars and outputs; closes them again if one cannot be.

    `on_key` gets the keys of a preview window. Raises UserError, BundleError, SourceError,
    SinkError, TrackerError, EngineError.
    """
    opened: dict[str, Any] = {}
    listen = microphone_for(settings.microphone, lambda: opened["source"])
    asked = (open_sink(spec, on_key=on_key, microphone=listen) for spec in settings.sinks)
    sinks = (*asked, *openers.sinks)
    if not sinks:
        raise UserError("There is no output: name one with --sink.")
    written = [sink.path for sink in sinks if isinstance(sink, FileSink)]
    for path in (*written, settings.record_trace):
        if path is not None:
            spare_driver(settings.camera, path)
    look = settings.look
    cutout = look.compose.cutout or any(sink.wants_cutout for sink in sinks)
    compose = replace(look.compose, cutout=cutout)
    engine = engine_for(look.engine, settings.avatars)
    set_opencv_threads()
    opened |= open_together(
        {
            "cast": lambda: Cast(settings.avatars),
            "source": openers.source or (lambda: open_camera(settings, settings.camera)),
            "tracker": openers.tracker or open_tracker,
            "generator": lambda: GeneratorKeeper(engine, events, openers.generator),
        }
    )
    with ExitStack() as on_failure:
        for part in opened.values():
            on_failure.callback(part.close)
        cast, generator = opened["cast"], opened["generator"]
        profile = Profile(opened["source"], settings.use_profile)
        driver = Driver(cast.current.avatar, look.retarget, profile.known())
        performer = Performer(cast.current, driver, generator, compose, events, times)
        cast.preload(generator.spec, compose)
        fan_out = FanOut(*compose.size, settings.fps, on_failure=on_sink_failure)
        on_failure.callback(fan_out.close)
        for sink in sinks:
            fan_out.add(sink)
        tracking = TrackingOutputs(settings.record_trace, settings.vmc, events)
        on_failure.pop_all()
    return Parts(
        performer=performer,
        fan_out=fan_out,
        profile=profile,
        tracking=tracking,
        **opened,
    )
