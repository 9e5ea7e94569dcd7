"""The webcam source against real V4L2 devices. Runs inside the camera machine; prints JSON.

    vm_run.sh -t 120 VENV/bin/python tests/camvm/webcam_check.py

/dev/video11 is a loopback camera that ffmpeg feeds, /dev/video12 makes its own picture (vivid)
and can be unplugged. Every check reports what was measured and whether it is `ok`; exit code 0
when all are.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from puppet.capture import MeasuredSource, open_source
from puppet.capture.devices import find_camera, list_cameras
from puppet.capture.webcam import WebcamFeed
from puppet.contract import Frame, SourceError, SourceSilent

FED, VIVID = "/dev/video11", "/dev/video12"
SIZE, FPS = "640x480", 30
COLOURS = ((200, 20, 20), (20, 200, 20), (20, 20, 200))
Result = dict[str, Any]


def frames(source: MeasuredSource, count: int, timeout_s: float = 5.0) -> list[Frame]:
    got: list[Frame] = []
    while len(got) < count:
        frame = source.read(timeout_s)
        assert isinstance(frame, Frame)
        got.append(frame)
    return got


def rate(got: list[Frame]) -> float:
    return round((len(got) - 1) * 1e9 / (got[-1].captured_at_ns - got[0].captured_at_ns), 1)


def until(condition: Callable[[], bool], limit_s: float = 20.0) -> float:
    began = time.perf_counter()
    while not condition():
        if time.perf_counter() - began > limit_s:
            raise TimeoutError("condition not met")
        time.sleep(0.05)
    return time.perf_counter() - began


@contextlib.contextmanager
def feeding(codec: str) -> Iterator[subprocess.Popen[bytes]]:
    """ffmpeg plays three colour fields into the loopback camera, MJPG or raw."""
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.avi"
        fields = "".join(
            f"color=0x{r:02x}{g:02x}{b:02x}:s=214x480:r={FPS}:d=1[c{i}];"
            for i, (r, g, b) in enumerate(COLOURS)
        )
        run = ["ffmpeg", "-v", "error", "-filter_complex"]
        run += [fields + "[c0][c1][c2]hstack=3,scale=640:480,format=yuvj420p"]
        subprocess.run([*run, "-c:v", "mjpeg", "-q:v", "2", str(clip)], check=True)
        play = ["ffmpeg", "-v", "error", "-re", "-stream_loop", "-1", "-i", str(clip)]
        kind = ["-c:v", "copy"] if codec == "mjpeg" else ["-pix_fmt", "yuyv422"]
        process = subprocess.Popen([*play, *kind, "-f", "v4l2", FED], stdin=subprocess.DEVNULL)
        try:
            until(lambda: any(c.path == FED for c in list_cameras()))
            yield process
        finally:
            process.kill()
            process.wait()


def colour_error(frame: Frame) -> int:
    seen = [frame.rgb[240, x].astype(int) for x in (107, 320, 533)]
    return int(max(np.abs(np.subtract(s, c)).max() for s, c in zip(seen, COLOURS, strict=True)))


def check_listing() -> Result:
    idle = {c.path: c for c in list_cameras()}
    with feeding("raw"):
        fed = {c.path: c for c in list_cameras()}
    return {
        "idle": [str(c) for c in idle.values()],
        "fed": [str(c) for c in fed.values()],
        "ok": FED not in idle
        and not idle[VIVID].is_virtual_output
        and fed[FED].is_virtual_output
        and fed[FED].name.startswith("Webcam"),
    }


def check_never_there() -> Result:
    said = {}
    for spec in ("7", "/dev/video7", "No Such Camera", FED):
        try:
            open_source(spec).close()
            said[spec] = "opened"
        except SourceError as error:
            said[spec] = str(error)
    remedies = ("there is no camera 7", "not plugged in", "no camera of that name", "nothing feeds")
    ok = all(r in s for r, s in zip(remedies, said.values(), strict=True))
    return {"said": said, "ok": ok}


def check_fed(codec: str) -> Result:
    with feeding(codec), contextlib.closing(open_source("Webcam")) as source:
        frames(source, 10)
        got = frames(source, 60)
        return {
            "size": source.size,
            "fps": rate(got),
            "fps_nominal": source.fps_nominal,
            "dropped": source.dropped,
            "colour_error": colour_error(got[-1]),
            "ok": list(source.size) == [640, 480]
            and 0.7 * FPS <= rate(got) <= 1.1 * FPS
            and colour_error(got[-1]) <= 12,
        }


def check_stalled() -> Result:
    """A camera that hangs: the time limit is kept, `close` returns, and it goes on later."""
    with feeding("raw") as feeder, contextlib.closing(open_source(FED)) as source:
        frames(source, 10)
        feeder.send_signal(signal.SIGSTOP)
        began = time.perf_counter()
        said = ""
        try:
            while True:
                source.read(1.0)
                began = time.perf_counter()
        except SourceSilent as silent:
            said = str(silent)
        waited = time.perf_counter() - began
        feeder.send_signal(signal.SIGCONT)
        frames(source, 10)
        feeder.send_signal(signal.SIGSTOP)
        time.sleep(0.2)
        closing = time.perf_counter()
        source.close()
        closed_in = time.perf_counter() - closing
        feeder.send_signal(signal.SIGCONT)
    ok = 0.9 < waited < 2.0 and closed_in < 2.0
    return {"said": said, "waited_s": waited, "closed_in_s": closed_in, "ok": ok}


def check_glitch() -> Result:
    """All handles of the camera go dead, as when a cable wobbles; the camera is still there."""
    with contextlib.closing(open_source("vivid")) as source:
        before = frames(source, 60)
        subprocess.run(["v4l2-ctl", "-d", VIVID, "-c", "disconnect=1"], check=True)
        until(lambda: source.read(5.0) is not None and getattr(source, "reconnects", 0) == 1)
        after = frames(source, 30)
        return {
            "fps_before": rate(before),
            "fps_after": rate(after),
            "shape": after[0].rgb.shape,
            "ok": after[0].index > before[-1].index and after[0].rgb.shape == (480, 640, 3),
        }


def check_unplugged() -> Result:
    """The camera's device file goes away and comes back."""
    driver = Path("/sys/bus/platform/drivers/vivid")
    with contextlib.closing(open_source("vivid")) as source:
        before = frames(source, 30)
        (driver / "unbind").write_text("vivid.0")
        said = ""
        for _ in range(3):
            said = silence(source)
        gone = not Path(VIVID).exists()
        (driver / "bind").write_text("vivid.0")
        back_in = until(lambda: returns(source))
        after = frames(source, 30)
        return {
            "said": said,
            "back_in_s": round(back_in, 2),
            "reconnects": getattr(source, "reconnects", None),
            "fps_after": rate(after),
            "ok": gone and "not plugged in" in said and after[0].index > before[-1].index,
        }


