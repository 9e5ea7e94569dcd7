"""Connections that say nothing are let go, so that they cannot take the places of those that do."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

FIRST_REQUEST_S = 5.0
"""From the connection until a request has come whole, its body aside."""


class Impatient(H11Protocol):
    """uvicorn's HTTP protocol; that one waits for ever for a connection's first request."""

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._patience = self.loop.call_later(FIRST_REQUEST_S, transport.close)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        is_socket = self.transport.get_protocol() is not self  # a WebSocket took it over
        if self.cycle is not None or is_socket:
            self._calm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._calm()
        super().connection_lost(exc)

    def _calm(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
