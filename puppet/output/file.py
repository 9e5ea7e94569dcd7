"""Recording to a file while the loop runs."""

from __future__ import annotations

from pathlib import Path

from puppet.contract import Picture, SinkError, SoundSource, SourceError
from puppet.output.sound import Heard
from puppet.output.video import VideoWriter


class FileSink:
    """H.264 MP4 or VP8 WebM. Each picture is shown at the time it was captured (variable rate).

    The file is `NAME.part.mp4` until `close` (see puppet.output.video); a failure, such as a
    full disk, leaves what was written under that name, playable.
    """

    wants_cutout = False

    def __init__(
        self,
        path: Path,
        sound_from: Path | None = None,
        microphone: SoundSource | None = None,
    ) -> None:
        """`sound_from`: a clip that drives the portrait at its own pace from its beginning; its
        sound is recorded along (see VideoWriter). `microphone`: opened and closed here; what it
        hears is recorded with the pictures of the same moment."""
        self.name = f"file:{path}"
        self.path = path
        self._sound_from = sound_from
        self._microphone = microphone
        self._writer: VideoWriter | None = None
        self._first_ns: int | None = None
        self._part: Path | None = None
        self.seconds = 0.0
        """How long the recording is."""

    @property
    def written(self) -> Path:
        """Where the recording is: while it goes on, finished, or broken off."""
        return self._part if self._part is not None and self._part.exists() else self.path

    def open(self, width: int, height: int, fps: float) -> None:
        if self.path.is_dir():
            raise SinkError(f"cannot write the video {self.path}: that is a folder")
        self._first_ns = None
        microphone = self._microphone
        try:
            if microphone is not None:
                microphone.open()
            self._writer = VideoWriter(
                self.path, width, height, fps,
                audio_from=self._sound_from,
                listen=None if microphone is None else self._heard,
                fast=True,
            )  # fmt: skip
            self._part = self._writer.part
        except SourceError as error:
            raise SinkError(str(error)) from error
        finally:
            if self._writer is None and microphone is not None:
                microphone.close()

    def _heard(self) -> list[Heard]:
        """On the clock of the video, which is the clock of the captured pictures."""
        if self._microphone is None or self._first_ns is None:
            return []
        first_ns = self._first_ns
        return [((p.captured_at_ns - first_ns) / 1e9, p.samples) for p in self._microphone.take()]

    def send(self, picture: Picture) -> None:
        if self._writer is None:
            raise SinkError(f"the recording {self.path} is not open")
        if self._first_ns is None:
            self._first_ns = picture.captured_at_ns
        at_s = (picture.captured_at_ns - self._first_ns) / 1e9
        try:
            self._writer.add(picture.rgb, at_s)
            self.seconds = max(self.seconds, at_s)
        except SinkError:
            writer, self._writer = self._writer, None
            writer.abandon()
            raise

    def close(self) -> None:
        writer, self._writer = self._writer, None
        try:
            if writer is not None:
                writer.close()
        finally:
            if self._microphone is not None:
                self._microphone.close()
