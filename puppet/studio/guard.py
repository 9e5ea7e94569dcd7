"""Who may speak to the panel's server: by address, by origin, by token, by size.

A web page in the same browser can send requests to 127.0.0.1, and with DNS rebinding even read
the answers. Against that: the Host must be an address of this server, an Origin must be the
server's own, and everything that steers or shows takes a token that such a page does not know.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import json
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from starlette.exceptions import HTTPException

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

MAX_BODY_BYTES = 64 << 10
BODY_TIMEOUT_S = 30.0
PROTOCOL = "puppet"
"""The WebSocket sub-protocol; a second one, `token.TOKEN`, carries the token."""
_SAFE_SITES = (None, "none", "same-origin")
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cache-control", b"no-store"),
)


@dataclass(frozen=True, slots=True)
class Rules:
    """What the guard lets through."""

    token: str
    port: int
    exposed: bool = False
    """On a network: any address of this machine is a good Host, names only the machine's own."""
    open_paths: frozenset[str] = frozenset()
    """The page's own files, which show nothing without a token."""
    upload_paths: frozenset[str] = frozenset()
    max_upload: int = 32 << 20

    def is_host(self, host: str | None) -> bool:
        """Whether a Host header names this server. DNS rebinding needs a name of its own."""
        if host is None:
            return False
        name, _, port = host.rpartition(":")
        if not name or host.endswith("]"):
            name, port = host, "80"
        if port != str(self.port):
            return False
        if name in ("localhost", "127.0.0.1", "[::1]"):
            return True
        if not self.exposed:
            return False
        if name.casefold() in {socket.gethostname().casefold(), _mdns_name()}:
            return True
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True

    def is_token(self, token: str | None) -> bool:
        return token is not None and hmac.compare_digest(token.encode(), self.token.encode())


def _mdns_name() -> str:
    return f"{socket.gethostname().split('.')[0]}.local".casefold()


class Guard:
    """An ASGI application before the application."""

    def __init__(self, app: App, rules: Rules) -> None:
        self._app = app
        self._rules = rules

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        refused = self._refusal(scope, headers)
        if refused is not None:
            await _refuse(scope, send, *refused)
            return
        if scope["type"] == "http":
            limit = self._limit(scope)
            if _declared(headers) > limit:
                await _refuse(scope, send, 413, _too_large(limit))
                return
            receive = _Bounded(receive, limit)
            send = _with_headers(send, headers.get("host", ""))
        await self._app(scope, receive, send)

    def _refusal(
        self, scope: MutableMapping[str, Any], headers: dict[str, str]
    ) -> tuple[int, str] | None:
        """(status, sentence), or None for a request that is welcome."""
        rules, path = self._rules, scope["path"]
        host = headers.get("host")
        if not rules.is_host(host):
            return 421, "This server is not called that: open the address that was printed."
        origin = headers.get("origin")
        if origin is not None and origin != f"http://{host}":
            return 403, "Pages of other sites may not use this server."
        is_page = scope["type"] == "http" and path in rules.open_paths and scope["method"] == "GET"
        if is_page:
            return None
        if headers.get("sec-fetch-site") not in _SAFE_SITES:
            return 403, "Pages of other sites may not use this server."
        if not rules.is_token(token_of(headers)):
            return 401, "The token is missing or wrong: open the address that was printed."
        return None

    def _limit(self, scope: MutableMapping[str, Any]) -> int:
        upload = scope["path"] in self._rules.upload_paths and scope["method"] == "POST"
        return self._rules.max_upload if upload else MAX_BODY_BYTES


def token_of(headers: dict[str, str]) -> str | None:
    """From `Authorization: Bearer TOKEN`, or from the WebSocket sub-protocols."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip()
    for protocol in headers.get("sec-websocket-protocol", "").split(","):
        if protocol.strip().startswith("token."):
            return protocol.strip().removeprefix("token.")
    return None


class _Bounded:
    """`receive` that counts, for bodies that do not say how long they are.

    What it raises is turned into an answer by the application.
    """

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive, self._limit, self._left = receive, limit, limit
        self._over = False

    async def __call__(self) -> Message:
        if self._over:  # now it is the end of the connection that is waited for
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), BODY_TIMEOUT_S)
        except asyncio.TimeoutError:
            raise HTTPException(408, "The body of the request did not come.") from None
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise HTTPException(413, _too_large(self._limit))
        self._over = not message.get("more_body", False)
        return message


def _declared(headers: dict[str, str]) -> int:
    length = headers.get("content-length", "0")
    return int(length) if length.isdecimal() else 0


def _too_large(limit: int) -> str:
    what = f"{limit >> 20} MB" if limit >= 1 << 20 else f"{limit >> 10} kB"
    return f"At most {what} are read here. Send a smaller picture, for example a JPEG."


def _with_headers(send: Send, host: str) -> Send:
    policy = (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
        f"connect-src 'self' ws://{host}; frame-ancestors 'none'; base-uri 'none'; "
        "form-action 'none'"
    )

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = [*_HEADERS, (b"content-security-policy", policy.encode("latin-1"))]
            message["headers"] = [*message.get("headers", ()), *own]
        await send(message)

    return sending


async def _refuse(scope: MutableMapping[str, Any], send: Send, status: int, why: str) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": why})
        return
    body = json.dumps({"detail": why}).encode()
    headers = [(b"content-type", b"application/json"), (b"connection", b"close"), *_HEADERS]
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
