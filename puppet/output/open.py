"""From what the user typed after `--sink` to a sink, not opened yet."""

from __future__ import annotations

from collections.abc import Callable

from puppet.contract import Sink, SoundSource, UserError
from puppet.system import expanded

DEFAULT_PORT = 8765
OVERLAY_PORT = 8767
SINK_HELP = (
    "preview (a window), file:OUT.mp4 or file:OUT.webm, virtual[:DEVICE] (a camera for calls), "
    "mjpeg[:PORT] (a page on this machine), overlay[:PORT] (a transparent page for OBS), null"
)


def open_sink(
    spec: str,
    *,
    on_key: Callable[[str], None] | None = None,
    microphone: Callable[[], SoundSource] | None = None,
) -> Sink:
    """`preview`, `file:OUT.mp4`, `virtual[:DEVICE]`, `mjpeg[:PORT]` or `null`.

    `on_key` gets the keys pressed in the preview, one character each, on a thread of the
    preview; the window's close button counts as "q". Nothing is opened before `Sink.open`.
    `microphone` makes the one that a file records. Raises UserError for anything else.
    """
    kind, _, value = spec.strip().partition(":")
    kind = kind.lower()
    if kind == "null" and not value:
        from puppet.output.null import NullSink

        return NullSink()
    if kind == "preview" and not value:
        from puppet.output.preview import PreviewSink

        return PreviewSink(on_key)
    if kind == "file":
        if not value:
            raise UserError("a recording needs a name: --sink file:OUT.mp4")
        from puppet.output.file import FileSink

        return FileSink(expanded(value), microphone=None if microphone is None else microphone())
    if kind == "virtual":
        from puppet.output.virtual import VirtualCameraSink

        return VirtualCameraSink(value or None)
    if kind == "mjpeg":
        from puppet.output.mjpeg import MjpegSink

        return MjpegSink(_port(value) if value else DEFAULT_PORT)
    if kind == "overlay":
        from puppet.output.overlay import OverlaySink

        return OverlaySink(_port(value) if value else OVERLAY_PORT)
    raise UserError(f"unknown output {spec!r}; choose one of {SINK_HELP}")


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 <= int(text) <= 65535:
        raise UserError(f"a port is a number from 1024 to 65535, as in mjpeg:8765; got {text!r}")
    return int(text)
