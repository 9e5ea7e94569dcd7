"""Writes a video that stays playable whatever happens to the process.

MP4 is written in fragments of half a second, each complete in itself; WebM is a stream by
nature. While it is being written the file is called `NAME.part.mp4` (so that players know it);
a clean close renames it. What a killed process leaves is that `.part` file, playable up to the
last half second; it is never overwritten by a later recording.
"""

from __future__ import annotations

import errno
import os
from fractions import Fraction
from pathlib import Path
from typing import Any

from puppet.contract import Rgb, SinkError, UserError
from puppet.output.sound import ClipSound, HeardSound, Listen, open_clip_sound

_TIME_BASE = Fraction(1, 90_000)
_FRAGMENT_US = 500_000
_MP4 = {
    # delay_moov: the header waits for the first fragment, so that it can tell the audio's delay.
    "movflags": "+frag_keyframe+delay_moov+default_base_moof",
    "frag_duration": str(_FRAGMENT_US),
    "flush_packets": "1",
}
_WEBM = {"flush_packets": "1", "cluster_time_limit": "500", "live": "0"}
_INTERLEAVE_US = "1000000"
"""How long pictures wait in memory for sound that does not come (a microphone that has gone)."""


def check_video_name(path: Path) -> None:
    """Raises UserError for a name whose suffix is of no video that is written here."""
    if path.suffix.lower() not in (".mp4", ".m4v", ".webm"):
        raise UserError(f"a video is called NAME.mp4 or NAME.webm, not {path.name!r}")


class VideoWriter:
    """H.264 (and AAC) in MP4, or VP8 (and Opus) in WebM, by the suffix. Used by one thread."""

    def __init__(
        self,
        path: Path,
        width: int,
        height: int,
        fps: float,
        *,
        audio_from: Path | None = None,
        listen: Listen | None = None,
        fast: bool = False,
    ) -> None:
        """`audio_from`: a clip whose sound is carried over, in sync with its own pictures (the
        first of which is at time 0 here); a clip without sound gives a video without sound.
        `listen`: sound that is heard while the pictures come, instead.
        `fast`: for live recording, spends less time on each picture.

        Raises UserError for an unknown suffix, SinkError when the file cannot be made.
        """
        import av

        self.path = path
        check_video_name(path)
        if width % 2 or height % 2:
            raise UserError(f"a video needs an even width and height, got {width}x{height}")
        self.part = _reserve(path)
        webm = path.suffix.lower() == ".webm"
        self._last_pts = -1
        self._end_s = 0.0
        self._frame_s = 1 / fps
        self._shape = (height, width, 3)
        self._errors = (av.error.FFmpegError, OSError)
        self._sound: ClipSound | HeardSound | None = None
        self._container: Any = None
        try:
            self._container = av.open(
                str(self.part), "w", format="webm" if webm else "mp4",
                options={**(_WEBM if webm else _MP4), "max_interleave_delta": _INTERLEAVE_US},
            )  # fmt: skip
            self._stream = self._add_video(webm, width, height, fps, fast)
            if listen is not None:
                self._sound = HeardSound(listen, self._container, webm)
            elif audio_from is not None:
                self._sound = open_clip_sound(audio_from, self._container, webm)
        except self._errors as error:
            self.abandon()
            raise _sink_error(error, path) from error

    def _add_video(self, webm: bool, width: int, height: int, fps: float, fast: bool) -> Any:
        rate = Fraction(fps).limit_denominator(1001)
        if webm:
            options = {"deadline": "realtime", "cpu-used": "8" if fast else "4", "crf": "10"}
            stream: Any = self._container.add_stream("libvpx", rate=rate, options=options)
            stream.bit_rate = max(1_000_000, width * height * 5)
        else:
            preset = "superfast" if fast else "medium"
            options = {"preset": preset, "crf": "19", "bf": "0"}
            stream = self._container.add_stream("libx264", rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.time_base = stream.time_base = _TIME_BASE
        context.gop_size = max(1, round(fps))
        # Tagged BT.601: right in players that read the tag and in readers that assume it (OpenCV).
        context.colorspace, context.color_primaries, context.color_trc = 6, 1, 1
        context.color_range = 1
        if fast:  # the live loop needs the other cores
            context.thread_count = 1
        return stream

    def add(self, rgb: Rgb, at_s: float) -> None:
        """One picture, (H, W, 3) uint8, at `at_s` seconds from the start; times must rise.

        A picture no later than the one before is moved to just after it. The array is not kept.
        Raises SinkError when the file cannot take it (disk full, ...).
        """
        import av

        if rgb.shape != self._shape:
            raise ValueError(f"expected a picture of shape {self._shape}, got {rgb.shape}")
        frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
            format="yuv420p", dst_colorspace="ITU601"
        )
        pts = max(self._last_pts + 1, round(at_s / _TIME_BASE))
        self._last_pts, self._end_s = pts, float(pts * _TIME_BASE) + self._frame_s
        frame.pts, frame.time_base = pts, _TIME_BASE
        try:
            if self._sound is not None:
                self._sound.write_until(self._end_s)
            self._container.mux(self._stream.encode(frame))
        except self._errors as error:
            raise _sink_error(error, self.path, self.part) from error

    @property
    def has_sound(self) -> bool:
        return self._sound is not None

    def close(self, *, replace: bool = True) -> None:
        """Finishes the file and gives it its name, in the place of an older one of that name; with
        `replace` off an older one stays, and the `.part` file is the result. Idempotent.

        A video without any picture leaves no file. Raises SinkError; the `.part` file stays.
        """
        container, self._container = self._container, None
        if container is None:
            return
        try:
            if self._last_pts >= 0:
                if self._sound is not None:
                    self._sound.finish(self._end_s)
                container.mux(self._stream.encode(None))
            container.close()
            if self._last_pts < 0:
                self.part.unlink()
            elif replace or not self.path.exists():
                os.replace(self.part, self.path)
        except self._errors as error:
            raise _sink_error(error, self.path, self.part) from error

    def abandon(self) -> None:
        """Gives up: closes without a name; an empty `.part` file is removed."""
        container, self._container = self._container, None
        try:
            if container is not None:
                container.close()
        except self._errors:
            pass  # the reason to give up is known already
        if self.part.exists() and self.part.stat().st_size == 0:
            self.part.unlink()


def _reserve(path: Path) -> Path:
    """A new, empty file beside `path` to write into; what an earlier kill left stays."""
    for number in range(1, 1000):
        extra = "" if number == 1 else f"-{number}"
        part = path.with_name(f"{path.stem}.part{extra}{path.suffix}")
        try:
            os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
        except FileExistsError:
            continue
        except OSError as error:
            raise _sink_error(error, path) from error
        return part
    raise SinkError(f"too many unfinished recordings beside {path}: remove {path.stem}.part*")


def _sink_error(error: Exception, path: Path, part: Path | None = None) -> SinkError:
    """In words; `part` is where there are pictures already."""
    code = getattr(error, "errno", None)
    if code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        why = "the disk is full (or a size limit is reached)"
        if part is not None:
            why += f"; what was recorded so far is in {part.name}"
    elif code == errno.ENOENT:
        why = f"the folder {path.parent} does not exist; make it first"
    elif code in (errno.EACCES, errno.EPERM, errno.EROFS):
        why = f"no permission to write into {path.parent}; choose another folder"
    elif code == errno.EISDIR:
        why = "that is a folder"
    else:
        why = str(error)
    return SinkError(f"cannot write the video {path}: {why}")
