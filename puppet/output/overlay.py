"""The person without background, as a page for OBS's browser source: real transparency.

A picture travels as one JPEG: the premultiplied colours above, the alpha below, cropped to what is
not transparent (3 ms to encode at 1280x720, 80 KB; a PNG takes 35 ms and 570 KB, a WebP with alpha
110 ms). The page asks for the next picture when it has received one, so never more than one is
on its way: the newest wins for each page, and one that stalls holds back nothing.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import time
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from urllib.parse import parse_qs

import cv2
import numpy as np

from puppet.contract import Picture, Rgba, SinkError
from puppet.output.local import MAX_VIEWERS, Board, LocalHandler, LocalServer
from puppet.system import data_dir

_QUALITY = 90
_BLOCK = 16  # of a JPEG with halved colours: the alpha must begin on a block's edge
_WAIT_S = 2.0


@dataclass(frozen=True, slots=True)
class _Cut:
    """An encoded picture: where the cropped part belongs, and when the output got the whole."""

    width: int
    height: int
    box: tuple[int, int, int, int]
    """x, y, width, height of the part; its height is a multiple of 16, its end may lie outside."""
    jpeg: bytes
    shown_at_s: float
    """Unix time, which a browser on this machine has too: the page measures its own delay."""


class OverlaySink:
    """Serves `/` (the page) and `/next` (pictures for it); both need the token."""

    wants_cutout = True

    def __init__(self, port: int) -> None:
        """`port` 0 takes any free one; `url` is what goes into OBS, after `open`."""
        self.name = f"overlay:{port}"
        self.url: str | None = None
        self._port = port
        self._board: Board[_Cut] = Board(encode)
        self._server: _Server | None = None

    def open(self, width: int, height: int, fps: float) -> None:
        token = overlay_token()
        self._board = Board(encode)
        self._server = _Server(self._port, self._board, token)
        self.url = f"http://127.0.0.1:{self._server.server_port}/?token={token}"
        self._server.start("overlay")

    def send(self, picture: Picture) -> None:
        if self._server is None:
            raise SinkError("the overlay is not being served")
        if picture.cutout is not None:  # else it is on its way: the scene is just being set
            self._board.show(picture)

    def close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            self._board.end()
            server.stop()


def overlay_token() -> str:
    """The secret part of the page's address; kept, so that the address in OBS stays valid.

    Other users of this machine cannot read it, and without it nobody gets a picture.
    """
    path = data_dir() / "overlay-token"
    with contextlib.suppress(OSError, UnicodeDecodeError):
        kept = path.read_text("ascii").strip()
        if len(kept) == 32 and all(c in "0123456789abcdef" for c in kept):
            return kept
    token = secrets.token_hex(16)
    with contextlib.suppress(OSError):  # then it is a new one each time
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_private(path, token)
    return token


def _write_private(path: Path, text: str) -> None:
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as stream:
        stream.write(text + "\n")
    os.replace(beside, path)


def encode(picture: Picture) -> _Cut:
    """Colours over alpha in one JPEG. The picture must have a cut-out."""
    assert picture.cutout is not None
    cutout: Rgba = picture.cutout
    now_s = time.time()
    height, width = cutout.shape[:2]
    alpha = cv2.extractChannel(cutout, 3)
    x, y, w, h = cv2.boundingRect(alpha)
    if not w or not h:  # nothing to be seen: a transparent corner
        x, y, w, h = 0, 0, _BLOCK, _BLOCK
    part = cutout[y : y + h, x : x + w]
    tall = -(-h // _BLOCK) * _BLOCK
    stacked = np.zeros((2 * tall, w, 3), np.uint8)
    # Premultiplied colours end softly; straight ones would bleed black into the edges.
    cv2.cvtColor(cv2.cvtColor(part, cv2.COLOR_RGBA2mRGBA), cv2.COLOR_RGBA2BGR, dst=stacked[:h])
    cv2.cvtColor(alpha[y : y + h, x : x + w], cv2.COLOR_GRAY2BGR, dst=stacked[tall : tall + h])
    _, jpeg = cv2.imencode(".jpg", stacked, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    return _Cut(width, height, (x, y, w, tall), jpeg.tobytes(), now_s)


class _Server(LocalServer):
    def __init__(self, port: int, board: Board[_Cut], token: str) -> None:
        self.board = board
        self.token = token
        self.page = (files("puppet") / "data" / "overlay.html").read_bytes()
        super().__init__(port, _Handler, "overlay")


class _Handler(LocalHandler):
    server: _Server
    protocol_version = "HTTP/1.1"  # one connection for all pictures of a page
    wbufsize = -1  # head and picture leave together
    timeout = 30.0

    def answer(self, path: str, query: str) -> None:
        given: dict[str, list[str]] = {}
        with contextlib.suppress(ValueError):  # more fields than any page of ours sends
            given = parse_qs(query[:1024], max_num_fields=16)
        token = given.get("token", [""])[0]
        if not hmac.compare_digest(token.encode(), self.server.token.encode()):
            self.send_error(403, "The address lacks its token; copy it from the program again")
            return
        if path == "/":
            self.head("text/html; charset=utf-8", len(self.server.page))
            self.wfile.write(self.server.page)
        elif path == "/next":
            after = given.get("after", ["0"])[0]
            self._next(int(after) if after.isdecimal() and len(after) < 16 else 0)
        else:
            self.send_error(404)

    def _next(self, after: int) -> None:
        if not self.server.board.viewers.acquire(blocking=False):
            self.send_error(503, f"{MAX_VIEWERS} pages are looking already")
            return
        try:
            newest = self.server.board.next(after, _WAIT_S)
        finally:
            self.server.board.viewers.release()
        if self.server.board.over:  # the page's connection would outlive the server
            self.close_connection = True
            self.send_error(503, "The program has ended")
            return
        if newest is None:
            self.head("text/plain", 0, {"X-Number": str(after)})
            return
        number, cut = newest
        more = {
            "X-Number": str(number),
            "X-Size": f"{cut.width} {cut.height}",
            "X-Box": " ".join(map(str, cut.box)),
            "X-Shown-At": f"{cut.shown_at_s:.4f}",
        }
        self.head("image/jpeg", len(cut.jpeg), more)
        self.wfile.write(cut.jpeg)
