"""The picture as a page on this machine: http://127.0.0.1:PORT/ ."""

from __future__ import annotations

import time

import cv2

from puppet.contract import Picture, SinkError
from puppet.output.local import MAX_VIEWERS, STALL_S, Board, LocalHandler, LocalServer

_QUALITY = 88
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
        self._board: Board[bytes] = Board(_jpeg)
        self._server: _Server | None = None

    def open(self, width: int, height: int, fps: float) -> None:
        self._board = Board(_jpeg)
        self._server = _Server(self._port, self._board)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        self._server.start("mjpeg")

    def send(self, picture: Picture) -> None:
        if self._server is None:
            raise SinkError("the page is not being served")
        self._board.show(picture)

    def close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            self._board.end()
            server.stop()


def _jpeg(picture: Picture) -> bytes:
    bgr = cv2.cvtColor(picture.rgb, cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return jpeg.tobytes()


class _Server(LocalServer):
    def __init__(self, port: int, board: Board[bytes]) -> None:
        self.board = board
        super().__init__(port, _Handler, "mjpeg")


class _Handler(LocalHandler):
    server: _Server
    protocol_version = "HTTP/1.0"

    def answer(self, path: str, query: str) -> None:
        if not self.server.board.viewers.acquire(blocking=False):
            self.send_error(503, f"{MAX_VIEWERS} viewers are looking already")
            return
        try:
            self._answer(path)
        finally:
            self.server.board.viewers.release()

    def _answer(self, path: str) -> None:
        if path == "/":
            self.head("text/html; charset=utf-8", len(_PAGE))
            self.wfile.write(_PAGE)
        elif path == "/picture.jpg":
            newest = self.server.board.next(0, STALL_S)
            if newest is None:
                self.send_error(503, "There is no picture yet")
                return
            self.head("image/jpeg", len(newest[1]))
            self.wfile.write(newest[1])
        elif path == "/stream.mjpg":
            self.head(f"multipart/x-mixed-replace; boundary={_BOUNDARY}", None)
            self._stream()
        else:
            self.send_error(404)

    def _stream(self) -> None:
        number, silent_since = 0, time.monotonic()
        while not self.server.board.over:
            newest = self.server.board.next(number, 1.0)
            if newest is None:
                if time.monotonic() - silent_since > 60:
                    return  # nobody sends: let the viewer's place go
                continue
            number, jpeg = newest
            silent_since = time.monotonic()
            head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n"
            self.wfile.write(head.encode() + b"\r\n" + jpeg + b"\r\n")
