"""The sound of a video: a clip's, or what is heard while the pictures come.

Times are seconds from the video's first picture. All of it is used by the writer's thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

RATE = 48_000

Heard: TypeAlias = tuple[float, NDArray[np.float32]]
"""(time of the first sample in s, (N,) float32 in [-1, 1] at RATE); negative: before the video."""
Listen: TypeAlias = Callable[[], Sequence[Heard]]
"""What was heard since the last call, in order and without a gap unless time says so."""

_ANCHOR_S = 0.3
"""Sound is held back for so long at the beginning, until its time is known: a device's own time
stamps scatter by tens of milliseconds, their middle does not."""
_WINDOW = 50
"""Pieces whose time stamps are looked at together."""
_SLACK_S = 0.025
"""Sound that is further off than this is moved; less would be heard as a click for nothing."""
_GAP_S = 0.02


class SoundTrack:
    """The sound's stream in the file: takes samples at their place, encodes whole frames."""

    def __init__(self, container: Any, webm: bool, layout: str) -> None:
        self._container = container
        self._stream: Any = container.add_stream(
            "libopus" if webm else "aac", rate=RATE, layout=layout
        )
        self._stream.bit_rate = 96_000 if layout == "mono" else 160_000
        self._layout = layout
        self.written = 0
        """Samples so far; also the clock of the sound."""
        self._fifo = _new_fifo()

    @property
    def format(self) -> str:
        """The sample format that `place` takes."""
        return str(self._stream.codec_context.format.name)

    def place(self, samples: NDArray[Any], channels: int, start: int, end_s: float) -> None:
        """Appends samples, an array as PyAV has it, at sample `start`: a gap becomes silence
        (not beyond a second after `end_s`), what is too early is cut."""
        import av

        per_sample = channels if samples.shape[0] < channels else 1
        gap = start - self.written
        if gap < 0:
            samples = samples[:, min(-gap * per_sample, samples.shape[1]) :]
        elif gap > _GAP_S * RATE:  # smaller gaps are rounding
            gap = min(gap, max(0, round(end_s * RATE) + RATE))
            silence = np.zeros((samples.shape[0], gap * per_sample), samples.dtype)
            samples = np.concatenate([silence, samples], axis=1)
        if samples.shape[1] == 0:
            return
        piece = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), self.format, self._layout)
        piece.sample_rate = RATE
        piece.time_base = Fraction(1, RATE)
        piece.pts = self.written
        self.written += piece.samples
        self._fifo.write(piece)
        self._drain()

    def finish(self) -> None:
        self._drain(rest=True)
        self._container.mux(self._stream.encode(None))

    def _drain(self, rest: bool = False) -> None:
        size = self._stream.codec_context.frame_size or 960
        while (piece := self._fifo.read(size, partial=rest)) is not None:
            self._container.mux(self._stream.encode(piece))


class ClipSound:
    """A clip's sound, decoded and encoded piece by piece alongside the pictures."""

    def __init__(self, clip: Any, source: Any, container: Any, webm: bool) -> None:
        import av

        layout = "mono" if source.codec_context.channels == 1 else "stereo"
        self._clip = clip
        self._track = SoundTrack(container, webm, layout)
        self._resampler: Any = av.AudioResampler(self._track.format, layout, RATE)
        self._origin_s = _start_of_pictures(clip)
        self._frames: Iterator[Any] = self._decode(source)
        self._over = False

    def _decode(self, source: Any) -> Iterator[Any]:
        for frame in self._clip.decode(source):
            yield from self._resampler.resample(frame)
        yield from self._resampler.resample(None)

    def write_until(self, end_s: float) -> None:
        """Encodes all sound that belongs before `end_s` seconds of the new video."""
        track = self._track
        while not self._over and track.written < end_s * RATE:
            frame = next(self._frames, None)
            if frame is None:
                self._over = True
                return
            start = track.written
            if frame.pts is not None:
                start = round((float(frame.pts * frame.time_base) - self._origin_s) * RATE)
            track.place(frame.to_ndarray(), len(frame.layout.channels), start, end_s)

    def finish(self, end_s: float) -> None:
        """Writes what is left up to `end_s`; the sound is not longer than the pictures."""
        self.write_until(end_s)
        self._track.finish()
        self._clip.close()


class HeardSound:
    """Sound that arrives live, one channel, at the time it was heard.

    The device counts samples by its own clock and says roughly when each piece was heard. The
    middle of what it says places the sound; it is moved only when it has gone astray: pieces
    were lost, or the two clocks have drifted apart.
    """

    def __init__(self, listen: Listen, container: Any, webm: bool) -> None:
        self._listen = listen
        self._track = SoundTrack(container, webm, "mono")
        self._packed_int = self._track.format.startswith("s16")
        self._offsets: deque[float] = deque(maxlen=_WINDOW)
        self._waiting: deque[NDArray[np.float32]] = deque()
        self._heard = 0
        self._placed = 0
        self._anchor: float | None = None

    def write_until(self, end_s: float) -> None:
        """Encodes what has been heard by now, up to `end_s`: should no picture follow, the sound
        ends with the last one."""
        self._take()
        if self._heard >= _ANCHOR_S * RATE:
            self._place(end_s)

    def _take(self) -> None:
        for at_s, samples in self._listen():
            self._offsets.append(at_s * RATE - self._heard)
            self._heard += len(samples)
            self._waiting.append(samples)

    def _place(self, end_s: float, last: bool = False) -> None:
        """Writes whole pieces that end by `end_s`; `last`: and the beginning of the next."""
        if not self._offsets:
            return
        end = round(end_s * RATE)
        middle = float(np.median(self._offsets))
        if self._anchor is None:
            self._anchor = middle
        elif abs(middle - self._anchor) > _SLACK_S * RATE:  # most of the window says so
            self._anchor = float(np.median(list(self._offsets)[-_WINDOW // 3 :]))
        while self._waiting:
            start = round(self._anchor) + self._placed
            if start >= end or (start + len(self._waiting[0]) > end and not last):
                return
            samples = self._waiting.popleft()
            self._placed += len(samples)
            self._track.place(self._packed(samples[: end - start]), 1, start, end_s)

    def _packed(self, samples: NDArray[np.float32]) -> NDArray[Any]:
        """(1, N), as the encoder takes it."""
        if self._packed_int:
            return np.asarray(np.clip(samples, -1, 1) * 32767, np.int16)[None]
        return samples[None]

    def finish(self, end_s: float) -> None:
        """Writes what was heard before `end_s`, however little it is."""
        self._take()
        self._place(end_s, last=True)
        self._track.finish()


def open_clip_sound(path: Path, container: Any, webm: bool) -> ClipSound | None:
    """None for a clip without sound."""
    import av

    clip = av.open(str(path))
    if not clip.streams.audio:
        clip.close()
        return None
    return ClipSound(clip, clip.streams.audio[0], container, webm)


def _start_of_pictures(clip: Any) -> float:
    """Seconds of the clip's clock at which its first picture is shown."""
    video = clip.streams.video
    if not video or video[0].start_time is None:
        return 0.0
    return float(video[0].start_time * video[0].time_base)


def _new_fifo() -> Any:
    import av

    return av.AudioFifo()
