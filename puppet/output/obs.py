"""Sets the delay of a sound input in OBS, through obs-websocket 5 (part of OBS since 28)."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from typing import Any

from puppet.contract import UserError

DEFAULT_PORT = 4455
MOST_MS = 20_000
"""What OBS accepts."""
_HELLO, _IDENTIFY, _IDENTIFIED, _REQUEST, _RESPONSE = 0, 1, 2, 6, 7
_RPC_VERSION = 1
_NO_SUCH_SOURCE = 600
_WRONG_PASSWORD = 4009
_LIMIT_S = 5.0
_LARGEST = 1 << 20


def set_sound_delay(
    input_name: str,
    delay_ms: int,
    *,
    password: str | None,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
) -> None:
    """Sets the sync offset of the input called `input_name` to `delay_ms`, 0 to 20000.

    Raises UserError with the remedy when OBS is not there, refuses, or has no such input.
    """
    if not 0 <= delay_ms <= MOST_MS:
        raise UserError(f"OBS takes delays from 0 to {MOST_MS} ms, not {delay_ms}")
    try:
        from websockets.exceptions import ConnectionClosed, WebSocketException
        from websockets.sync.client import connect
    except ImportError as error:
        raise UserError(
            "talking to OBS needs the package websockets: pip install 'webcam-puppet[studio]'"
        ) from error
    where = f"ws://{host}:{port}"
    try:
        with connect(
            where, open_timeout=_LIMIT_S, close_timeout=1.0, max_size=_LARGEST, proxy=None
        ) as socket:
            link = _Link(socket)
            link.identify(password)
            link.set_offset(input_name, delay_ms)
    except ConnectionClosed as error:
        code = error.rcvd.code if error.rcvd is not None else 0
        if code == _WRONG_PASSWORD:
            raise UserError(
                "OBS refuses the password; it is in OBS under Tools > WebSocket Server Settings > "
                "Show Connect Info"
            ) from error
        raise UserError(
            f"OBS ended the connection (code {code}); is it OBS 28 or later?"
        ) from error
    except (OSError, WebSocketException) as error:
        raise UserError(
            f"OBS does not answer at {where}: start OBS, and switch on Tools > WebSocket Server "
            "Settings > Enable WebSocket server"
        ) from error


def authentication(password: str, salt: str, challenge: str) -> str:
    """The answer to the server's challenge (obs-websocket 5 protocol, "Creating an
    authentication string")."""
    secret = base64.b64encode(hashlib.sha256((password + salt).encode()).digest())
    return base64.b64encode(hashlib.sha256(secret + challenge.encode()).digest()).decode()


class _Link:
    """One connection, from the server's hello on."""

    def __init__(self, socket: Any) -> None:
        self._socket = socket
        self._requests = 0
        self._until = time.monotonic() + _LIMIT_S

    def identify(self, password: str | None) -> None:
        hello = self._receive(_HELLO)
        answer: dict[str, object] = {"rpcVersion": _RPC_VERSION, "eventSubscriptions": 0}
        asked = hello.get("authentication")
        if asked is not None:
            if not password:
                raise UserError(
                    "OBS asks for a password, which its WebSocket settings show: give it in the "
                    "panel, or in the environment variable OBS_WEBSOCKET_PASSWORD"
                )
            if not isinstance(asked, dict):
                raise _strange()
            answer["authentication"] = authentication(
                password, str(asked.get("salt")), str(asked.get("challenge"))
            )
        self._send(_IDENTIFY, answer)
        self._receive(_IDENTIFIED)

    def set_offset(self, input_name: str, delay_ms: int) -> None:
        status, _ = self._request(
            "SetInputAudioSyncOffset",
            {"inputName": input_name, "inputAudioSyncOffset": delay_ms},
        )
        if status.get("result") is True:
            return
        if status.get("code") == _NO_SUCH_SOURCE:
            _, data = self._request("GetInputList", {})
            inputs = data.get("inputs")
            listed = inputs if isinstance(inputs, list) else []
            names = [str(i.get("inputName")) for i in listed if isinstance(i, dict)]
            raise UserError(
                f"OBS has no input {input_name!r}; it has: {', '.join(names) or 'none'}"
            )
        why = status.get("comment") or f"code {status.get('code')}"
        raise UserError(f"OBS does not set the delay of {input_name!r}: {why}")

    def _request(self, kind: str, data: dict[str, object]) -> tuple[dict[str, Any], dict[str, Any]]:
        self._requests += 1
        wanted = str(self._requests)
        self._send(_REQUEST, {"requestType": kind, "requestId": wanted, "requestData": data})
        while True:
            answer = self._receive(_RESPONSE)
            if answer.get("requestId") == wanted:
                status, found = answer.get("requestStatus"), answer.get("responseData") or {}
                if not isinstance(status, dict) or not isinstance(found, dict):
                    raise _strange()
                return status, found

    def _send(self, op: int, data: dict[str, object]) -> None:
        self._socket.send(json.dumps({"op": op, "d": data}))

    def _receive(self, op: int) -> dict[str, Any]:
        """The next message of this kind; others are passed over."""
        while True:
            try:
                raw = self._socket.recv(timeout=max(0.0, self._until - time.monotonic()))
                message = json.loads(raw)
            except (ValueError, RecursionError) as error:
                raise _strange() from error
            if not isinstance(message, dict) or not isinstance(message.get("d"), dict):
                raise _strange()
            if message.get("op") == op:
                return dict(message["d"])


def _strange() -> UserError:
    return UserError("what answers there does not speak as OBS does: check the address and port")
