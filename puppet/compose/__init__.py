"""From the generator's square to the finished, labelled picture."""

from puppet.compose.compositor import Compositor, cross_fade
from puppet.compose.framing import Framing, frame_portrait
from puppet.compose.scene import Portrait
from puppet.compose.settings import (
    WORDINGS,
    Background,
    ComposeSettings,
    LabelSettings,
    parse_background,
)
from puppet.compose.slate import SlateReason

__all__ = [
    "WORDINGS",
    "Background",
    "ComposeSettings",
    "Compositor",
    "Framing",
    "LabelSettings",
    "Portrait",
    "SlateReason",
    "cross_fade",
    "frame_portrait",
    "parse_background",
]
