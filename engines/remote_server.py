"""The far side of a remote generator: what a server of the open inference protocol runs.

`engines.repository` writes a model for Triton's Python backend whose few lines call this. The
generator is chosen there as everywhere (TensorRT, torch, OpenVINO, ...), passes the same parity
gate, and portraits are kept by their hash, so that one server plays for several laptops.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines.cache import EngineCache
from engines.contract import Generator, PortraitTensors
from engines.runtimes import open_generator
from engines.wire import WireError, pack_picture, unpack_frame, unpack_portrait

WEIGHTS = "weights.safetensors"
ENGINES = "engines"
MAX_PORTRAITS = 8
"""Kept at once; each is some MB, the one used longest ago goes first."""
KEY_BYTES = 32
PORTRAIT_UNKNOWN = "portrait unknown"

Bytes = NDArray[np.uint8]


class PortraitUnknown(LookupError):
    """The client must send the portrait's tensors once."""


class PortraitServer:
    """Answers requests one after the other. Used by one thread at a time; closes nothing."""

    def __init__(self, generator: Generator) -> None:
        self._generator = generator
        self._portraits: OrderedDict[str, PortraitTensors] = OrderedDict()
        self._on_device: str | None = None
        self._info = np.frombuffer(json.dumps(asdict(generator.info)).encode(), np.uint8)

    def answer(self, inputs: Mapping[str, Bytes]) -> dict[str, Bytes]:
        """portrait_key (32,), and packed by engines.wire: portrait (once), contours, motion.

        Gives 'picture', packed, and 'info', JSON of the RuntimeInfo that really runs. Raises
        PortraitUnknown, WireError and SpecMismatch (the request is wrong), EngineFailed.
        """
        if inputs["portrait_key"].shape != (KEY_BYTES,):
            raise WireError("The portrait's key is not a SHA-256.")
        self._take_portrait(inputs["portrait_key"].tobytes().hex(), inputs.get("portrait"))
        frame = {n: inputs[n] for n in ("contours", "motion") if n in inputs}
        picture = self._generator.generate(unpack_frame(frame))
        return {"picture": pack_picture(picture), "info": self._info}

    def _take_portrait(self, key: str, sent: Bytes | None) -> None:
        if key == self._on_device:
            return
        tensors = self._portraits.get(key)
        if tensors is None:
            if sent is None:
                raise PortraitUnknown(PORTRAIT_UNKNOWN)
            tensors = unpack_portrait(sent, key)
        self._on_device = None
        self._generator.set_portrait(tensors)  # refuses what does not fit this generator
        self._on_device = key
        self._portraits[key] = tensors
        self._portraits.move_to_end(key)
        while len(self._portraits) > MAX_PORTRAITS:
            self._portraits.popitem(last=False)


def open_server(folder: Path) -> PortraitServer:
    """The server of an exported model's version folder. Raises what open_generator raises."""
    engines = folder / ENGINES
    cache = EngineCache(engines) if engines.is_dir() else EngineCache()
    weights = folder / WEIGHTS
    if weights.is_file():
        return PortraitServer(open_generator(weights=weights, cache=cache))
    return PortraitServer(open_generator("coarse", cache=cache))
