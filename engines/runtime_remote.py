"""A generator on another machine, over the open inference protocol (see engines.kserve).

Two kinds of server are taken, and recognised by the name of the model they serve:

- one that runs webcam-puppet's own model (engines.remote_server): landmark images go up packed, a
  few kB each, pictures come back as JPEG with an exact matte; the portrait's tensors go up once
  and are known by their hash from then on;
- any other server of the protocol, with a graph that holds the portrait: plain tensors, gzipped by
  gRPC where both ends do that.

Both are written by `puppet export-model-repository`.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.contract import (
    EngineFailed,
    GeneratorSpec,
    LandmarkImage,
    PortraitTensors,
    RuntimeInfo,
    RuntimeUnavailable,
)
from engines.graph import FRAME_INPUTS, OUTPUT, Graph
from engines.inputs import HostBuffers
from engines.kserve import CallFailed, KServeClient, plain_text
from engines.wire import WireError, pack_frame, pack_portrait, portrait_key, unpack_picture

NAME = "remote"
DEADLINE_S = 0.1
"""Of a frame: at 30 pictures per second, three frames old."""
SETUP_DEADLINE_S = 30.0
"""Of sending a portrait, some MB, over a slow link."""
_ASK_DEADLINE_S = 3.0


def served_name(spec: GeneratorSpec, portrait: str | None = None) -> str:
    """The model's name on a server: tier and weights, and the portrait's hash where it is baked
    in. A server that has other weights has no model of this name."""
    name = f"puppet-{spec.tier}-{spec.weights_sha256[:12]}"
    return name if portrait is None else f"{name}-{portrait[:12]}"


class RemoteGenerator:
    """A generator on a server. `graph` is the local one of the same weights: it says what the
    inputs are. Raises EngineFailed for every frame that does not come in time; see
    engines.remote for the way back to the local generator."""

    def __init__(self, graph: Graph, server: str, *, deadline_s: float = DEADLINE_S) -> None:
        """Connects. Raises RuntimeUnavailable: no server there, or it is none of the protocol."""
        self.spec = graph.spec
        self._names = tuple(graph.frame_inputs)
        self._checked = HostBuffers(graph)
        self._deadline_s = deadline_s
        self._client = KServeClient(server)
        try:
            self._server_name = self._client.server_name(_ASK_DEADLINE_S)
            self._packed = self._client.has_model(served_name(graph.spec), _ASK_DEADLINE_S)
        except CallFailed as error:
            self._client.close()
            raise RuntimeUnavailable(str(error)) from error
        self._model = served_name(graph.spec)
        self._key: str | None = None
        self._picture: NDArray[np.uint8] = np.zeros(graph.outputs[OUTPUT].shape, np.uint8)
        self.info = self._describe("as served")

    def set_portrait(self, tensors: PortraitTensors) -> None:
        """See engines.contract.Generator. Sends the tensors if the server does not know them:
        takes as long as the link needs for some MB. Raises SpecMismatch, EngineFailed."""
        self._checked.put_portrait(tensors)
        key = portrait_key(tensors)
        self._packed = self._client.has_model(served_name(self.spec), _ASK_DEADLINE_S)
        if self._packed:
            self._model = served_name(self.spec)
            self._introduce(tensors, key)
        else:
            self._model = served_name(self.spec, key)
            if not self._client.has_model(self._model, _ASK_DEADLINE_S):
                raise CallFailed(
                    f"{self._client.server} serves neither {served_name(self.spec)!r} nor "
                    f"{self._model!r}. Write them with 'puppet export-model-repository' and let "
                    "the server load them.",
                    "unknown",
                )
            # The first one may compile.
            self._infer(self._checked.frames[0], (OUTPUT,), SETUP_DEADLINE_S)
            self.info = self._describe("as served")
        self._key = key

    def generate(self, image: LandmarkImage) -> NDArray[np.uint8]:
        """See engines.contract.Generator. Raises EngineFailed when no sound picture comes before
        the deadline; that call is cancelled, so no older picture can follow a newer one."""
        if self._key is None:
            raise EngineFailed("No portrait was set on the remote generator.")
        self._checked.put_frame(image)
        if self._packed:
            inputs = {**_key_input(self._key), **pack_frame(image, self._names)}
            answer = self._infer(inputs, (OUTPUT,), self._deadline_s)
            self._unpack(answer[OUTPUT])
            return self._picture
        answer = self._infer(self._checked.frames[0], (OUTPUT,), self._deadline_s, compress=True)
        if answer[OUTPUT].shape != self._picture.shape:
            raise CallFailed(
                f"{self._client.server} answered a picture of {list(answer[OUTPUT].shape)}.",
                "refused",
            )
        np.copyto(self._picture, answer[OUTPUT])
        return self._picture

    def close(self) -> None:
        """See engines.contract.Generator."""
        self._client.close()

    def _introduce(self, tensors: PortraitTensors, key: str) -> None:
        """Makes the portrait known to the server, and reads what runs there."""
        inputs = {**_key_input(key), **pack_frame(_STILL, self._names)}
        try:
            answer = self._infer(inputs, (OUTPUT, "info"), SETUP_DEADLINE_S)
        except CallFailed as error:
            if error.trouble != "unknown":
                raise
            inputs["portrait"] = pack_portrait(tensors)
            answer = self._infer(inputs, (OUTPUT, "info"), SETUP_DEADLINE_S)
        self._unpack(answer[OUTPUT])
        self.info = self._read_info(answer["info"])

    def _infer(
        self,
        inputs: dict[str, NDArray[Any]],
        outputs: tuple[str, ...],
        timeout_s: float,
        *,
        compress: bool = False,
    ) -> dict[str, NDArray[np.uint8]]:
        return self._client.infer(self._model, inputs, outputs, timeout_s, compress=compress)

    def _unpack(self, data: NDArray[np.uint8]) -> None:
        try:
            unpack_picture(data.reshape(-1), self._picture)
        except WireError as error:
            raise CallFailed(f"{self._client.server}: {error}", "refused") from error

    def _describe(self, precision: str, running: str = "") -> RuntimeInfo:
        device = f"{self._client.server} ({running})" if running else self._client.server
        return RuntimeInfo(NAME, self._server_name, device, precision)

    def _read_info(self, data: NDArray[np.uint8]) -> RuntimeInfo:
        """What the server says runs there; a stranger's words, so kept short."""
        try:
            said = json.loads(data.tobytes()[:4096])
            words = {n: plain_text(str(said[n]), 80) for n in ("runtime", "version", "device")}
            precision = plain_text(str(said["precision"]), 8)
        except (ValueError, KeyError, TypeError, RecursionError):
            return self._describe("unknown")
        return self._describe(
            precision, f"{words['runtime']} {words['version']} on {words['device']}"
        )


def _key_input(key: str) -> dict[str, NDArray[np.uint8]]:
    return {"portrait_key": np.frombuffer(bytes.fromhex(key), np.uint8)}


_STILL = LandmarkImage(*(np.zeros(shape, dtype) for shape, dtype in FRAME_INPUTS.values()))
