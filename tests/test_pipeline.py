"""The loop from source to sinks: what comes out, what is measured, and what happens when a part
breaks. Real tracker, generator, compositor and sinks; only faults are injected."""

from __future__ import annotations

import json
import shutil
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from numpy.typing import NDArray

from engines.coarse import coarse_portrait
from engines.contract import EngineFailed, Generator
from engines.parity import compare, reference_images, reference_portrait_arrays
from engines.runtimes import open_generator
from engines.takeover import TakeoverGenerator
from puppet.compose.compositor import Compositor
from puppet.compose.settings import Background, ComposeSettings, LabelSettings
from puppet.contract import Observation, Picture, SinkError, SourceError, UserError
from puppet.pipeline.cast import Cast
from puppet.pipeline.commands import (
    Adjust,
    CommandQueue,
    LabelSize,
    NextAvatar,
    Panic,
    Pause,
    Quit,
    Recalibrate,
    SwitchAvatar,
)
from puppet.pipeline.events import Event, Events
from puppet.pipeline.generator import EngineSettings, GeneratorKeeper
from puppet.pipeline.live import LiveRun
from puppet.pipeline.opening import Openers, engine_for, open_together
from puppet.pipeline.report import Report
from puppet.pipeline.settings import LiveSettings, Look
from tests.faces import face
from tests.performing import (
    QUICK,
    KeepingSink,
    NoTracker,
    Rgb,
    Script,
    driver_frames,
    make_avatar,
    moving_faces,
    read_clip,
    share_of_driver,
    shows_label,
)

LOOK = Look(engine=QUICK)
T = TypeVar("T")


def scripted(
    avatar: Path,
    steps: list[object],
    *,
    sink: KeepingSink | None = None,
    sinks: tuple[str, ...] = (),
    opener: Callable[..., Generator] | None = None,
    avatars: tuple[str, ...] = (),
    look: Look | None = None,
    seconds: float | None = None,
) -> tuple[LiveRun, KeepingSink, list[Event]]:
    """A run on a script of observations, with a sink that keeps the pictures."""
    kept = sink or KeepingSink()
    run = LiveRun(
        LiveSettings((str(avatar), *avatars), sinks=sinks, look=look or LOOK, seconds=seconds),
        openers=Openers(
            source=lambda: Script(steps), tracker=NoTracker, generator=opener, sinks=(kept,)
        ),
    )
    told: list[Event] = []
    run.events.listen(told.append)
    return run, kept, told


def until(found: Callable[[], T | None], seconds: float = 20.0) -> T:
    """Waits for something another thread makes."""
    end = time.monotonic() + seconds
    while (thing := found()) is None:
        assert time.monotonic() < end, "it never came"
        time.sleep(0.01)
    return thing


def kinds(told: list[Event]) -> list[str]:
    return [event.kind for event in told]


# --- privacy and label ----------------------------------------------------------------------


def test_the_driver_would_be_recognised() -> None:
    """The measure of the privacy tests does see the driver where there is one."""
    for frame in driver_frames(3):
        assert share_of_driver(frame) > 0.25


def test_no_driver_pixel_in_any_sink_and_a_label_in_all(avatar: Path, tmp_path: Path) -> None:
    """Frames with a face, then frames without one until the slate, then panic."""
    frames = driver_frames(45)
    board = frames[0].copy()
    board[:] = board[:1, :1]  # magenta only: nobody in sight
    steps: list[object] = [*frames, *[board] * 12, 0.5, *frames[:40]]
    kept, video = KeepingSink(), tmp_path / "out.mp4"
    pages: list[bytes] = []
    run = LiveRun(
        LiveSettings((str(avatar),), sinks=(f"file:{video}", "mjpeg:0", "null"), look=LOOK),
        openers=Openers(source=lambda: Script(steps, 1 / 15), sinks=(kept,)),
    )
    told: list[Event] = []
    run.events.listen(told.append)
    run.start()
    mjpeg = next(s for s in run.fan_out.sinks if s.name.startswith("mjpeg"))
    watcher = threading.Thread(target=_watch, args=(mjpeg, pages), daemon=True)
    watcher.start()
    while "face-lost" not in kinds(told) and not run.wait(0.02):
        pass
    before = len(kept.pictures)
    while len(kept.pictures) < before + 10 and not run.wait(0.02):
        pass
    run.commands.put(Panic(True))
    while not run.wait(0.2):
        pass
    run.close()
    report = run.report()
    watcher.join(5)

    recorded = read_clip(video)
    streamed = _decoded(pages)
    assert len(kept.pictures) > before > 20
    assert len(recorded) > 20
    assert len(streamed) > 3
    assert report.frames_in > 40
    assert {"tracked", "face-lost", "panic"} <= set(kinds(told))
    assert {s.name.split(":")[0] for s in report.sinks} == {"file", "mjpeg", "null", "keeping"}
    everything = [p.rgb for p in kept.pictures] + recorded + streamed
    assert max(share_of_driver(rgb) for rgb in everything) == 0.0
    assert all(shows_label(rgb) for rgb in everything)


