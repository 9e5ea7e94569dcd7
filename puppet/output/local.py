"""Pages for this machine only: the loopback server that outputs share.

Each connection has a thread and takes the newest picture when it is ready for one, so a viewer
that stalls delays nobody. Pictures are encoded only while somebody looks, once for all viewers.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import sys
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Generic, TypeVar

from puppet.contract import Picture, SinkError

MAX_VIEWERS = 8
STALL_S = 5.0
"""A viewer that takes nothing for so long is let go."""
_MAX_CONNECTIONS = 32

T = TypeVar("T")


class Board(Generic[T]):
    """The newest picture, encoded when the first viewer asks for it."""

    def __init__(self, encode: Callable[[Picture], T]) -> None:
        self._encode = encode
        self._changed = threading.Condition()
        self._picture: Picture | None = None
        self._number = 0
        self._encoded: tuple[int, T] | None = None
        self._encoding = threading.Lock()
        self.over = False
        self.viewers = threading.BoundedSemaphore(MAX_VIEWERS)

    def show(self, picture: Picture) -> None:
        """Never waits for a viewer."""
        with self._changed:
            self._picture = picture
            self._number += 1
            self._changed.notify_all()

    def end(self) -> None:
        with self._changed:
            self.over = True
            self._changed.notify_all()

    def next(self, after: int, timeout_s: float) -> tuple[int, T] | None:
        """The newest picture's number and what `encode` made of it, once it is newer than
        `after`; None at the end or when none came in time."""
        with self._changed:
            ready = self._changed.wait_for(lambda: self.over or self._number > after, timeout_s)
            if not ready or self.over or self._picture is None:
                return None
            number, picture = self._number, self._picture
        with self._encoding:  # once per picture, whoever comes first
            if self._encoded is None or self._encoded[0] < number:
                self._encoded = (number, self._encode(picture))
            return self._encoded


class LocalServer(ThreadingHTTPServer):
    """Listens on 127.0.0.1, from `start` to `stop`, with a bounded number of threads."""

    daemon_threads = True
    block_on_close = False  # a stalled viewer must not hold up the end
    allow_reuse_address = sys.platform != "win32"  # there it would share a taken port

    def __init__(self, port: int, handler: type[LocalHandler], sink: str) -> None:
        """`port` 0 takes any free one. Raises SinkError when it cannot be had; `sink` is what
        the user typed for it."""
        self._places = threading.BoundedSemaphore(_MAX_CONNECTIONS)
        self._thread: threading.Thread | None = None
        try:
            super().__init__(("127.0.0.1", port), handler)
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES) or sys.platform == "win32":
                other = port + 1 if 1024 <= port < 65535 else 8766
                raise SinkError(
                    f"port {port} is taken or not allowed; "
                    f"choose another, for example --sink {sink}:{other}"
                ) from error
            raise SinkError(f"cannot serve pictures on port {port}: {error}") from error

    def start(self, name: str) -> None:
        self._thread = threading.Thread(
            target=self.serve_forever, args=(0.1,), name=f"puppet-{name}", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()
        if self._thread is not None:
            self._thread.join(2.0)

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread per connection, up to a limit: beyond it the connection is closed."""
        if self._places.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A viewer that goes away in mid-picture is nothing to tell; anything else is logged."""
        if not isinstance(sys.exc_info()[1], OSError):
            logging.getLogger(__name__).exception("answering %s failed", client_address)


class LocalHandler(BaseHTTPRequestHandler):
    """Answers GET for pages of this server, and for nobody else."""

    timeout = STALL_S
    disable_nagle_algorithm = True

    def answer(self, path: str, query: str) -> None:
        """To be provided; an OSError means that the viewer has gone."""
        raise NotImplementedError

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged."""

    def do_GET(self) -> None:
        if not self.is_welcome():
            self.send_error(403, "Only pages of this server on this machine may look")
            return
        with contextlib.suppress(OSError):  # the viewer has gone or stalls
            path, _, query = self.path.partition("?")
            self.answer(path, query)

    def is_welcome(self) -> bool:
        """Refuses other sites: by their host name (DNS rebinding) or as embedding pages."""
        assert isinstance(self.server, LocalServer)
        port = self.server.server_port
        ours = {f"127.0.0.1:{port}", f"localhost:{port}"}
        if self.headers.get("Host", "") not in ours:
            return False
        origin = self.headers.get("Origin")
        if origin is not None and origin.removeprefix("http://") not in ours:
            return False
        return self.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")

    def head(self, kind: str, length: int | None, more: Mapping[str, str] | None = None) -> None:
        """Status line and headers of an answer; `length` None: until the connection ends."""
        self.send_response(200)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("X-Frame-Options", "DENY")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        for name, value in (more or {}).items():
            self.send_header(name, value)
        self.end_headers()
