"""Streams by address: http, rtsp and their kin, through PyAV."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace
from functools import partial
from urllib.parse import urlsplit

from puppet.capture.live import Feed, Grabbed, LiveSource
from puppet.capture.played import PlayedSource
from puppet.capture.video import (
    Address,
    container_recording,
    decode,
    nominal_fps,
    open_container,
    to_rgb,
)
from puppet.contract import Frame, SourceError
from puppet.flow import Clock

SCHEMES = frozenset(("http", "https", "rtsp", "rtsps", "rtmp", "udp", "tcp", "rtp", "srt"))
TIMEOUT_S = (10.0, 5.0)  # (opening, one read)
_LOW_LATENCY = (
    ("fflags", "nobuffer"),  # what was read to find out the format is old already: not played
    ("analyzeduration", "1000000"),  # microseconds
)


def open_stream(
    url: str, *, loop: bool = False, realtime: bool = True, clock: Clock = time.perf_counter_ns
) -> PlayedSource[Frame] | LiveSource:
    """A stream without an end is live (newest wins, reconnects); a film on a server is played.

    Raises SourceError when nothing answers within ten seconds.
    """
    address = stream_address(url)
    feed = StreamFeed(address, clock)
    if feed.has_duration:
        feed.close()
        return PlayedSource(container_recording(address), loop=loop, realtime=realtime, clock=clock)
    return LiveSource(address.name, feed, partial(StreamFeed, address, clock), clock=clock)


def stream_address(url: str) -> Address:
    """What to open for a URL; the name leaves out passwords and tokens in it."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    if scheme not in SCHEMES:
        raise SourceError(
            f"cannot read {scheme}:// addresses: use one of {', '.join(sorted(SCHEMES))}"
        )
    # Over UDP, lost packets are torn pictures.
    options = (("rtsp_transport", "tcp"),) if scheme.startswith("rtsp") else ()
    host = parts.netloc.rpartition("@")[2]
    return Address(url, f"{scheme}://{host}{parts.path}", options, TIMEOUT_S)


class StreamFeed(Feed):
    """One connection to a stream. Raises SourceError when it cannot be made."""

    def __init__(self, address: Address, clock: Clock) -> None:
        self._name = address.name
        self._clock = clock
        self._resources = contextlib.ExitStack()
        container, stream = self._resources.enter_context(
            open_container(replace(address, options=address.options + _LOW_LATENCY))
        )
        self.has_duration = bool(container.duration and container.duration > 0)
        self.fps_nominal = nominal_fps(stream)
        self.size = stream.codec_context.width, stream.codec_context.height
        stream.codec_context.flags |= 1 << 19  # AV_CODEC_FLAG_LOW_DELAY
        self._frames = decode(container, stream, address.name)

    def grab(self) -> Grabbed:
        frame = next(self._frames, None)
        if frame is None:
            raise SourceError(f"{self._name} has ended; waiting for the sender to come back")
        captured_at_ns = self._clock()
        return Grabbed(captured_at_ns, to_rgb(frame))

    def close(self) -> None:
        self._resources.close()
