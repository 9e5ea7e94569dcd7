"""What the server sends by itself: the state and events, and the preview's pictures.

A viewer never has more than a few messages on their way to it. One that takes nothing is dropped
after a few seconds; it cannot hold up the loop, which never waits for any of this.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections import deque
from collections.abc import Awaitable
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from puppet.contract import UserError
from puppet.pipeline.events import Event
from puppet.studio.control import Studio
from puppet.studio.guard import PROTOCOL
from puppet.studio.models import state_of
from puppet.studio.pictures import PanelPictures

log = logging.getLogger(__name__)

MAX_CLIENTS = 8
"""Of each kind."""
STALL_S = 5.0
STATE_EVERY_S = 1.0
MAX_FPS, DEFAULT_FPS = 20.0, 12.0
PORTRAIT, DRIVER = 1, 2
"""First byte of a picture message; the rest is a JPEG."""
_KINDS: tuple[str, ...] = ("portrait", "driver")
_RESEND_S = 5.0
"""The same picture again after this long, which also finds viewers that have gone."""
_WAITING = 64
_MAX_MESSAGE = 200
_MAX_WISHES = 4
"""Messages of a viewer that wait; it is not read on before they are heard."""


class Sockets:
    """Serves both WebSockets on one event loop."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._pictures = PanelPictures(studio.panel, studio.driver)
        self._clients: set[_Client] = set()
        self._viewers = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        studio.run.events.listen(self._hear)

    @property
    def clients(self) -> int:
        return len(self._clients)

    @property
    def viewers(self) -> int:
        return self._viewers

    # State and events ---------------------------------------------------------------------

    async def events(self, socket: WebSocket) -> None:
        """Sends {"type": "state", ...} once a second and {"type": "event", ...} as they come."""
        if len(self._clients) >= MAX_CLIENTS:
            await socket.close(1013, f"{MAX_CLIENTS} clients listen already.")
            return
        self._loop = asyncio.get_running_loop()
        client = _Client()
        self._clients.add(client)  # before anything is waited for: others come meanwhile
        try:
            await socket.accept(_subprotocol(socket))
            await _first_done(self._tell(socket, client), _until_gone(socket))
        finally:
            self._clients.discard(client)

    async def _tell(self, socket: WebSocket, client: _Client) -> None:
        due = 0.0
        while True:
            for text in client.take():
                await _in_time(socket.send_text(text))
            if time.monotonic() >= due:
                due = time.monotonic() + STATE_EVERY_S
                await _in_time(socket.send_text(await asyncio.to_thread(self._state)))
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(client.woken.wait(), max(0.0, due - time.monotonic()))

    def _state(self) -> str:
        try:
            return json.dumps({"type": "state", **state_of(self._studio).model_dump(mode="json")})
        except UserError as error:
            return json.dumps({"type": "starting", "message": str(error)})

    def _hear(self, event: Event) -> None:
        """On whatever thread something happened."""
        loop = self._loop
        if loop is None or not self._clients:
            return
        text = json.dumps({"type": "event", "kind": event.kind, "message": event.message})
        with contextlib.suppress(RuntimeError):  # the server has ended
            loop.call_soon_threadsafe(self._spread, text)

    def _spread(self, text: str) -> None:
        for client in self._clients:
            client.put(text)

    # Pictures -----------------------------------------------------------------------------

    async def pictures(self, socket: WebSocket) -> None:
        """Sends the newest pictures, one of each kind after every message of the viewer.

        A message is {"fps": 12, "want": ["portrait", "driver"]} or just {}: the viewer has
        drawn what it got. So a viewer sets its own pace, and nothing piles up for a slow one.
        """
        if self._viewers >= MAX_CLIENTS:
            await socket.close(1013, f"{MAX_CLIENTS} viewers look already.")
            return
        self._viewers += 1  # before anything is waited for: others come meanwhile
        wishes: asyncio.Queue[str] = asyncio.Queue(_MAX_WISHES)
        try:
            await socket.accept(_subprotocol(socket))
            await _first_done(self._show(socket, wishes), _hear_wishes(socket, wishes))
        finally:
            self._viewers -= 1
            with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                await socket.close()

    async def _show(self, socket: WebSocket, wishes: asyncio.Queue[str]) -> None:
        fps, want = DEFAULT_FPS, _KINDS
        shown: dict[int, int] = {}
        due = 0.0
        while True:
            fps, want = _wish(await wishes.get(), fps, want)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            due = time.monotonic() + 1 / fps
            sent = not want
            while not sent:
                for kind, name in ((PORTRAIT, "portrait"), (DRIVER, "driver")):
                    if name not in want:
                        continue
                    newest = getattr(self._pictures, name)()
                    if newest is not None and newest[0] != shown.get(kind):
                        shown[kind] = newest[0]
                        await _in_time(socket.send_bytes(bytes([kind]) + newest[1]))
                        sent = True
                if not sent:
                    await asyncio.sleep(1 / fps)
                    if time.monotonic() - due > _RESEND_S:
                        shown.clear()


class _Client:
    """Texts on their way to one listener; the oldest goes when too many wait."""

    def __init__(self) -> None:
        self.woken = asyncio.Event()
        self._waiting: deque[str] = deque(maxlen=_WAITING)

    def put(self, text: str) -> None:
        self._waiting.append(text)
        self.woken.set()

    def take(self) -> list[str]:
        taken = list(self._waiting)
        self._waiting.clear()
        self.woken.clear()
        return taken


def _subprotocol(socket: WebSocket) -> str | None:
    offered = socket.scope.get("subprotocols", [])
    return PROTOCOL if PROTOCOL in offered else None


def _wish(text: str, fps: float, want: tuple[str, ...]) -> tuple[float, tuple[str, ...]]:
    """What a viewer's message changes. Raises ValueError for one that makes no sense."""
    if len(text) > _MAX_MESSAGE:
        raise ValueError("a message too long")
    message: Any = json.loads(text)
    if not isinstance(message, dict):
        raise ValueError("not an object")
    wished = message.get("fps", fps)
    if isinstance(wished, bool) or not isinstance(wished, int | float):
        raise ValueError("fps is no number")
    kinds = message.get("want", want)
    if not isinstance(kinds, list | tuple):
        raise ValueError("want is no list")
    return min(MAX_FPS, max(1.0, float(wished))), tuple(k for k in kinds if k in _KINDS)


async def _in_time(sending: Awaitable[None]) -> None:
    """Raises TimeoutError for a viewer that takes nothing."""
    await asyncio.wait_for(sending, STALL_S)


async def _hear_wishes(socket: WebSocket, wishes: asyncio.Queue[str]) -> None:
    """Hands on what a viewer says, until it goes."""
    while True:
        await wishes.put(await socket.receive_text())


async def _until_gone(socket: WebSocket) -> None:
    """Takes and forgets what a listener says, until it goes."""
    while True:
        await socket.receive_text()


async def _first_done(*bodies: Awaitable[None]) -> None:
    """Runs all until one ends; then ends the others."""
    tasks = [asyncio.ensure_future(body) for body in bodies]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    gone = (WebSocketDisconnect, asyncio.CancelledError, asyncio.TimeoutError)
    for result in results:
        if isinstance(result, BaseException) and not isinstance(result, gone):
            log.debug("a listener ended with %r", result)