def _watch(sink: object, pages: list[bytes]) -> None:
    """Reads the page's stream until it ends, 4 MB at most."""
    url = sink.url.rstrip("/") + "/stream.mjpg"  # type: ignore[attr-defined]
    try:
        with urllib.request.urlopen(url, timeout=5) as stream:
            while sum(map(len, pages)) < 4 << 20:
                piece = stream.read(65_536)
                if not piece:
                    return
                pages.append(piece)
    except OSError:
        return


def _decoded(pages: list[bytes]) -> list[Rgb]:
    import cv2

    found = []
    for part in b"".join(pages).split(b"\xff\xd8\xff")[1:]:
        data, mark, _ = part.rpartition(b"\xff\xd9")
        if mark:
            bgr = cv2.imdecode(np.frombuffer(b"\xff\xd8\xff" + data + mark, np.uint8), 1)
            assert bgr is not None
            found.append(np.asarray(bgr[..., ::-1], np.uint8))
    return found


def test_leaving_the_label_out_is_told_and_in_the_report(avatar: Path) -> None:
    look = Look(
        compose=ComposeSettings(label=LabelSettings(elsewhere="scene overlay")), engine=QUICK
    )
    run, kept, told = scripted(avatar, moving_faces(5), look=look)
    report = run.run()
    assert report.label == "elsewhere: scene overlay"
    assert any(e.kind == "label" and "scene overlay" in e.message for e in told)
    assert not any(shows_label(picture.rgb) for picture in kept.pictures)


# --- what is measured -----------------------------------------------------------------------


def test_a_run_reports_what_happened(avatar: Path, tmp_path: Path) -> None:
    steps: list[object] = [*moving_faces(40), None, None]
    run, kept, told = scripted(avatar, steps, sinks=("null", f"file:{tmp_path / 'a.mp4'}"))
    report = run.run()
    content = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert set(content) >= {
        "frames_in", "frames_out", "dropped", "fps", "age_ms", "stages_ms", "runtime", "avatar",
        "size", "seconds", "face_lost_frames", "versions", "machine",
    }  # fmt: skip
    assert content["frames_in"] == 42
    assert content["frames_out"] + content["dropped_where"]["hand-over"] == 42
    assert content["face_lost_frames"] >= 1
    assert set(content["age_ms"]) == {"p50", "p95", "p99", "max"}
    assert set(content["stages_ms"]) >= {"capture", "retarget", "draw", "generate", "compose"}
    assert content["runtime"]["runtime"] in ("openvino", "onnxruntime")
    assert content["size"] == [512, 512]
    assert content["avatar"] == "astronaut"
    ages = [s["age_ms"]["p50"] for s in content["sinks"] if s["sent"]]
    assert all(age > 0 for age in ages)
    times = [picture.captured_at_ns for picture in kept.pictures]
    assert times == sorted(times)
    assert {"started", "first-picture", "calibrated", "source-ended"} <= set(kinds(told))
    sent = next(s["sent"] for s in content["sinks"] if s["name"].startswith("file"))
    assert len(read_clip(tmp_path / "a.mp4")) == sent > 10


def slowed(*arguments: object, **options: object) -> Generator:
    """A real generator on a machine that is too slow for it."""
    generator = open_generator(*arguments, **options)  # type: ignore[arg-type]
    quick = generator.generate
    generator.generate = lambda image: (time.sleep(0.12), quick(image))[1]  # type: ignore[method-assign]
    return generator


def test_a_slow_generator_drops_frames_and_does_not_queue_them(avatar: Path) -> None:
    run, kept, _ = scripted(avatar, moving_faces(40), opener=slowed)
    report = run.run()
    assert report.dropped["hand-over"] > 10
    gaps = np.diff([picture.index for picture in kept.pictures])
    assert gaps.max() > 1
    # Never older than the newest frame at its start: the work of one picture, not of a queue.
    assert report.stages_ms["capture"].p50 < 120


