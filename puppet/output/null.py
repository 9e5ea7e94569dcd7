"""A sink that forgets: for measuring, and for running without any output."""

from __future__ import annotations

from puppet.contract import Picture


class NullSink:
    """Takes pictures as fast as they come and keeps none."""

    name = "null"
    wants_cutout = False

    def open(self, width: int, height: int, fps: float) -> None:
        """Nothing to open."""

    def send(self, picture: Picture) -> None:
        """Nothing to send."""

    def close(self) -> None:
        """Nothing to close."""
