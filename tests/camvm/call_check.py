"""The whole program between a webcam and a video call. Runs inside the camera machine.

    vm_run.sh -t 170 VENV/bin/python -m tests.camvm.call_check AVATAR CLIP

ffmpeg feeds CLIP (see `driver_clip.py`) into /dev/video11, `puppet run` plays AVATAR on it into
/dev/video10, and that is read back by OpenCV and by headless Chromium. Then /dev/video12 drives,
is torn out and put back. Prints JSON; exit code 0 when every check is `ok`.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from puppet.avatar.bundle import Avatar, load_avatar
from puppet.capture.devices import list_cameras
from tests.camvm.seen import Rgb, delays_s, judge
from tests.chromium import browsing

FED, SHOWN, VIVID = "/dev/video11", "/dev/video10", "/dev/video12"
SIZE, FPS = (1280, 720), 30
LEAST_RATE = 0.5 * FPS
WINDOWS = 3
"""The rate must be reached in one of so many stretches: the machine may be busy for a while."""
Result = dict[str, Any]
Seen = tuple[NDArray[np.float64], NDArray[np.float32]]


class Puppet:
    """`puppet run` as its user starts it, with what it says."""

    def __init__(self, avatar: str, camera: str, folder: Path) -> None:
        self.report = folder / "report.json"
        self._log = folder / f"puppet-{Path(camera).name}.log"
        command = ["taskset", "-c", "0", sys.executable, "-m", "puppet.cli.main", "run"]
        command += ["--avatar", avatar, "--camera", camera, "--sink", f"virtual:{SHOWN}"]
        command += ["--size", f"{SIZE[0]}x{SIZE[1]}", "--report", str(self.report)]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "120"}
        environment["PUPPET_HOME"] = str(folder / "home")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment
            )

    @property
    def said(self) -> str:
        return self._log.read_text(errors="replace")

    def says(self, words: str) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError(f"puppet run has ended: {self.said[-6000:]}")
        return words in " ".join(self.said.split())

    def end(self) -> int:
        """Ctrl-C; its exit code."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            return self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


def until(condition: Callable[[], bool], limit_s: float = 60.0) -> float:
    began = time.perf_counter()
    while not condition():
        if time.perf_counter() - began > limit_s:
            raise TimeoutError("condition not met")
        time.sleep(0.05)
    return time.perf_counter() - began


def is_fed(path: str) -> bool:
    return any(camera.path == path for camera in list_cameras())


class Feed:
    """ffmpeg as the webcam; it also tells when it gave which picture."""

    _SHAPE = (36, 64)

    def __init__(self, clip: str) -> None:
        command = ["ffmpeg", "-v", "error", "-re", "-stream_loop", "-1", "-i", clip]
        command += ["-map", "0:v", "-pix_fmt", "yuv420p", "-f", "v4l2", FED]
        height, width = self._SHAPE
        command += [
            "-map",
            "0:v",
            "-vf",
            f"scale={width}:{height}",
            "-pix_fmt",
            "gray",
            "-flush_packets",
            "1",
        ]
        self._process = subprocess.Popen(
            [*command, "-f", "rawvideo", "pipe:1"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        )
        self._given: deque[tuple[float, bytes]] = deque(maxlen=60 * FPS)
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        pipe = self._process.stdout
        assert pipe is not None
        length = self._SHAPE[0] * self._SHAPE[1]
        while len(thumb := pipe.read(length)) == length:
            self._given.append((time.monotonic(), thumb))

    def given_since(self, began: float) -> Seen:
        """Times and thumbnails of what the webcam has shown since then."""
        given = [(at, thumb) for at, thumb in list(self._given) if at >= began]
        thumbs = [np.frombuffer(thumb, np.uint8).reshape(self._SHAPE) for _, thumb in given]
        return np.array([at for at, _ in given]), np.stack(thumbs).astype(np.float32)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._reader.join(5.0)


@contextlib.contextmanager
def playing(avatar: str, camera: str, folder: Path, results: dict[str, Result]) -> Iterator[Puppet]:
    """The program on `camera`, its virtual camera on; how it ended becomes a result."""
    began = time.perf_counter()
    puppet = Puppet(avatar, camera, folder)
    name = f"run_{Path(camera).name}"
    try:
        until(lambda: puppet.says("") and is_fed(SHOWN))
        results[name] = {"on_after_s": round(time.perf_counter() - began, 1)}
        yield puppet
    finally:
        code = puppet.end()
        results.setdefault(name, {}).update(exit_code=code, ok=code == 0)
        if code != 0:
            results[name]["said"] = puppet.said[-6000:]
    report = json.loads(puppet.report.read_text())
    results[name] |= {
        "pictures_per_second": report["fps"],
        "age_ms": report["age_ms"],
        "sink": {key: report["sinks"][0][key] for key in ("sent", "dropped", "repeated")},
        "runtime": report["runtime"],
    }


def rate(stamps: list[float]) -> float:
    return round((len(stamps) - 1) / (stamps[-1] - stamps[0]), 1)


def read(path: str, count: int, keep_every: int) -> tuple[list[float], list[Rgb]]:
    """Times of `count` pictures as OpenCV delivers them, and some of the pictures."""
    camera = cv2.VideoCapture(path, cv2.CAP_V4L2)
    try:
        if not camera.isOpened():
            raise OSError(f"OpenCV cannot open {path}")
        stamps, kept = [], []
        for i in range(count):
            got, bgr = camera.read()
            if not got:
                raise OSError(f"{path} gave no picture after {i}")
            stamps.append(time.perf_counter())
            if i % keep_every == 0:
                kept.append(np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8))
        return stamps, kept
    finally:
        camera.release()


