"""What has happened in a run so far: counted by its threads, read by whoever asks."""

from __future__ import annotations

import time


class Tally:
    """Counters of one run. Each is written by one thread; reading needs no lock."""

    def __init__(self) -> None:
        self.began_ns = time.perf_counter_ns()
        self.first_ns: int | None = None
        """When the first picture was handed to the outputs."""
        self.ended_ns: int | None = None
        self.frames_out = 0
        self.face_lost_frames = 0
        """Of the frames that came in, those without a face."""
        self.silent = False
        """The source has sent nothing for a while."""
        self.warnings: list[str] = []

    def count_picture(self) -> bool:
        """Notes a picture that was handed to the outputs. True for the first one."""
        self.frames_out += 1
        if self.first_ns is not None:
            return False
        self.first_ns = time.perf_counter_ns()
        return True

    @property
    def first_picture_s(self) -> float | None:
        """From the start of the run to its first picture; None before that."""
        return None if self.first_ns is None else (self.first_ns - self.began_ns) / 1e9

    @property
    def seconds(self) -> float:
        """From the first picture until now, or until the end."""
        if self.first_ns is None:
            return 0.0
        return ((self.ended_ns or time.perf_counter_ns()) - self.first_ns) / 1e9

    @property
    def fps(self) -> float:
        """Pictures per second since the first one."""
        seconds = self.seconds
        return max(0, self.frames_out - 1) / seconds if seconds > 0 else 0.0