@pytest.mark.parametrize(
    ("tier", "times", "remedy"),
    [("base", 1, "--tier small"), ("small", 1, "--tier coarse"), ("coarse", 0, "")],
)
def test_a_network_that_does_not_keep_up_is_told_once_with_the_remedy(
    tier: str, times: int, remedy: str, avatar: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("puppet.pipeline.work.SLOW_AFTER_S", 0.5)
    look = Look(engine=replace(QUICK, tier=tier))
    run, _, told = scripted(avatar, moving_faces(60), opener=slowed, look=look)
    run.run()
    said = [event.message for event in told if event.kind == "slow"]
    assert len(said) == times
    assert all("of the 30 that come" in each and remedy in each for each in said)


@pytest.mark.parametrize(
    ("tier", "own"), [("auto", True), ("small", True), ("coarse", False), ("base", False)]
)
def test_another_tier_than_theirs_leaves_an_avatars_own_weights_out(
    tier: str, own: bool, avatar: Path, tmp_path: Path
) -> None:
    import engines

    calibrated = tmp_path / "own.avatar"
    shutil.copytree(avatar, calibrated)
    shipped = Path(engines.__file__).parent / "data" / "small.safetensors"
    shutil.copyfile(shipped, calibrated / "weights.safetensors")
    wanted = EngineSettings(tier=tier)
    weights = calibrated / "weights.safetensors" if own else None
    assert engine_for(wanted, (str(calibrated),)) == replace(wanted, weights=weights)
    assert engine_for(wanted, (str(calibrated), str(avatar))) == wanted, "one plays them all"


def test_without_any_face_the_slate_is_shown_and_a_hint_given(avatar: Path) -> None:
    run, kept, told = scripted(avatar, [None] * 170)  # 5.7 s, and the slate comes after 5
    report = run.run()
    assert report.face_lost_frames >= 100
    hint = next(e.message for e in told if e.kind == "face-lost")
    assert "lit from the front" in hint
    assert np.array_equal(kept.pictures[-1].rgb, kept.pictures[-2].rgb)
    assert shows_label(kept.pictures[-1].rgb)


def test_seconds_end_the_run(avatar: Path) -> None:
    run, _, _ = scripted(avatar, moving_faces(600), seconds=0.5)
    report = run.run()
    assert 0.5 <= report.seconds < 5
    assert report.frames_in < 600


# --- faults ---------------------------------------------------------------------------------


def test_a_silent_source_is_told_and_bridged_and_taken_up_again(avatar: Path) -> None:
    steps = [*moving_faces(10), 1.6, *moving_faces(10)]
    run, kept, told = scripted(avatar, steps)
    report = run.run()
    assert kinds(told).count("source-silent") == 1
    assert kinds(told).count("source-back") == 1
    assert report.face_lost_frames == 0  # no frame came without a face: none came
    bridging = np.diff([picture.index for picture in kept.pictures]) == 0
    assert bridging.sum() >= 4  # the portrait went on by itself in between


def test_the_error_of_a_source_ends_the_run_and_the_file_is_finished(
    avatar: Path, tmp_path: Path
) -> None:
    steps = [*moving_faces(12), SourceError("the cable is cut")]
    run, kept, _ = scripted(avatar, steps, sinks=(f"file:{tmp_path / 'a.mp4'}",))
    with pytest.raises(SourceError, match="the cable is cut"):
        run.run()
    assert kept.closed
    sent = next(s.sent for s in run.report().sinks if s.name.startswith("file"))
    assert len(read_clip(tmp_path / "a.mp4")) == sent > 4


def failing_after(pictures: int, fails_for: int = 1) -> Callable[..., Generator]:
    """Real generators, of which the first `fails_for` break down in mid-run."""
    opened: list[Generator] = []

    def opener(*arguments: object, **options: object) -> Generator:
        generator = open_generator(*arguments, **options)  # type: ignore[arg-type]
        opened.append(generator)
        if len(opened) > fails_for:
            return generator
        works, count = generator.generate, 0

        def generate(image: object) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
            nonlocal count
            count += 1
            if count > pictures:
                raise EngineFailed("the device was lost")
            return works(image)  # type: ignore[arg-type]

        generator.generate = generate  # type: ignore[method-assign]
        return generator

    return opener


def test_a_generator_that_breaks_down_is_replaced_by_another_runtime(avatar: Path) -> None:
    run, kept, told = scripted(avatar, [face()] * 150, opener=failing_after(8))
    report = run.run()
    assert len(report.fallbacks) == 1
    assert "the device was lost" in report.fallbacks[0]
    first = next(e.message for e in told if e.kind == "runtime")
    assert report.runtime["runtime"] not in first
    assert kinds(told).count("runtime-fallback") == 1
    assert len(kept.pictures) > 15
    # Both runtimes show the same portrait of a driver who does not move.
    before, after = kept.pictures[5].rgb, kept.pictures[-1].rgb
    assert np.abs(before.astype(int) - after.astype(int)).mean() < 3


@pytest.mark.parametrize("method", ["generate", "set_portrait"])
def test_any_error_of_a_runtime_brings_the_next_one(method: str) -> None:
    """Libraries raise errors of their own kinds, at a picture and at a portrait."""

    class OutOfMemory(Exception):
        pass

    def fail(*_: object) -> None:
        raise OutOfMemory("5 GB wanted")

    def opener(*arguments: object, **options: object) -> Generator:
        opened.append(open_generator(*arguments, **options))  # type: ignore[arg-type]
        return opened[-1]

    portrait, image = coarse_portrait(*reference_portrait_arrays()[:2]), reference_images()[1]
    opened: list[Generator] = []
    told: list[Event] = []
    events = Events()
    events.listen(told.append)
    with closing(GeneratorKeeper(EngineSettings(tier="coarse"), events, opener)) as keeper:
        keeper.set_portrait(lambda spec: portrait)
        before = keeper.generate(image).copy()
        setattr(opened[0], method, fail)
        keeper.set_portrait(lambda spec: portrait)
        after = keeper.generate(image)
        assert compare(before, after).greatest <= 1
        assert keeper.info()["runtime"] == opened[1].info.runtime != opened[0].info.runtime
    assert kinds(told) == ["runtime", "runtime-fallback"]
    assert "OutOfMemory: 5 GB wanted" in told[1].message


@pytest.mark.parametrize("method", ["begin", "finish"])
def test_pictures_at_work_in_a_runtime_that_fails_are_made_by_the_next(method: str) -> None:
    def fail(*_: object) -> None:
        raise EngineFailed("the device was lost")

    def opener(*arguments: object, **options: object) -> Generator:
        opened.append(open_generator(*arguments, **options))  # type: ignore[arg-type]
        return opened[-1]

    portrait, images = coarse_portrait(*reference_portrait_arrays()[:2]), reference_images()
    opened: list[Generator] = []
    with closing(GeneratorKeeper(EngineSettings(tier="coarse"), Events(), opener)) as keeper:
        keeper.set_portrait(lambda spec: portrait)
        wanted = [keeper.generate(image).copy() for image in images[:3]]
        keeper.begin(images[0])
        setattr(opened[0], method, fail)
        keeper.begin(images[1])
        found = [keeper.finish().copy()]
        keeper.begin(images[2])
        found += [keeper.finish().copy(), keeper.finish().copy()]
        assert len(opened) == 2
        for first, second in zip(wanted, found, strict=True):
            assert compare(first, second).greatest <= 1


def test_a_gpu_that_does_not_take_over_is_told_once() -> None:
    def better() -> Generator:
        raise EngineFailed("The card is full.")

    def opener(*arguments: object, **options: object) -> Generator:
        first = open_generator(*arguments, **options)  # type: ignore[arg-type]
        generators.append(TakeoverGenerator(first, better))
        return generators[0]

    portrait, image = coarse_portrait(*reference_portrait_arrays()[:2]), reference_images()[1]
    generators: list[TakeoverGenerator] = []
    told: list[Event] = []
    events = Events()
    events.listen(told.append)
    with closing(GeneratorKeeper(EngineSettings(tier="coarse"), events, opener)) as keeper:
        keeper.set_portrait(lambda spec: portrait)
        generators[0].wait(30)
        keeper.generate(image)
        keeper.generate(image)
        (fallback,) = keeper.fallbacks
    assert "No GPU takes over: The card is full." in fallback
    assert [e.message for e in told if e.kind == "runtime-fallback"] == [fallback]


@pytest.mark.parametrize("runtime", ["openvino", "onnxruntime"])
def test_tracking_runs_beside_the_generator_only_where_a_core_is_left(
    runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("puppet.pipeline.generator.available_cores", lambda: 4)
    for threads, left in ((4, False), (3, True)):
        settings = EngineSettings(tier="coarse", runtime=runtime, threads=threads)
        with closing(GeneratorKeeper(settings, Events())) as keeper:
            assert keeper.leaves_a_core is left


def test_when_no_runtime_is_left_the_slate_stays_on_air(avatar: Path) -> None:
    opener = failing_after(3, fails_for=99)
    run, kept, told = scripted(avatar, [face()] * 120, opener=opener)
    with pytest.raises(EngineFailed, match="no other runtime can take over"):
        run.run()  # until the source ends: then the reason is the outcome
    assert kept.closed
    assert kinds(told).count("picture-failed") == 1
    slates = [each.rgb for each in kept.pictures[-2:]]
    assert np.array_equal(*slates)
    assert np.abs(slates[0].astype(int) - kept.pictures[1].rgb.astype(int)).mean() > 5
    assert sum("no other runtime" in warning for warning in run.report().warnings) == 1


def test_one_picture_that_cannot_be_made_is_a_slate_and_the_run_goes_on(
    avatar: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    works, made = Compositor.compose, 0

    def compose(self: Compositor, rgba: NDArray[np.uint8], at_ns: int, index: int) -> Picture:
        nonlocal made
        made += 1
        if made == 4:
            raise MemoryError("no memory for a picture")
        return works(self, rgba, at_ns, index)

    monkeypatch.setattr(Compositor, "compose", compose)
    run, kept, told = scripted(avatar, [face()] * 60)
    report = run.run()
    assert [k for k in kinds(told) if k.startswith("picture")] == ["picture-failed", "picture-back"]
    assert "MemoryError: no memory for a picture" in report.warnings[0]
    before, slate, after = (kept.pictures[i].rgb.astype(int) for i in (2, 3, 4))
    assert np.abs(before - after).mean() < 1 < np.abs(before - slate).mean()


def test_a_failing_sink_leaves_the_others_running(avatar: Path) -> None:
    def fail(count: int) -> None:
        if count == 5:
            raise SinkError("the screen fell down")

    run, kept, told = scripted(avatar, moving_faces(30), sink=KeepingSink(fail), sinks=("null",))
    report = run.run()
    null = next(s for s in report.sinks if s.name == "null")
    assert null.sent > len(kept.pictures)
    assert kinds(told).count("sink-failed") == 1
    assert any("the screen fell down" in warning for warning in report.warnings)


def test_when_every_sink_has_failed_the_run_ends(avatar: Path) -> None:
    def fail(count: int) -> None:
        raise SinkError("the screen fell down")

    run, _, _ = scripted(avatar, moving_faces(300), sink=KeepingSink(fail))
    with pytest.raises(SinkError, match="the screen fell down"):
        run.run()


def test_an_unexpected_error_of_a_stage_is_raised_by_run(avatar: Path) -> None:
    run, kept, _ = scripted(avatar, [face(), face(), ZeroDivisionError("a bug")])
    with pytest.raises(ZeroDivisionError, match="a bug"):
        run.run()
    assert kept.closed


def test_a_tracker_that_breaks_down_leaves_the_outputs_open(avatar: Path) -> None:
    class Hiccup(NoTracker):
        frames = 0

        def track(self, frame: Any) -> Observation:
            self.frames += 1
            if 4 <= self.frames < 12:
                raise ZeroDivisionError("a bug")
            return Observation(face(), frame.captured_at_ns, frame.index)

    kept, told = KeepingSink(), []
    run = LiveRun(
        LiveSettings((str(avatar),), sinks=(), look=LOOK),
        openers=Openers(
            source=lambda: Script([*driver_frames(40)]),  # type: ignore[list-item]
            tracker=Hiccup,
            sinks=(kept,),
        ),
    )
    run.events.listen(told.append)
    report = run.run()
    assert report.frames_out > 20
    assert kinds(told).count("tracking-failed") == 1
    assert any("ZeroDivisionError: a bug" in warning for warning in report.warnings)
    assert max(share_of_driver(picture.rgb) for picture in kept.pictures) == 0.0


def test_what_was_opened_is_closed_when_something_else_cannot_be() -> None:
    sink = KeepingSink()

    def fail() -> None:
        raise UserError("not here")

    with pytest.raises(UserError, match="not here"):
        open_together({"good": lambda: sink, "bad": fail})
    assert sink.closed


def test_without_an_output_the_run_is_refused(avatar: Path) -> None:
    with pytest.raises(UserError, match="--sink"):
        LiveRun(LiveSettings((str(avatar),), sinks=())).run()


def test_no_thread_is_left_behind(avatar: Path) -> None:
    before = set(threading.enumerate())
    run, _, _ = scripted(avatar, moving_faces(5), sinks=("null",))
    run.run()
    run.close()
    left = {t.name for t in set(threading.enumerate()) - before if t.name.startswith("puppet")}
    assert not left


# --- commands -------------------------------------------------------------------------------


def steered(
    avatar: Path, orders: dict[int, object], frames: int = 60, **options: object
) -> tuple[Report, KeepingSink, list[Event]]:
    """A run that gets commands after so many pictures."""
    box: list[LiveRun] = []

    def on_picture(count: int) -> None:
        if count in orders:
            box[0].commands.put(orders[count])  # type: ignore[arg-type]

    run, kept, told = scripted(
        avatar,
        moving_faces(frames),
        sink=KeepingSink(on_picture),
        **options,  # type: ignore[arg-type]
    )
    box.append(run)
    return run.run(), kept, told


def test_pause_rests_and_goes_on(avatar: Path) -> None:
    _, kept, told = steered(avatar, {5: Pause(), 45: Pause()}, frames=70)
    assert kinds(told).count("paused") == 1
    assert kinds(told).count("resumed") == 1
    pictures = [picture.rgb.astype(int) for picture in kept.pictures]

    def moved(first: int, last: int) -> float:
        return float(np.abs(pictures[first] - pictures[last]).mean())

    assert moved(38, 43) < moved(0, 5)  # at rest but for a blink, against a turning head


def test_panic_shows_the_slate_at_once(avatar: Path) -> None:
    _, kept, told = steered(avatar, {10: Panic()}, frames=30)
    assert "panic" in kinds(told)
    after, last = kept.pictures[14].rgb, kept.pictures[-1].rgb
    assert np.array_equal(after, last)
    assert not np.array_equal(kept.pictures[5].rgb, after)
    assert shows_label(last)


def test_label_size_and_settings_change_while_running(avatar: Path) -> None:
    orders = {3: LabelSize("large"), 6: Adjust({"pose": 0.0, "expression": 0.0}), 8: Recalibrate()}
    _, kept, told = steered(avatar, orders, frames=30)
    assert {"label", "adjusted", "calibrating"} <= set(kinds(told))
    assert shows_label(kept.pictures[-1].rgb, LabelSettings(size="large"))


def test_what_cannot_be_done_is_refused_and_the_run_goes_on(avatar: Path) -> None:
    orders = {
        2: Adjust({"no_such_thing": 1.0}),
        4: Adjust({"pose": "much"}),
        6: NextAvatar(),
        8: LabelSize("enormous"),
    }
    report, _, told = steered(avatar, orders, frames=30)
    assert kinds(told).count("refused") == 4
    assert report.frames_out > 12


def test_avatars_are_switched_while_running(avatar: Path, tmp_path: Path) -> None:
    other = make_avatar(tmp_path, "other")
    orders = {10: NextAvatar(), 40: SwitchAvatar("nobody of that name")}
    report, _, told = steered(avatar, orders, frames=90, avatars=(str(other),))
    assert report.avatar == "other"
    assert "avatar" in kinds(told)
    failure = next(e.message for e in told if e.kind == "avatar-failed")
    assert "nobody of that name" in failure


def test_scenes_of_resting_avatars_follow_a_change_of_background(
    avatar: Path, tmp_path: Path
) -> None:
    cast = Cast((str(avatar),))
    first = cast.current
    cast.ask(str(make_avatar(tmp_path, "other")))
    other = until(cast.take)
    green = ComposeSettings(background=Background("colour", colour=(0, 177, 64)))
    cast.stage(green)
    assert until(lambda: first.compositor_for(green)).settings == green
    assert other.compositor_for(green) is None  # who is on is set by the backstage
    blurred = ComposeSettings(background=Background("blur"))
    cast.stage(green)
    cast.stage(blurred)
    assert until(lambda: first.compositor_for(blurred)).settings == blurred
    cast.close()


def test_quit_ends_the_run(avatar: Path) -> None:
    report, _, _ = steered(avatar, {5: Quit()}, frames=300)
    assert report.frames_in < 300


def test_urgent_commands_go_first_and_are_never_refused() -> None:
    queue = CommandQueue()
    while queue.put(Pause()):
        pass
    assert queue.put(Panic(False))
    assert queue.put(Panic(True))
    waiting = queue.drain()
    assert waiting[:2] == [Panic(False), Panic(True)], "the last word is the last"
    assert len(waiting) == CommandQueue.CAPACITY + 2
    assert queue.drain() == []
