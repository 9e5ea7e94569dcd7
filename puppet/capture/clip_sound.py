"""The sound of the clip that drives the portrait, heard while the clip plays. For recordings."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from puppet.capture.played import Playback, SoundAt
from puppet.contract import SoundPiece, SourceError

if TYPE_CHECKING:
    from puppet.capture.video import Address

DRIVER = "driver"
"""What `--microphone` calls it."""
RATE = 48_000


def decode_sound(address: Address) -> Generator[SoundAt, None, None]:
    """The sound in order, mixed to one channel at RATE: (time in ns from the first picture,
    (N,) float32 in [-1, 1]). Ends at once without a sound track. Raises SourceError."""
    import av

    try:
        with av.open(address.url, options=dict(address.options), timeout=address.timeout_s) as clip:
            if not clip.streams.audio or not clip.streams.video:
                return
            pictures = clip.streams.video[0]
            origin = (pictures.start_time or 0) * (pictures.time_base or 0)
            resampler = av.AudioResampler("flt", "mono", RATE)
            at_ns = 0
            for frame in clip.decode(clip.streams.audio[0]):
                if frame.pts is not None and frame.time_base is not None:
                    at_ns = round((frame.pts * frame.time_base - origin) * 1_000_000_000)
                for piece in resampler.resample(frame):
                    samples = np.asarray(piece.to_ndarray(), np.float32).reshape(-1)
                    yield at_ns, samples
                    at_ns += round(len(samples) * 1e9 / RATE)
    except (av.error.FFmpegError, OSError) as error:
        raise SourceError(f"the sound of {address.name} cannot be decoded: {error}") from error


class DriverSound:
    """A clip's sound as a `SoundSource`: each piece was heard when its picture was delivered."""

    name = DRIVER

    def __init__(self, playing: Callable[[], Playback | None]) -> None:
        """`playing`: the clip that drives now; asked when a recording begins."""
        self._playing = playing
        self._playback: Playback | None = None
        self._pieces: Generator[SoundAt, None, None] | None = None
        self._next: SoundAt | None = None
        self._round = 0
        self._heard_ns: int | None = None

    def open(self) -> None:
        """Raises SourceError where nothing with sound is played."""
        playback = self._playing()
        if playback is None or playback.sound is None:
            raise SourceError(
                "the driver has no sound that could be recorded: it is no video file or stream "
                "with a length; name a microphone instead ('puppet devices' lists them)"
            )
        self._playback, self._round = playback, len(playback.rounds) - 1
        self._heard_ns = None
        self._begin_round()
        if self._next is None:
            self.close()
            raise SourceError("the driving clip has no sound track: record without it")
        now = playback.latest
        while now is not None and self._next is not None and self._next_ns < now[0]:
            self._advance()  # what was heard before the recording began

    def take(self) -> list[SoundPiece]:
        """What belongs to the pictures delivered since the last call; the caller owns it."""
        now = None if self._playback is None else self._playback.latest
        if now is None:
            return []
        played_ns, captured_at_ns = now
        if self._heard_ns is None:
            self._heard_ns = played_ns
        heard: list[SoundAt] = []
        while (piece := self._due(played_ns)) is not None:
            heard += self._joined(*piece)
        # Between two rounds, or where the track has ended, silence goes on.
        heard += self._joined(played_ns, np.zeros(0, np.float32))
        return [SoundPiece(s, captured_at_ns + at_ns - played_ns) for at_ns, s in heard]

    def _due(self, played_ns: int) -> SoundAt | None:
        """The next piece that begins before `played_ns`."""
        playback = self._playback
        assert playback is not None
        if len(playback.rounds) > self._round + 1:
            ends_ns = playback.rounds[self._round + 1]
            if self._next is None or self._next_ns >= ends_ns:
                self._round += 1
                self._begin_round()
                return self._due(played_ns)
        if self._next is None or self._next_ns > played_ns:
            return None
        due = self._next_ns, self._next[1]
        self._advance()
        return due

    def _joined(self, at_ns: int, samples: NDArray[np.float32]) -> Iterator[SoundAt]:
        """The piece as a microphone would hear it after what was heard before: without a gap,
        which becomes silence, and without what overlaps."""
        assert self._heard_ns is not None
        missing = round((at_ns - self._heard_ns) * RATE / 1e9)
        silence, rest = np.zeros(max(0, missing), np.float32), samples[max(0, -missing) :]
        for part in (silence, rest):
            if len(part):
                yield self._heard_ns, part
                self._heard_ns += round(len(part) * 1e9 / RATE)

    def close(self) -> None:
        """Idempotent."""
        if self._pieces is not None:
            self._pieces.close()
        self._pieces = self._playback = self._next = None

    @property
    def _next_ns(self) -> int:
        """When the next piece begins, on the time line of the playback."""
        assert self._playback is not None
        assert self._next is not None
        return self._playback.rounds[self._round] + self._next[0]

    def _begin_round(self) -> None:
        assert self._playback is not None
        assert self._playback.sound is not None
        if self._pieces is not None:
            self._pieces.close()
        self._pieces = self._playback.sound()
        self._advance()

    def _advance(self) -> None:
        assert self._pieces is not None
        self._next = next(self._pieces, None)