def silence(source: MeasuredSource) -> str:
    while True:
        try:
            source.read(1.0)
        except SourceSilent as silent:
            return str(silent)


def returns(source: MeasuredSource) -> bool:
    try:
        return source.read(1.0) is not None
    except SourceSilent:
        return False


def check_slow_reader() -> Result:
    """A reader slower than the camera gets fresh pictures, not the oldest of the buffers."""
    feed = WebcamFeed(find_camera(VIVID), None, None, time.perf_counter_ns)
    delays, skipped = [], 0
    for i in range(40):
        grabbed = feed.grab()
        stamp_ms = feed._device.get(cv2.CAP_PROP_POS_MSEC)  # what the driver says
        delays.append(grabbed.captured_at_ns / 1e6 - stamp_ms)
        skipped += grabbed.skipped
        if i >= 10:
            time.sleep(0.1)
    feed.close()
    late = max(delays[11:]) - min(delays)
    return {"skipped": skipped, "late_ms": round(late, 1), "ok": skipped > 10 and late < 60}


def main() -> int:
    checks: dict[str, Callable[[], Result]] = {
        "listing": check_listing,
        "never_there": check_never_there,
        "fed_raw": lambda: check_fed("raw"),
        "fed_mjpeg": lambda: check_fed("mjpeg"),
        "stalled": check_stalled,
        "slow_reader": check_slow_reader,
        "glitch": check_glitch,
        "unplugged": check_unplugged,
    }
    wanted = sys.argv[1:] or list(checks)
    results: dict[str, Result] = {}
    for name in wanted:
        try:
            results[name] = checks[name]()
        except Exception as error:  # noqa: BLE001 (the other checks go on; this one is reported)
            results[name] = {"ok": False, "error": f"{type(error).__name__}: {error}"}
        print(name, results[name], file=sys.stderr, flush=True)
    print(json.dumps(results, indent=1))
    return 0 if all(r["ok"] for r in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