def check_opencv(avatar: Avatar) -> Result:
    rates: list[float] = []
    while len(rates) < WINDOWS and max(rates, default=0.0) < LEAST_RATE:
        stamps, pictures = read(SHOWN, 75, 5)
        rates.append(rate(stamps[5:]))
    result = judge(pictures, avatar, SIZE) | {"fps": max(rates), "fps_windows": rates}
    result["ok"] = result["ok"] and result["fps"] >= LEAST_RATE
    return result


class _Blank(BaseHTTPRequestHandler):
    """A page on 127.0.0.1: only such secure ones may open a camera."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html>")

    def log_message(self, format: str, *args: object) -> None:
        pass


def check_chromium(avatar: Avatar) -> Result:
    wanted = {"label": "VirtualCam", "width": SIZE[0], "height": SIZE[1], "fps": FPS}
    wanted |= {"frames": 75, "kept": 6, "least": LEAST_RATE, "windows": WINDOWS}
    script = Path(__file__).with_name("call_page.js").read_text()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Blank) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        with browsing() as page:
            page.goto(f"http://127.0.0.1:{server.server_port}/")
            seen = page.evaluate(f"{script}({json.dumps(wanted)})", 60)
        server.shutdown()
    raw = [np.frombuffer(base64.b64decode(text), np.uint8) for text in seen.pop("pictures")]
    pictures = [
        np.asarray(cv2.cvtColor(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), np.uint8)
        for jpeg in raw
    ]
    rates = [round(each, 1) for each in seen.pop("rates")]
    result = seen | judge(pictures, avatar, SIZE) | {"fps": max(rates), "fps_windows": rates}
    result["ok"] = result["ok"] and result["fps"] >= LEAST_RATE and seen["size"] == list(SIZE)
    return result


def watch(path: str, seconds: float) -> Seen:
    """Times and thumbnails of what a camera gives."""
    camera = cv2.VideoCapture(path, cv2.CAP_V4L2)
    stamps, thumbs = [], []
    end = time.monotonic() + seconds
    while time.monotonic() < end and camera.grab():
        stamps.append(time.monotonic())
        _, bgr = camera.retrieve()
        grey = cv2.cvtColor(bgr[::4, ::4], cv2.COLOR_BGR2GRAY)
        thumbs.append(cv2.resize(grey, (64, 36), interpolation=cv2.INTER_AREA))
    camera.release()
    return np.array(stamps), np.stack(thumbs).astype(np.float32)


def check_latency(feed: Feed, seconds: float = 13.5) -> Result:
    """From the picture that the webcam gives to the portrait that the call gets."""
    began = time.monotonic()
    shown = watch(SHOWN, seconds)
    delays = delays_s(feed.given_since(began), shown)
    if not delays:
        return {"ok": False, "error": "no jump of the driver was seen in the portrait"}
    median = float(np.median(delays))
    return {
        "jumps": len(delays),
        "delay_ms": [round(d * 1e3) for d in delays],
        "median_ms": round(median * 1e3),
        "median_frames": round(median * FPS, 1),
        "ok": median < 1.0,
    }


def check_unplugged(puppet: Puppet) -> Result:
    """The call keeps its picture while the webcam glitches, is torn out and comes back."""
    subprocess.run(["v4l2-ctl", "-d", VIVID, "-c", "disconnect=1"], check=True)
    time.sleep(2.0)
    read(SHOWN, 15, 15)
    driver = Path("/sys/bus/platform/drivers/vivid")
    (driver / "unbind").write_text("vivid.0")
    told_in = until(lambda: puppet.says("No picture from"), 20)
    stamps, _ = read(SHOWN, 45, 45)
    (driver / "bind").write_text("vivid.0")
    back_in = until(lambda: puppet.says("is back"), 20)
    read(SHOWN, 15, 15)
    return {
        "told_in_s": round(told_in, 1),
        "fps_without_webcam": rate(stamps),
        "back_in_s": round(back_in, 1),
        "ok": "is off" not in puppet.said and rate(stamps) >= LEAST_RATE,
    }


def main(avatar_folder: str, clip: str, parts: str = "call,unplugged") -> int:
    cv2.setNumThreads(1)
    results: dict[str, Result] = {}
    avatar = load_avatar(avatar_folder)

    def check(name: str, body: Callable[[], Result]) -> None:
        began = time.perf_counter()
        try:
            results[name] = body()
        except Exception as error:  # noqa: BLE001 (the other checks go on; this one is reported)
            results[name] = {"ok": False, "error": f"{type(error).__name__}: {error}"}
        results[name]["took_s"] = round(time.perf_counter() - began, 1)
        print(name, results[name], file=sys.stderr, flush=True)

    def call(folder: Path) -> None:
        with contextlib.closing(Feed(clip)) as feed:
            until(lambda: is_fed(FED))
            with playing(avatar_folder, FED, folder, results) as puppet:
                until(lambda: puppet.says("Calibrated"))
                check("latency", lambda: check_latency(feed))
                check("opencv", lambda: check_opencv(avatar))
                check("chromium", lambda: check_chromium(avatar))

    def unplugged(folder: Path) -> None:
        with playing(avatar_folder, VIVID, folder, results) as puppet:
            check("unplugged", lambda: check_unplugged(puppet))

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary:
        for part in (call, unplugged):
            if part.__name__ in parts:
                with contextlib.suppress(TimeoutError, RuntimeError):  # then the results tell
                    part(Path(temporary))
    print(json.dumps(results, indent=1))
    return 0 if all(r["ok"] for r in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
