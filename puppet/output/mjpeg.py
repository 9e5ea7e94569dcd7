"""The picture as a page on this machine: http://127.0.0.1:PORT/ .

Loopback only. Each viewer has a thread and takes the newest picture when it is ready for one, so
a viewer that stalls delays nobody. Pictures are encoded only while somebody looks.
"""

from __future__ import annotations

import contextlib
import errno
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2

from puppet.contract import Picture, SinkError

_MAX_VIEWERS = 8
_MAX_CONNECTIONS = 32
_QUALITY = 88
_STALL_S = 5.0  # a viewer that takes nothing for so long is let go
_BOUNDARY = "picture"
_PAGE = b"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>webcam-puppet</title>
<meta name="viewport" content="width=device-width">
<style>
html,body{margin:0;height:100%;background:#14161b}
body{display:grid;place-items:center}
img{max-width:100vw;max-height:100vh;border-radius:6px}
</style>
<img src="/stream.mjpg" alt="The portrait, live">
</html>
"""


class MjpegSink:
    """Serves `/` (a page), `/stream.mjpg` (live) and `/picture.jpg` (the newest)."""

    wants_cutout = False

    def __init__(self, port: int) -> None:
        """`port` 0 takes any free one; `url` tells which after `open`."""
        self.name = f"mjpeg:{port}"
        self.url: str | None = None
        self._port = port
        self._board = _Board()
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    def open(self, width: int, height: int, fps: float) -> None:
        self._board = _Board()
        try:
            self._server = _Server(self._port, self._board)
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES) or sys.platform == "win32":
                other = self._port + 1 if 1024 <= self._port < 65535 else 8766
                raise SinkError(
                    f"port {self._port} is taken or not allowed; "
                    f"choose another, for example --sink mjpeg:{other}"
                ) from error
            raise SinkError(f"cannot serve pictures on port {self._port}: {error}") from error
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.1,), name="puppet-mjpeg", daemon=True
        )
        self._thread.start()

    def send(self, picture: Picture) -> None:
        if self._server is None:
            raise SinkError("the page is not being served")
        self._board.show(picture)

    def close(self) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        self._board.end()
        server.shutdown()
        server.server_close()
        if self._thread is not None:
            self._thread.join(2.0)


class _Board:
    """The newest picture, encoded when the first viewer asks for it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._picture: Picture | None = None
        self._number = 0
        self._encoded: tuple[int, bytes] = (0, b"")
        self._encoding = threading.Lock()
        self.over = False
        self.viewers = threading.BoundedSemaphore(_MAX_VIEWERS)

    def show(self, picture: Picture) -> None:
        with self._changed:
            self._picture = picture
            self._number += 1
            self._changed.notify_all()

    def end(self) -> None:
        with self._changed:
            self.over = True
            self._changed.notify_all()

    def next_jpeg(self, after: int, timeout_s: float) -> tuple[int, bytes] | None:
        """The newest picture's number and JPEG, once it is newer than `after`; None at the end
        or when none came in time."""
        with self._changed:
            ready = self._changed.wait_for(lambda: self.over or self._number > after, timeout_s)
            if not ready or self.over or self._picture is None:
                return None
            number, picture = self._number, self._picture
        with self._encoding:  # once per picture, whoever comes first
            if self._encoded[0] != number:
                bgr = cv2.cvtColor(picture.rgb, cv2.COLOR_RGB2BGR)
                _, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
                self._encoded = (number, jpeg.tobytes())
            return number, self._encoded[1]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a stalled viewer must not hold up the end
    allow_reuse_address = sys.platform != "win32"  # there it would share a taken port

    def __init__(self, port: int, board: _Board) -> None:
        self.board = board
        self._places = threading.BoundedSemaphore(_MAX_CONNECTIONS)
        super().__init__(("127.0.0.1", port), _Handler)

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
        """A viewer that goes away in mid-picture is nothing to tell."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.0"
    timeout = _STALL_S

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged."""

    def do_GET(self) -> None:
        if not self._is_welcome():
            self.send_error(403, "Only pages of this server on this machine may look")
            return
        if not self.server.board.viewers.acquire(blocking=False):
            self.send_error(503, f"{_MAX_VIEWERS} viewers are looking already")
            return
        try:
            with contextlib.suppress(OSError):  # the viewer has gone or stalls
                self._answer(self.path.partition("?")[0])
        finally:
            self.server.board.viewers.release()

    def _is_welcome(self) -> bool:
        """Refuses other sites: by their host name (DNS rebinding) or as embedding pages."""
        port = self.server.server_port
        host = self.headers.get("Host", "")
        if host not in {f"127.0.0.1:{port}", f"localhost:{port}"}:
            return False
        return self.headers.get("Sec-Fetch-Site", "none") in ("none", "same-origin")

    def _answer(self, path: str) -> None:
        if path == "/":
            self._head("text/html; charset=utf-8", len(_PAGE))
            self.wfile.write(_PAGE)
        elif path == "/picture.jpg":
            newest = self.server.board.next_jpeg(0, _STALL_S)
            if newest is None:
                self.send_error(503, "There is no picture yet")
                return
            self._head("image/jpeg", len(newest[1]))
            self.wfile.write(newest[1])
        elif path == "/stream.mjpg":
            self._head(f"multipart/x-mixed-replace; boundary={_BOUNDARY}", None)
            self._stream()
        else:
            self.send_error(404)

    def _head(self, kind: str, length: int | None) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("X-Frame-Options", "DENY")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()

    def _stream(self) -> None:
        number, silent_since = 0, time.monotonic()
        while not self.server.board.over:
            newest = self.server.board.next_jpeg(number, 1.0)
            if newest is None:
                if time.monotonic() - silent_since > 60:
                    return  # nobody sends: let the viewer's place go
                continue
            number, jpeg = newest
            silent_since = time.monotonic()
            head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n"
            self.wfile.write(head.encode() + b"\r\n" + jpeg + b"\r\n")
