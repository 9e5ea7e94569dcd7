"""Several outputs at once: none waits for another, each keeps its pace."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest

from puppet.contract import (
    Frame,
    Picture,
    SinkError,
    UserError,
)
from puppet.output import FanOut
from puppet.output.file import FileSink
from puppet.output.null import NullSink
from puppet.output.pace import Schedule
from tests.outputs import FPS, HEIGHT, MS, WIDTH, decode, index_of, picture, wait_until

# --- schedule and fan-out -----------------------------------------------------------------------


def test_the_schedule_keeps_its_rate_and_does_not_burst() -> None:
    schedule = Schedule(25.0, 0)
    ticks = []
    for _ in range(50):
        ticks.append(schedule.due_ns)
        schedule.advance(schedule.due_ns + 3 * MS, None)  # a little late each time: no drift
    assert set(np.diff(ticks)) == {40 * MS}
    schedule.advance(10_000 * MS, None)  # stuck for 8 s
    assert schedule.due_ns == 10_040 * MS


def test_the_schedule_moves_towards_the_pictures() -> None:
    schedule = Schedule(25.0, 0)
    for k in range(200):  # pictures of the same rate, 20 ms before each first tick
        schedule.advance(schedule.due_ns, k * 40 * MS - 20 * MS)
    assert abs(schedule.due_ns - (200 * 40 * MS - 20 * MS)) < 2 * MS


class Probe:
    """A sink of the test: remembers, waits or fails as told."""

    wants_cutout = False

    def __init__(self, name: str, *, paced: bool = False) -> None:
        self.name = name
        self.paced = paced
        self.seen: list[int] = []
        self.threads: set[int] = set()
        self.closed = 0
        self.gate = threading.Event()
        self.gate.set()
        self.fail: Exception | None = None

    def open(self, width: int, height: int, fps: float) -> None:
        self.threads.add(threading.get_ident())
        if isinstance(self.fail, UserError):
            raise self.fail

    def send(self, picture: Picture) -> None:
        self.threads.add(threading.get_ident())
        self.gate.wait(20)
        if self.fail is not None:
            raise self.fail
        self.seen.append(picture.index)

    def close(self) -> None:
        self.threads.add(threading.get_ident())
        self.closed += 1


def test_a_slow_sink_drops_and_the_others_get_everything() -> None:
    fan, fast, slow = FanOut(WIDTH, HEIGHT, FPS), Probe("fast"), Probe("slow")
    fan.add(fast)
    fan.add(slow)
    slow.gate.clear()
    for index in range(20):
        fan.send(picture(index))
        wait_until(lambda index=index: len(fast.seen) == index + 1)  # type: ignore[misc]
    slow.gate.set()
    assert fan.close() == ()
    assert fast.seen == list(range(20))
    assert slow.seen[-1] == 19  # the newest is not lost at the end
    by_name = {s.name: s for s in fan.stats()}
    assert by_name["slow"].sent + by_name["slow"].dropped == 20
    assert by_name["slow"].dropped >= 17
    assert by_name["fast"].dropped == 0
    assert len(fast.threads) == len(slow.threads) == 1
    assert fast.threads != slow.threads
    assert fast.closed == slow.closed == 1


def test_a_failing_sink_is_told_once_and_leaves_the_others() -> None:
    told: list[tuple[str, Exception]] = []
    fan = FanOut(WIDTH, HEIGHT, FPS, on_failure=lambda name, error: told.append((name, error)))
    good, bad = Probe("good"), Probe("bad")
    fan.add(good)
    fan.add(bad)
    bad.fail = ZeroDivisionError("device gone")
    for index in range(5):
        fan.send(picture(index))
        wait_until(lambda index=index: len(good.seen) == index + 1)  # type: ignore[misc]
    wait_until(lambda: fan.alive == 1)
    fan.close()
    assert [(name, type(error)) for name, error in told] == [("bad", SinkError)]
    assert "device gone" in str(told[0][1])
    assert isinstance(told[0][1].__cause__, ZeroDivisionError)
    assert {s.name: s.error is None for s in fan.stats()} == {"good": True, "bad": False}
    assert bad.closed == 1


def test_a_sink_that_cannot_open_is_not_added() -> None:
    told: list[str] = []
    fan = FanOut(WIDTH, HEIGHT, FPS, on_failure=lambda name, error: told.append(name))
    bad = Probe("bad")
    bad.fail = UserError("no such thing")
    with pytest.raises(UserError, match="no such thing"):
        fan.add(bad)
    assert fan.names == ()
    assert told == []
    bad.fail = None
    fan.add(bad)
    with pytest.raises(UserError, match="on already"):
        fan.add(Probe("bad"))
    fan.close()


def test_sinks_come_and_go_while_pictures_flow(tmp_path: Path) -> None:
    fan = FanOut(WIDTH, HEIGHT, FPS)
    fan.add(NullSink())
    file = FileSink(tmp_path / "part.mp4")
    for index in range(30):
        if index == 5:
            fan.add(file)
        if index == 25:
            fan.remove(file.name)
            assert (tmp_path / "part.mp4").exists()
        fan.send(picture(index))
        time.sleep(0.005)
    assert fan.names == ("null",)
    fan.close()
    indices = [index_of(rgb) for _, rgb in decode(tmp_path / "part.mp4")]
    assert indices
    assert set(indices) <= set(range(5, 25))
    assert {s.name for s in fan.stats()} == {"null", file.name}
    with pytest.raises(UserError):
        fan.remove("nothing")
    with pytest.raises(SinkError, match="closed"):
        fan.add(NullSink())


def test_a_sink_that_opens_while_all_are_closed_is_closed_too() -> None:
    opening, go_on = threading.Event(), threading.Event()

    class Slow(Probe):
        def open(self, width: int, height: int, fps: float) -> None:
            opening.set()
            go_on.wait(20)

    fan, slow, told = FanOut(WIDTH, HEIGHT, FPS), Slow("slow"), []

    def add() -> None:
        try:
            fan.add(slow)
        except SinkError as error:
            told.append(str(error))

    thread = threading.Thread(target=add)
    thread.start()
    assert opening.wait(20)
    fan.close()
    go_on.set()
    thread.join(20)
    assert told
    assert "too late" in told[0]
    assert slow.closed == 1
    assert fan.names == ()


def test_closing_does_not_wait_for_a_stuck_sink() -> None:
    fan, stuck = FanOut(WIDTH, HEIGHT, FPS), Probe("stuck")
    fan.add(stuck)
    stuck.gate.clear()
    fan.send(picture(0))
    assert fan.close(timeout_s=0.1) == ("stuck",)
    stuck.gate.set()


def test_a_paced_sink_repeats_the_newest_picture() -> None:
    fan, camera = FanOut(WIDTH, HEIGHT, 100.0), Probe("camera", paced=True)
    fan.add(camera)
    fan.send(picture(1))
    wait_until(lambda: len(camera.seen) >= 4)
    fan.send(picture(2))
    wait_until(lambda: camera.seen.count(2) >= 3)
    assert fan.close() == ()
    assert camera.seen == sorted(camera.seen)
    (stats,) = fan.stats()
    assert stats.sent == 2
    assert stats.repeated == len(camera.seen) - 2
    assert stats.age_ms.count == 2


def test_only_composed_pictures_can_leave() -> None:
    fan, probe = FanOut(WIDTH, HEIGHT, FPS), Probe("probe")
    fan.add(probe)
    frame = Frame(np.zeros((HEIGHT, WIDTH, 3), np.uint8), 0, 0)
    for item in (frame, frame.rgb):
        with pytest.raises(TypeError, match="only a composed Picture"):
            fan.send(item)  # type: ignore[arg-type]
    fan.close()
    assert probe.seen == []


def test_what_is_now_is_not_hidden_by_what_was() -> None:
    now = [0]
    fan = FanOut(WIDTH, HEIGHT, FPS, clock=lambda: now[0])
    sink = NullSink()
    fan.add(sink)
    for i in range(20):
        now[0] += 1000 * MS
        late_ms = 400 if i < 16 else 40  # a slow runtime, then a fast one
        fan.send(Picture(picture(i).rgb, now[0] - late_ms * MS, i))
        wait_until(lambda wanted=i + 1: fan.stats()[0].sent == wanted)  # type: ignore[misc]
    assert fan.stats()[0].age_ms.p50 == 400
    assert fan.stats(4)[0].age_ms.p50 == 40
    fan.close()


def test_age_is_from_capture_to_sent() -> None:
    fan = FanOut(WIDTH, HEIGHT, FPS, clock=lambda: 1_025 * MS)
    fan.add(NullSink())
    fan.send(picture(0, at_ns=1_000 * MS))
    fan.close()
    (stats,) = fan.stats()
    assert stats.age_ms.p50 == pytest.approx(25.0)
