"""Recording on and off while the loop runs, into a folder the API's caller cannot choose."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from puppet.contract import SoundSource, UserError
from puppet.output import FanOut
from puppet.output.file import FileSink
from puppet.studio.errors import Conflict

FORMATS = ("mp4", "webm")


@dataclass(frozen=True, slots=True)
class RecordingStatus:
    """The recording that goes on, or the last one."""

    on: bool = False
    file: str | None = None
    """Name of the file in the recordings' folder."""
    folder: str | None = None
    seconds: float = 0.0
    bytes: int = 0
    error: str | None = None
    """Why it broke off; what was written before is kept."""


def recordings_dir() -> Path:
    """The folder for videos, where the platform has one."""
    from platformdirs import user_videos_path

    return user_videos_path() / "webcam-puppet"


class Recorder:
    """One recording at a time. From any thread."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._sink: FileSink | None = None
        self._last = RecordingStatus()

    @property
    def name(self) -> str | None:
        """The name of the output that records now."""
        return None if self._sink is None else self._sink.name

    def start(
        self,
        fan_out: FanOut,
        form: str = "mp4",
        microphone: Callable[[], SoundSource] | None = None,
    ) -> RecordingStatus:
        """`microphone` makes the one to record along. Raises Conflict when a recording goes on,
        UserError, SourceError, SinkError when the place or the microphone cannot be used."""
        if form not in FORMATS:
            raise UserError(f"A recording is one of {', '.join(FORMATS)}, not {form!r}.")
        with self._lock:
            if self._sink is not None and not self._error(fan_out):
                raise Conflict(f"A recording goes on already: {self._sink.name}.")
            self._finish(fan_out)
            folder = self._folder or recordings_dir()
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(
                    f"The folder {folder} cannot be made: {error.strerror or error}."
                ) from error
            heard = None if microphone is None else microphone()
            path = _free_path(folder, form)
            sink = FileSink(path, microphone=heard)
            fan_out.add(sink)
            self._sink = sink
        return self.status(fan_out)

    def stop(self, fan_out: FanOut) -> RecordingStatus:
        """Finishes the file. Raises Conflict when none goes on."""
        with self._lock:
            if self._sink is None:
                raise Conflict("No recording goes on.")
            self._finish(fan_out)
            return self._last

    def status(self, fan_out: FanOut) -> RecordingStatus:
        sink = self._sink
        if sink is None:
            return self._last
        return _told(sink, self._error(fan_out), over=False)

    def _finish(self, fan_out: FanOut) -> None:
        sink = self._sink
        if sink is None:
            return
        with contextlib.suppress(UserError):
            fan_out.remove(sink.name)
        error = self._error(fan_out)  # the last of it is written when the file is closed
        self._sink = None
        self._last = _told(sink, error, over=True)

    def _error(self, fan_out: FanOut) -> str | None:
        name = self.name
        found = [s.error for s in fan_out.stats() if s.name == name]
        return found[-1] if found else None


def _told(sink: FileSink, error: str | None, *, over: bool) -> RecordingStatus:
    """While it goes on, the file is called as it will be called."""
    on = error is None and not over
    return RecordingStatus(
        on,
        (sink.path if on else sink.written).name,
        str(sink.path.parent),
        sink.seconds,
        _size_of(sink.written),
        error,
    )


def _free_path(folder: Path, form: str) -> Path:
    stem = time.strftime("puppet-%Y%m%d-%H%M%S")
    for number in range(1, 100):
        path = folder / f"{stem}{'' if number == 1 else f'-{number}'}.{form}"
        if not path.exists():
            return path
    raise UserError(f"There are too many recordings of this second in {folder}.")


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
