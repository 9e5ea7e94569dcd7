"""Video files, and anything else with a duration, through PyAV (FFmpeg's libraries)."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from puppet.capture.clip_sound import decode_sound
from puppet.capture.played import Cue, Recording
from puppet.contract import Frame, Rgb, SourceError

if TYPE_CHECKING:
    from av import VideoFrame, VideoStream
    from av.container import InputContainer

_FALLBACK_FPS = 25.0
_MAX_PIXELS = 8192 * 8192
_BROKEN_PACKETS_IN_A_ROW = 300
"""So much undecodable data in a row (10 s at 30 fps) is the end of a broken file."""
_ONE_THREAD_PIXELS = 1920 * 1080
"""Up to this size one thread decodes in time, and the other cores are needed elsewhere."""


@dataclass(frozen=True, slots=True)
class Address:
    """What to open, and how."""

    url: str
    name: str
    options: tuple[tuple[str, str], ...] = ()
    """FFmpeg's options for the format and protocol."""
    timeout_s: tuple[float, float] | None = None
    """Limits of (opening, one read): streams can stall, files do not."""


def video_recording(path: Path) -> Recording[Frame]:
    """A video file as a recording. Raises SourceError, with the remedy, when it cannot be read.

    Times are the pictures' own presentation times (variable rates are kept); rotation that the
    file asks for is applied; any pixel format, and odd sizes, become RGB.
    """
    if not path.is_file():
        raise SourceError(f"there is no video file {path}: check the path")
    if path.stat().st_size == 0:
        raise SourceError(f"the video file {path} is empty: record or download it again")
    # The prefix: "a:b.mp4" is a file. The list: a playlist must not fetch from elsewhere.
    return container_recording(
        Address(f"file:{path}", path.name, (("protocol_whitelist", "file"),))
    )


def container_recording(address: Address) -> Recording[Frame]:
    """Like `video_recording` for anything with a duration that FFmpeg can open."""
    with open_container(address) as (container, stream):
        first = next(decode(container, stream, address.name), None)
        if first is None:
            raise SourceError(
                f"{address.name} has no picture that can be decoded: it is damaged or was cut "
                "off; record or download it again, or repair it with ffmpeg"
            )
        size = first.width, first.height
        if first.rotation % 180:
            size = size[::-1]
        fps, length = nominal_fps(stream), stream.frames or None
    sound = partial(decode_sound, address)
    return Recording(address.name, partial(_cues, address, fps), size, fps, length, sound)


@contextlib.contextmanager
def open_container(address: Address) -> Iterator[tuple[InputContainer, VideoStream]]:
    """The container and its first real video stream. Raises SourceError."""
    import av

    try:
        container = av.open(address.url, options=dict(address.options), timeout=address.timeout_s)
    except (av.error.FFmpegError, OSError) as error:
        raise SourceError(_why_not(address.name, error)) from error
    with container:
        yield container, _video_stream(container, address.name)


def _video_stream(container: InputContainer, name: str) -> VideoStream:
    stream = next((s for s in container.streams.video if not _is_cover(s)), None)
    if stream is None:
        raise SourceError(f"{name} has no video in it: choose a file or stream with pictures")
    pixels = stream.codec_context.width * stream.codec_context.height
    if pixels > _MAX_PIXELS:
        raise SourceError(f"{name}: pictures of {pixels / 1e6:.0f} megapixels are too large")
    stream.thread_type = "AUTO" if pixels > _ONE_THREAD_PIXELS else "NONE"
    return stream


def decode(container: InputContainer, stream: VideoStream, name: str) -> Iterator[VideoFrame]:
    """All pictures that can be decoded; damaged packets are passed over."""
    import av

    broken = 0
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                return
            yield from packet.decode()
            broken = 0
        except av.error.EOFError:
            return
        except av.error.InvalidDataError:
            broken += 1
            if broken >= _BROKEN_PACKETS_IN_A_ROW:
                return
        except av.error.FFmpegError as error:
            raise SourceError(_why_not(name, error)) from error


def to_rgb(frame: VideoFrame) -> Rgb:
    """(H, W, 3) uint8, C-contiguous, upright; the caller owns it."""
    rgb: Rgb = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
    turns = round(frame.rotation / 90) % 4  # counterclockwise, as np.rot90 counts
    return np.ascontiguousarray(np.rot90(rgb, turns)) if turns else rgb


def _cues(address: Address, fps: float) -> Generator[Cue[Frame], None, None]:
    with open_container(address) as (container, stream):
        first: Fraction | None = None  # files may start anywhere, e.g. cut-out ones
        at_ns = -1
        for frame in decode(container, stream, address.name):
            time = (
                frame.pts * frame.time_base if frame.pts is not None and frame.time_base else None
            )
            if first is None:
                first = time or Fraction(0)
            own_ns = None if time is None else round((time - first) * 1_000_000_000)
            if at_ns < 0:
                at_ns = 0
            elif own_ns is not None and own_ns > at_ns:
                at_ns = own_ns
            else:  # no time, or one that does not grow: the nominal interval has to do
                at_ns += round(1e9 / fps)
            yield Cue(at_ns, partial(_load, frame))


def _load(frame: VideoFrame, captured_at_ns: int, index: int) -> Frame:
    return Frame(to_rgb(frame), captured_at_ns, index)


def nominal_fps(stream: VideoStream) -> float:
    rate = stream.average_rate or stream.guessed_rate
    return float(rate) if rate and 0.01 <= rate <= 1000 else _FALLBACK_FPS


def _is_cover(stream: VideoStream) -> bool:
    """A music file's cover picture is a video stream to FFmpeg."""
    import av

    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def _why_not(name: str, error: Exception) -> str:
    import av

    if isinstance(error, av.error.InvalidDataError):
        remedy = (
            "it is damaged, cut off before it was finished, or not a video; "
            "record or download it again"
        )
    elif isinstance(error, PermissionError):
        remedy = "you may not read it; change its permissions"
    elif isinstance(error, av.error.HTTPClientError | av.error.HTTPServerError):
        remedy = "the server refuses it; check the address and open it in a browser"
    elif isinstance(error, av.error.ExitError | TimeoutError):
        remedy = "no answer in time; check the address and the network"
    elif isinstance(error, ConnectionError | OSError):
        remedy = "check the address, and that the sender is running"
    else:
        remedy = "check the path or address"
    said = getattr(error, "strerror", None) or str(error)  # without number and path
    return f"cannot read {name} ({said}): {remedy}"
