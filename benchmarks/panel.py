"""What the panel costs the live loop, and how fast an avatar switch is.

The same run with and without a page that looks, in turns, so that whatever else the machine does
falls on both alike. The loop is kept saturated (a camera faster than it), so that its rate shows
the whole cost. The viewer is another process: it takes pictures and state as the page does.

python -m benchmarks.panel --pairs 8 --seconds 6 --json panel.json
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import statistics
import threading
import time
from itertools import pairwise
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from benchmarks.command import give
from benchmarks.environment import environment
from benchmarks.loop import retimed
from puppet.avatar.store import list_avatars
from puppet.capture.demo import demo_clip
from puppet.capture.played import PlayedSource
from puppet.capture.video import video_recording
from puppet.cli.options import parse_size
from puppet.compose.settings import ComposeSettings
from puppet.contract import Picture
from puppet.pipeline.demo import demo_avatar
from puppet.pipeline.events import Event as Happened
from puppet.pipeline.opening import Openers
from puppet.pipeline.settings import LiveSettings, Look
from puppet.studio.control import Studio
from puppet.studio.server import StudioServer

SETTLE_S = 0.5
FADE_MS = 400.0


def look_on(port: int, token: str, looking: Event, over: Event) -> None:
    """A viewer: while `looking` it takes pictures at the page's rate, and the state."""
    from websockets.sync.client import connect

    headers = {"Authorization": f"Bearer {token}"}
    address = f"ws://127.0.0.1:{port}/api"
    while not over.is_set():
        if not looking.wait(0.2):
            continue
        with (
            connect(
                f"{address}/pictures", additional_headers=headers, compression=None
            ) as pictures,
            connect(f"{address}/events", additional_headers=headers, compression=None) as events,
        ):
            pictures.send(json.dumps({"fps": 12, "want": ["portrait", "driver"]}))
            while looking.is_set() and not over.is_set():
                for socket, wait_s in ((pictures, 0.2), (events, 0.001)):
                    try:
                        socket.recv(timeout=wait_s)
                    except TimeoutError:
                        continue
                    if socket is pictures:
                        pictures.send("{}")


