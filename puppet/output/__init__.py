"""Where the composed picture goes. Sinks are imported only when they are asked for."""

from puppet.output.fanout import FanOut, SinkStats
from puppet.output.open import SINK_HELP, open_sink

__all__ = ["SINK_HELP", "FanOut", "SinkStats", "open_sink"]
