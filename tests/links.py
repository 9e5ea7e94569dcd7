"""Links and servers that misbehave: a throttled connection, a server that answers nonsense."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import numpy as np

from engines.kserve import message_classes


class Link:
    """A connection to `port` of this machine that can be made slow, or cut, in both directions."""

    def __init__(self, port: int) -> None:
        self.rate: float | None = None
        """Bytes per second and direction; None is as fast as it goes."""
        self._target = port
        self._cut = False
        self._ends: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """What is connected breaks off, and nothing connects any more."""
        self._cut = True
        while self._ends:
            _drop(self._ends.pop())

    def mend(self) -> None:
        self._cut = False

    def close(self) -> None:
        self.cut()
        _drop(self._listener)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if self._cut:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self._target))
            self._ends += [near, far]
            for ends in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(8192):
                if self.rate is not None:
                    time.sleep(len(data) / self.rate)
                sink.sendall(data)
        _drop(source)
        _drop(sink)


def _drop(end: socket.socket) -> None:
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()


class Impostor:
    """A gRPC server that says it serves every model and answers inferences with `reply`.

    `reply` makes the bytes of the message from the request.
    """

    def __init__(self, reply: Callable[[Any], bytes]) -> None:
        import grpc

        classes = message_classes()
        self.requests: list[Any] = []

        def infer(data: bytes, _: Any) -> bytes:
            self.requests.append(classes["ModelInferRequest"].FromString(data))
            return reply(self.requests[-1])

        answers: dict[str, Callable[[bytes, Any], bytes]] = {
            "ServerMetadata": lambda *_: classes["ServerMetadataResponse"](
                name="im\npostor\x1b[31m" + "x" * 500, version="1"
            ).SerializeToString(),
            "ModelReady": lambda *_: classes["ModelReadyResponse"](ready=True).SerializeToString(),
            "ModelInfer": infer,
        }
        handlers = {n: grpc.unary_unary_rpc_method_handler(f) for n, f in answers.items()}
        service = "inference.GRPCInferenceService"
        self._server = grpc.server(
            ThreadPoolExecutor(2), options=[("grpc.max_send_message_length", -1)]
        )
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, handlers),)
        )
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def close(self) -> None:
        self._server.stop(None)


def answer(**outputs: tuple[str, tuple[int, ...], bytes]) -> bytes:
    """A ModelInferResponse of (datatype, shape, bytes) by name."""
    message = message_classes()["ModelInferResponse"](model_name="any")
    for name, (datatype, shape, data) in outputs.items():
        message.outputs.add(name=name, datatype=datatype, shape=shape)
        message.raw_output_contents.append(data)
    return bytes(message.SerializeToString())


def bytes_answer(**outputs: Any) -> bytes:
    """The same for plain bytes or uint8 arrays."""
    arrays = {n: np.frombuffer(bytes(d), np.uint8) for n, d in outputs.items()}
    return answer(**{n: ("UINT8", a.shape, a.tobytes()) for n, a in arrays.items()})
