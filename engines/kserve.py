"""A client of the open inference protocol, version 2, over gRPC.

The protocol is served by NVIDIA Triton Inference Server, OpenVINO Model Server, KServe and
others. Its messages are described here by hand (grpc_predict_v2.proto of the KServe project,
package `inference`), because the generated stubs that can be had demand a protobuf that MediaPipe
does not take. What a server answers is bounded and checked before anything reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from engines.contract import EngineFailed, RuntimeUnavailable

Trouble: TypeAlias = Literal["late", "gone", "unknown", "refused"]
MAX_ANSWER_BYTES = 4 * 2**20
"""Of one answer; a raw 512x512 RGBA picture is 1 MB."""
MAX_REQUEST_BYTES = 256 * 2**20
_MAX_DETAILS = 240
_SERVICE = "/inference.GRPCInferenceService/"
_TLS = "grpcs://"

# Name: fields (name, number, type); "*" marks a repeated field, a capital a message of its own.
# Fields that nobody here reads are left out: protobuf steps over them.
_MESSAGES: Mapping[str, tuple[tuple[str, int, str], ...]] = {
    "Empty": (),
    "ServerMetadataResponse": (("name", 1, "string"), ("version", 2, "string")),
    "ModelReadyRequest": (("name", 1, "string"), ("version", 2, "string")),
    "ModelReadyResponse": (("ready", 1, "bool"),),
    "InferTensorContents": (("uint_contents", 4, "*uint32"),),
    "InferInputTensor": (("name", 1, "string"), ("datatype", 2, "string"), ("shape", 3, "*int64")),
    "InferRequestedOutputTensor": (("name", 1, "string"),),
    "ModelInferRequest": (
        ("model_name", 1, "string"),
        ("model_version", 2, "string"),
        ("id", 3, "string"),
        ("inputs", 5, "*InferInputTensor"),
        ("outputs", 6, "*InferRequestedOutputTensor"),
        ("raw_input_contents", 7, "*bytes"),
    ),
    "InferOutputTensor": (
        ("name", 1, "string"),
        ("datatype", 2, "string"),
        ("shape", 3, "*int64"),
        ("contents", 5, "InferTensorContents"),
    ),
    "ModelInferResponse": (
        ("model_name", 1, "string"),
        ("model_version", 2, "string"),
        ("id", 3, "string"),
        ("outputs", 5, "*InferOutputTensor"),
        ("raw_output_contents", 6, "*bytes"),
    ),
}
_CALLS = {
    "ServerMetadata": ("Empty", "ServerMetadataResponse"),
    "ModelReady": ("ModelReadyRequest", "ModelReadyResponse"),
    "ModelInfer": ("ModelInferRequest", "ModelInferResponse"),
}
_DATATYPES = {np.dtype(np.uint8): "UINT8", np.dtype(np.float32): "FP32"}


class CallFailed(EngineFailed):
    """A call that brought no usable answer.

    trouble: 'late' (no answer before the deadline), 'gone' (no connection), 'unknown' (the server
    does not have what was asked for), 'refused' (an error, or an answer that is not taken).
    """

    def __init__(self, message: str, trouble: Trouble) -> None:
        super().__init__(message)
        self.trouble: Trouble = trouble


@cache
def message_classes() -> Mapping[str, Any]:
    """The protocol's message classes by name, in a pool of their own."""
    from google.protobuf import (  # type: ignore[import-untyped]
        descriptor_pb2,
        descriptor_pool,
        message_factory,
    )

    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="webcam_puppet/grpc_predict_v2.proto", package="inference", syntax="proto3"
    )
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            entry = message.field.add(name=field, number=number)
            repeated = kind.startswith("*")
            entry.label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            kind = kind.removeprefix("*")
            if kind[0].isupper():
                entry.type, entry.type_name = kinds.TYPE_MESSAGE, f".inference.{kind}"
            else:
                entry.type = getattr(kinds, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    find = pool.FindMessageTypeByName
    return {n: message_factory.GetMessageClass(find(f"inference.{n}")) for n in _MESSAGES}


class KServeClient:
    """One connection to a server. Calls may come from several threads.

    server: HOST:PORT in plain text, or grpcs://HOST:PORT with TLS and the system's certificates.
    The environment's HTTP proxies are not used: landmarks go to this server or nowhere.
    """

    def __init__(self, server: str) -> None:
        """Does not connect yet. Raises RuntimeUnavailable: grpcio missing, no address."""
        try:
            import grpc
        except ImportError as error:
            raise RuntimeUnavailable(
                f"A remote generator needs grpcio, which does not load here ({error}). "
                'Run: pip install "webcam-puppet[remote]"'
            ) from error
        self.server = server
        address = server.removeprefix(_TLS)
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536 or "/" in address:
            raise RuntimeUnavailable(
                f"{server!r} is no server's address: write HOST:PORT, such as gpu-box:8001 "
                "(the server's gRPC port), or grpcs://HOST:PORT for an encrypted connection."
            )
        options = [
            ("grpc.max_receive_message_length", MAX_ANSWER_BYTES),
            ("grpc.max_send_message_length", MAX_REQUEST_BYTES),
            ("grpc.enable_http_proxy", 0),
            ("grpc.initial_reconnect_backoff_ms", 300),
            ("grpc.max_reconnect_backoff_ms", 3000),
        ]
        if server.startswith(_TLS):
            secure = grpc.ssl_channel_credentials()
            self._channel = grpc.secure_channel(address, secure, options)
        else:
            self._channel = grpc.insecure_channel(address, options)
        classes = message_classes()
        self._calls = {
            name: self._channel.unary_unary(
                _SERVICE + name,
                request_serializer=classes[asked].SerializeToString,
                response_deserializer=classes[answered].FromString,
            )
            for name, (asked, answered) in _CALLS.items()
        }
        self._compress = grpc.Compression.Gzip

    def server_name(self, timeout_s: float) -> str:
        """What the server calls itself, such as 'triton 2.51.0'. Raises CallFailed."""
        answer = self._call("ServerMetadata", message_classes()["Empty"](), timeout_s)
        return plain_text(f"{answer.name} {answer.version}", 60) or "unnamed server"

    def has_model(self, model: str, timeout_s: float) -> bool:
        """Whether the server has the model loaded and ready. Raises CallFailed."""
        request = message_classes()["ModelReadyRequest"](name=model)
        try:
            return bool(self._call("ModelReady", request, timeout_s).ready)
        except CallFailed as error:
            if error.trouble == "unknown":  # some servers answer so for a model they lack
                return False
            raise

    def infer(
        self,
        model: str,
        inputs: Mapping[str, NDArray[Any]],
        outputs: Sequence[str],
        timeout_s: float,
        *,
        compress: bool = False,
    ) -> dict[str, NDArray[np.uint8]]:
        """One inference: uint8 and float32 arrays up, uint8 arrays down, in the shapes that the
        server names (their sizes checked). A call that is late is cancelled. Raises CallFailed.

        compress: gzip the request, for servers that take plain tensors only.
        """
        classes = message_classes()
        request = classes["ModelInferRequest"](model_name=model)
        for name, array in inputs.items():
            request.inputs.add(name=name, datatype=_DATATYPES[array.dtype], shape=array.shape)
            request.raw_input_contents.append(array.tobytes())
        for name in outputs:
            request.outputs.add(name=name)
        answer = self._call("ModelInfer", request, timeout_s, compress=compress)
        return {name: _output(answer, name, self.server) for name in outputs}

    def close(self) -> None:
        """Drops the connection and calls under way; idempotent."""
        self._channel.close()

    def _call(self, name: str, request: Any, timeout_s: float, *, compress: bool = False) -> Any:
        import grpc

        compression = self._compress if compress else None
        try:
            return self._calls[name](request, timeout=timeout_s, compression=compression)
        except grpc.RpcError as error:
            raise _explained(error, self.server, timeout_s) from error
        except ValueError as error:  # the channel was closed by another thread
            raise CallFailed(f"The connection to {self.server} was closed.", "gone") from error


def plain_text(text: str, length: int) -> str:
    """A stranger's text for a message or a log: one line, printable, bounded."""
    return "".join(c if c.isprintable() else " " for c in text[:length]).strip()


def _explained(error: Any, server: str, timeout_s: float) -> CallFailed:
    import grpc

    code = error.code()
    details = plain_text(str(error.details() or ""), _MAX_DETAILS)
    if code == grpc.StatusCode.DEADLINE_EXCEEDED:
        return CallFailed(f"{server} did not answer within {timeout_s * 1000:.0f} ms.", "late")
    if code == grpc.StatusCode.NOT_FOUND or "unknown model" in details:
        return CallFailed(f"{server} does not have it: {details.rstrip('.')}.", "unknown")
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
        return CallFailed(
            f"{server} cannot be reached ({details}). Is the server running, and is this its gRPC "
            "port (Triton's is 8001)?",
            "gone",
        )
    if code == grpc.StatusCode.UNIMPLEMENTED:
        return CallFailed(f"{server} does not speak the open inference protocol, v2.", "refused")
    return CallFailed(f"{server} refused or answered nonsense ({code.name}: {details}).", "refused")


def _output(answer: Any, name: str, server: str) -> NDArray[np.uint8]:
    """One output of an answer as an array. Raises CallFailed for anything but sound bytes."""
    names = [output.name for output in answer.outputs]
    if names.count(name) != 1:
        raise CallFailed(f"{server} answered without the output {name!r}.", "refused")
    index = names.index(name)
    output = answer.outputs[index]
    shape = tuple(output.shape)
    if output.datatype != "UINT8" or len(shape) > 4 or not all(0 <= n < 2**24 for n in shape):
        raise CallFailed(
            f"{server} answered {name!r} as {plain_text(output.datatype, 16)}{list(shape)[:4]}, "
            "not as bytes.",
            "refused",
        )
    if len(answer.raw_output_contents) == len(names):
        data = np.frombuffer(answer.raw_output_contents[index], np.uint8)
    else:
        listed = np.array(output.contents.uint_contents, np.uint32)
        if listed.size and int(listed.max()) > 255:
            raise CallFailed(f"{server} answered {name!r} with numbers beyond a byte.", "refused")
        data = listed.astype(np.uint8)
    wanted = 1
    for n in shape:
        wanted *= n
    if data.size != wanted:
        raise CallFailed(
            f"{server} answered {name!r} with {data.size} bytes for the shape {list(shape)}.",
            "refused",
        )
    return data.reshape(shape)
