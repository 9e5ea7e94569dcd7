"""Where the driver comes from: cameras, files, streams, pictures, landmark traces."""

from __future__ import annotations

import glob
import re
import time
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from puppet.contract import Source, SourceError
from puppet.flow import Clock
from puppet.system import expanded

__all__ = ["MeasuredSource", "is_address", "open_source", "path_of"]


class MeasuredSource(Source, Protocol):
    """A `Source` that also says how it is doing. All of this may change while it runs."""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of its pictures, upright, in pixels."""
        ...

    @property
    def fps_nominal(self) -> float | None:
        """What the device or file claims."""
        ...

    @property
    def fps_measured(self) -> float | None:
        """What it really delivers; None before two pictures came."""
        ...

    @property
    def dropped(self) -> int:
        """Pictures passed over because a newer one was there."""
        ...

    @property
    def length(self) -> int | None:
        """How many pictures it will deliver, where that is known (None: endless or unknown)."""
        ...


def open_source(
    spec: str,
    *,
    fps: float | None = None,
    size: tuple[int, int] | None = None,
    loop: bool = False,
    realtime: bool = True,
    clock: Clock = time.perf_counter_ns,
) -> MeasuredSource:
    """Opens what `spec` names:

    "demo"; a camera by number ("0"), device file ("/dev/video2") or name; a video file; an
    address ("rtsp://...", "http://..."); a folder, pattern or single file of pictures; a landmark
    trace ("*.npz") or "openseeface[:[ADDRESS:]PORT]", which deliver observations, not frames.

    A recording plays at its own pace with `realtime` (newest wins; the rest is counted in
    `dropped`), else every item comes, with times of its own; `loop` starts it again at its end.
    `fps` is a wish to a camera and the rate of pictures in a folder; `size` is a wish to a camera;
    both are without effect on videos, traces and streams, which have their own.

    Raises SourceError, which says what to do, when it cannot be opened.
    """
    if fps is not None and not 0 < fps <= 1000:
        raise SourceError(f"{fps:g} pictures per second make no sense: choose 1 to 1000")
    if re.match(r"openseeface(:|$)", spec, re.IGNORECASE):
        return _openseeface(spec, clock)
    if is_address(spec):
        from puppet.capture.stream import open_stream

        return open_stream(spec, loop=loop, realtime=realtime, clock=clock)
    spec = _without_scheme(spec)
    if re.fullmatch(r"\d+|/dev/video.*", spec):
        return _webcam(spec, fps, size, clock)
    from puppet.capture.played import PlayedSource

    path = path_of(spec)
    if path.suffix.lower() == ".npz":
        from puppet.capture.trace import TraceSource

        return TraceSource(path, loop=loop, realtime=realtime, clock=clock)
    recording = None
    if spec == "demo":
        from puppet.capture.demo import demo_recording

        recording = demo_recording()
    elif _is_pictures(path):
        from puppet.capture.images import image_recording

        recording = image_recording(str(path), fps)
    elif path.exists() or _looks_like_path(spec):
        from puppet.capture.video import video_recording

        recording = video_recording(path)
    if recording is None:
        return _webcam(spec, fps, size, clock)
    return PlayedSource(recording, loop=loop, realtime=realtime, clock=clock)


def is_address(spec: str) -> bool:
    """Whether `spec` names something to be fetched, rather than a device or a file here."""
    return "://" in spec and urlsplit(spec).scheme.lower() != "file"


def path_of(spec: str) -> Path:
    """The file that `spec` names, should it name one; `file://` and `~` are understood."""
    return expanded(_without_scheme(spec))


def _without_scheme(spec: str) -> str:
    return unquote(urlsplit(spec).path) if spec.lower().startswith("file://") else spec


def _webcam(
    spec: str, fps: float | None, size: tuple[int, int] | None, clock: Clock
) -> MeasuredSource:
    from puppet.capture.devices import find_camera
    from puppet.capture.webcam import open_webcam

    return open_webcam(find_camera(spec), fps=fps, size=size, clock=clock)


def _openseeface(spec: str, clock: Clock) -> MeasuredSource:
    from puppet.capture.openseeface import DEFAULT_PORT, OpenSeeFaceSource

    found = re.fullmatch(r"openseeface(?::(?:([\d.]{7,15}):)?(\d{1,5}))?", spec, re.IGNORECASE)
    if found is None or int(found[2] or 0) > 65_535:
        raise SourceError(
            f"write openseeface, openseeface:PORT or openseeface:ADDRESS:PORT: {spec}"
        )
    port = int(found[2]) if found[2] else DEFAULT_PORT
    return OpenSeeFaceSource(port, found[1] or "127.0.0.1", clock=clock)


def _is_pictures(path: Path) -> bool:
    from puppet.capture.images import IMAGE_SUFFIXES

    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
        return True
    return not path.exists() and glob.has_magic(str(path)) and bool(glob.glob(str(path)))


def _looks_like_path(spec: str) -> bool:
    """Camera names hold spaces and brackets, seldom slashes, and do not end like files."""
    return "/" in spec or "\\" in spec or re.search(r"\.\w{2,5}$", spec) is not None
