"""A microphone, with the time each piece of its sound was heard. For recordings only.

PortAudio (the package sounddevice, which MediaPipe brings along) knows the devices of all
platforms. Its callback must be quick: it notes the time and keeps the samples, nothing else.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from puppet.contract import SoundPiece, SourceError

DEFAULT = "default"
RATE = 48_000
_BLOCK_S = 0.01
_KEPT_S = 20.0
"""More than this is not kept for a reader that has stalled."""
_log = logging.getLogger(__name__)


def list_microphones() -> list[str]:
    """Their names, the system's choice first. Raises SourceError where sound is not available."""
    sound = _sounddevice()
    default = sound.default.device[0]
    host = sound.query_devices(default)["hostapi"] if default >= 0 else 0
    devices = [d for d in sound.query_devices() if d["max_input_channels"] > 0]
    devices.sort(key=lambda device: device["index"] != default)
    # Windows lists each device once for every way to reach it: one way is enough.
    return list(dict.fromkeys(str(d["name"]) for d in devices if d["hostapi"] == host))


class Microphone:
    """One channel at 48 kHz. `open`, `take` and `close` by one thread."""

    def __init__(self, wanted: str = DEFAULT) -> None:
        """`wanted`: a name of `list_microphones` or a part that only one has, in any case;
        "default" is the system's choice. Raises SourceError that lists what there is."""
        names = list_microphones()
        self.name = _choose(wanted, names)
        self._pieces: deque[SoundPiece] = deque(maxlen=round(_KEPT_S / _BLOCK_S))
        self._stream: Any = None

    def open(self) -> None:
        """Starts to listen. Raises SourceError with the remedy."""
        sound = _sounddevice()
        try:
            self._stream = sound.InputStream(
                device=self._number(sound),
                samplerate=RATE,
                channels=1,
                dtype="float32",
                blocksize=round(RATE * _BLOCK_S),
                latency="low",
                callback=self._hear,
                finished_callback=self._end,
            )
            self._stream.start()
        except sound.PortAudioError as error:
            self.close()
            raise SourceError(
                f"the microphone {self.name!r} cannot be opened ({error.args[0]}); is it in use, "
                "or not allowed for this program?"
            ) from error

    def take(self) -> list[SoundPiece]:
        """What was heard since the last call; the caller owns it. Empty once it has gone."""
        taken = []
        while self._pieces:
            taken.append(self._pieces.popleft())
        return taken

    def close(self) -> None:
        """Idempotent."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()

    def _number(self, sound: Any) -> int:
        found = [
            int(d["index"])
            for d in sound.query_devices()
            if d["max_input_channels"] > 0 and d["name"] == self.name
        ]
        if not found:
            raise SourceError(f"the microphone {self.name!r} is not there any more: plug it in")
        return found[0]

    def _hear(self, samples: NDArray[np.float32], count: int, times: Any, status: Any) -> None:
        """On PortAudio's thread."""
        now_ns = time.perf_counter_ns()
        # Some drivers do not know how old a piece is; it cannot be younger than its own length.
        age_s = max(times.currentTime - times.inputBufferAdcTime, count / RATE)
        self._pieces.append(SoundPiece(samples[:, 0].copy(), now_ns - round(age_s * 1e9)))

    def _end(self) -> None:
        if self._stream is not None:
            _log.warning("the microphone %s has gone; the recording goes on silently", self.name)


def _choose(wanted: str, names: list[str]) -> str:
    if not names:
        raise SourceError("there is no microphone: plug one in, or record without sound")
    if wanted == DEFAULT:
        return names[0]
    if wanted in names:
        return wanted
    found = [name for name in names if wanted.casefold() in name.casefold()]
    if len(found) == 1:
        return found[0]
    why = "is the name of several" if found else "is not there"
    raise SourceError(f"the microphone {wanted!r} {why}; there are: {', '.join(found or names)}")


def _sounddevice() -> Any:
    try:
        import sounddevice
    except (ImportError, OSError) as error:  # OSError: the package is there, PortAudio is not
        raise SourceError(
            f"sound cannot be recorded here ({error}): run 'pip install sounddevice', and on Linux "
            "'sudo apt-get install libportaudio2' (Debian, Ubuntu) or 'sudo dnf install portaudio'"
        ) from error
    return sounddevice
