"""The driver that ships with the project: a source that needs no camera."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from puppet.capture.played import Recording
from puppet.capture.video import video_recording
from puppet.contract import Frame, SourceError

DEMO_DRIVER = "demo_driver.mp4"


def demo_clip() -> Path:
    """The shipped clip. Raises SourceError when this installation lacks it."""
    clip = Path(str(files("puppet") / "data" / DEMO_DRIVER))
    if not clip.is_file():
        raise SourceError(
            f"this installation lacks its demo clip ({clip}): install webcam-puppet again, "
            "or name a camera or a video file instead of 'demo'"
        )
    return clip


def demo_recording() -> Recording[Frame]:
    """Raises SourceError when this installation lacks the clip."""
    return video_recording(demo_clip())
