"""A real WebSocket server that shakes hands as obs-websocket 5 does, standing in for OBS."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from websockets.sync.server import ServerConnection, serve

PASSWORD = "correct horse"


class Obs:
    """Inputs with their offsets, behind the protocol's hello, identify and requests."""

    def __init__(self, password: str | None = PASSWORD, *, subscribed: bool = True) -> None:
        """`subscribed`: sends an event before each answer, as to a client that wants events."""
        self.password = password
        self.subscribed = subscribed
        self.offsets = {"Mic/Aux": 0, "Desktop": 0}
        self.port = 0

    def talk(self, socket: ServerConnection) -> None:
        hello: dict[str, Any] = {"obsWebSocketVersion": "5.5.2", "rpcVersion": 1}
        if self.password is not None:
            hello["authentication"] = {"challenge": "c+/=", "salt": "s="}
        socket.send(json.dumps({"op": 0, "d": hello}))
        identify = json.loads(socket.recv())
        assert identify["op"] == 1
        assert identify["d"]["rpcVersion"] == 1
        if self.password is not None:
            secret = base64.b64encode(hashlib.sha256((self.password + "s=").encode()).digest())
            wanted = base64.b64encode(hashlib.sha256(secret + b"c+/=").digest()).decode()
            if identify["d"].get("authentication") != wanted:
                socket.close(4009, "Authentication failed.")
                return
        socket.send(json.dumps({"op": 2, "d": {"negotiatedRpcVersion": 1}}))
        for raw in socket:
            request = json.loads(raw)["d"]
            if self.subscribed:
                socket.send(json.dumps({"op": 5, "d": {"eventType": "SomethingElse"}}))
            socket.send(json.dumps({"op": 7, "d": self.answer(request)}))

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        kind, data = request["requestType"], request["requestData"]
        answer = {"requestType": kind, "requestId": request["requestId"]}
        good = {"result": True, "code": 100}
        if kind == "GetInputList":
            inputs = [{"inputName": name} for name in self.offsets]
            return {**answer, "requestStatus": good, "responseData": {"inputs": inputs}}
        assert kind == "SetInputAudioSyncOffset"
        if data["inputName"] not in self.offsets:
            return {**answer, "requestStatus": {"result": False, "code": 600, "comment": "none"}}
        self.offsets[data["inputName"]] = data["inputAudioSyncOffset"]
        return {**answer, "requestStatus": good}


@contextmanager
def serving(talk: Callable[[ServerConnection], None]) -> Iterator[int]:
    with serve(talk, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.socket.getsockname()[1]
        server.shutdown()
        thread.join(5)