def panel_cpu_s() -> float:
    """Processor seconds of the threads that are only there for the panel (0 where threads have
    no clock of their own). Other load on the machine does not change it."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return 0.0
    names = ("puppet-studio", "puppet-sink-panel", "asyncio_", "AnyIO")
    own = [t.ident for t in threading.enumerate() if t.name.startswith(names)]
    clocks = [time.pthread_getcpuclockid(ident) for ident in own if ident is not None]
    return sum(time.clock_gettime(clock) for clock in clocks)


def measure_phase(studio: Studio, seconds: float) -> dict[str, float]:
    """Rate of the loop and its processor time per picture, over a while."""
    time.sleep(SETTLE_S)
    frames, cpu, began = studio.status().frames_out, time.process_time(), time.perf_counter()
    panel = panel_cpu_s()
    time.sleep(seconds)
    made = studio.status().frames_out - frames
    took = time.perf_counter() - began
    return {
        "fps": made / took,
        "cpu_ms_per_picture": 1e3 * (time.process_time() - cpu) / max(1, made),
        "panel_cpu_percent_of_a_core": 100 * (panel_cpu_s() - panel) / took,
        "age_p50_ms": studio.figures().age_ms.p50,
    }


class Gaps:
    """An output that takes everything at once and notes when it came."""

    name = "gaps"
    wants_cutout = False

    def __init__(self) -> None:
        self.came: list[float] = []

    def open(self, width: int, height: int, fps: float) -> None:
        self.came.clear()

    def send(self, picture: Picture) -> None:
        self.came.append(1e3 * time.perf_counter())

    def close(self) -> None:
        """Nothing to close."""

    def between(self, since: float, until: float) -> list[float]:
        """Milliseconds between one picture and the next."""
        times = [t for t in self.came if since <= t <= until]
        return [b - a for a, b in pairwise(times)]


def switching(studio: Studio, gaps: Gaps, ids: list[str], rounds: int) -> dict[str, Any]:
    """Milliseconds from the command until the first picture of the new avatar, both loaded, and
    what an output notices of it: pictures it could not take, and the longest wait for one,
    beside the longest waits in pauses of the same length."""
    dropped = {s.name: s.dropped for s in studio.run.fan_out.stats()}
    times, then, before = [], [], []
    for number in range(rounds):
        arrived = threading.Event()

        def hear(event: Happened, arrived: threading.Event = arrived) -> None:
            if event.kind == "avatar":
                arrived.set()

        studio.run.events.listen(hear)
        now = 1e3 * time.perf_counter()
        before.append(max(gaps.between(now - FADE_MS, now), default=math.nan))
        began = time.perf_counter()
        studio.switch_avatar(ids[(number + 1) % 2])
        if not arrived.wait(10):
            raise TimeoutError("the avatar did not change")
        times.append(round(1e3 * (time.perf_counter() - began), 1))
        time.sleep(2 * FADE_MS / 1e3)
        then.append(max(gaps.between(now, now + FADE_MS), default=math.nan))
    return {
        "switch_ms": times,
        "longest_wait_ms": [round(wait, 1) for wait in then],
        "longest_wait_before_ms": [round(wait, 1) for wait in before],
        "dropped_by_outputs": {
            s.name: s.dropped - dropped[s.name] for s in studio.run.fan_out.stats()
        },
    }


def measure(avatars: tuple[str, ...], pairs: int, seconds: float, look: Look) -> dict[str, Any]:
    around = environment()
    recording = retimed(video_recording(demo_clip()), 120.0)
    gaps = Gaps()
    studio = Studio(
        LiveSettings(avatars, camera="demo", sinks=("null",), look=look, use_profile=False),
        openers=Openers(source=lambda: PlayedSource(recording, loop=True), sinks=(gaps,)),
    )
    server = StudioServer(studio, port=0).start()
    context = multiprocessing.get_context("spawn")
    looking, over = context.Event(), context.Event()
    viewer = context.Process(target=look_on, args=(server.port, server.token, looking, over))
    viewer.start()
    studio.run.start()
    try:
        time.sleep(4)
        alone: list[dict[str, float]] = []
        watched: list[dict[str, float]] = []
        for number in range(pairs):
            for on in (False, True) if number % 2 else (True, False):
                (looking.set if on else looking.clear)()
                (watched if on else alone).append(measure_phase(studio, seconds))
        looking.clear()
        ids = [studio.gallery.id_of(name) for name in avatars[:2]]
        switches = switching(studio, gaps, ids, 8) if len(ids) == 2 else {}
    finally:
        over.set()
        looking.set()
        viewer.join(10)
        studio.run.close()
        server.close()
    return {"benchmark": "panel", **summary(alone, watched, switches), "environment": around}


def summary(
    alone: list[dict[str, float]], watched: list[dict[str, float]], switches: dict[str, Any]
) -> dict[str, Any]:
    """Medians, and the cost from them: in rate, which other load on the machine disturbs, and
    in processor time of the whole process per picture, which it disturbs less."""
    slower = [1 - w["fps"] / a["fps"] for a, w in zip(alone, watched, strict=True)]
    off = {key: statistics.median(p[key] for p in alone) for key in alone[0]}
    on = {key: statistics.median(p[key] for p in watched) for key in watched[0]}
    return {
        "pairs": len(alone),
        "alone": {key: round(value, 2) for key, value in off.items()},
        "watched": {key: round(value, 2) for key, value in on.items()},
        "slower_percent": round(100 * (1 - on["fps"] / off["fps"]), 2),
        "slower_percent_each_pair": [round(100 * s, 1) for s in slower],
        "more_cpu_percent": round(
            100 * (on["cpu_ms_per_picture"] / off["cpu_ms_per_picture"] - 1), 2
        ),
        **switches,
    }


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--avatar", action="append", default=None, help="default: yours, or demo")
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--size", default="512x512")
    parser.add_argument("--json", type=Path, default=None)
    wanted = parser.parse_args(arguments)
    avatars = tuple(wanted.avatar or [str(demo_avatar()), *list_avatars()[:1]])
    look = Look(compose=ComposeSettings(size=parse_size(wanted.size)))
    result = measure(avatars, wanted.pairs, wanted.seconds, look)
    give(result, wanted.json)


if __name__ == "__main__":
    main()
