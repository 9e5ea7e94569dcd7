"""Torch: for NVIDIA GPUs that TensorRT for RTX does not serve, and the numeric reference.

Needs torch, which the live loop otherwise does without, so this module is imported by name and
only where it is tried. On a GPU one CUDA graph holds a frame's copies and the whole network; there
is one for each of two sets of page-locked memory, so that a frame can be laid ready and queued
while the one before it is computed. torch.compile is left out: it loads Triton, which crashes a
process that MediaPipe has brought Mesa's LLVM into, as it does wherever there is a display.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engines.contract import (
    EngineFailed,
    LandmarkImage,
    PortraitTensors,
    RuntimeInfo,
    RuntimeUnavailable,
)
from engines.deploy import GeneratorGraph
from engines.graph import FRAME_INPUTS, Graph
from engines.in_turn import SLOTS, Slots
from engines.inputs import HostBuffers
from engines.network import PORTRAIT_TENSORS, network_of
from engines.weights import Weights

NAME = "torch"
_WARM_UP_FRAMES = 3


class TorchGenerator:
    """A tier's network in torch. `device` is 'cuda' (float16 body) or 'cpu' (float32)."""

    def __init__(
        self, graph: Graph, weights: Weights, *, device: str, precision: str = "auto"
    ) -> None:
        if device == "cuda" and not torch.cuda.is_available():
            raise RuntimeUnavailable(
                "This torch cannot use an NVIDIA GPU here: it was built without CUDA, or the "
                "driver is older than it needs."
            )
        body = ("f16" if device == "cuda" else "f32") if precision == "auto" else precision
        if body not in ("f32", "f16") or (body == "f16" and device == "cpu"):
            raise RuntimeUnavailable(f"The torch runtime has no precision {body!r} on {device}.")
        self.spec = graph.spec
        self._on_gpu = device == "cuda"
        # As a whole: the graph has grids of its own beside the network's weights.
        module = GeneratorGraph(network_of(weights), half=body == "f16").to(device).eval()
        self._module: GeneratorGraph | None = module
        if self._on_gpu:
            if body == "f32":  # TF32 convolutions have f16's precision
                torch.backends.cudnn.allow_tf32 = False
            module.generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        name = torch.cuda.get_device_name() if self._on_gpu else "CPU"
        self.info = RuntimeInfo(NAME, torch.__version__, name, body)
        self._buffers = HostBuffers(graph, SLOTS, _page_locked if self._on_gpu else None)
        self._slots = Slots()
        self._frames = [tensors_of(arrays) for arrays in self._buffers.frames]
        self._pictures = [torch.from_numpy(array) for array in self._buffers.pictures]
        self._portrait = tensors_of(self._buffers.portrait)
        self._frame: dict[str, Tensor] = {}  # on the GPU
        self._graphs: list[Any] = []
        self._done: list[Any] = []
        if self._on_gpu:
            self._portrait = {n: t.to(device) for n, t in self._portrait.items()}
            self._frame = {n: t.to(device) for n, t in self._frames[0].items()}
            self._capture()

    def set_portrait(self, tensors: PortraitTensors) -> None:
        """See engines.contract.Generator."""
        self._buffers.put_portrait(tensors)
        if self._on_gpu:
            for name, array in self._buffers.portrait.items():
                self._portrait[name].copy_(torch.from_numpy(array))

    def generate(self, image: LandmarkImage) -> NDArray[np.uint8]:
        """See engines.contract.Generator."""
        self.begin(image)
        return self.finish()

    def begin(self, image: LandmarkImage) -> None:
        """See engines.contract.Generator. A CPU computes in `finish`."""
        if self._module is None:
            raise EngineFailed("This generator was closed.")
        slot = self._slots.free
        self._buffers.put_frame(image, slot)
        self._queue(slot)
        self._slots.fill()

    def finish(self) -> NDArray[np.uint8]:
        """See engines.contract.Generator."""
        return self._fetch(self._slots.empty())

    def repeat(self) -> NDArray[np.uint8]:
        """The landmark image of a slot once more: the engine without what is around it, to
        measure."""
        self._queue(0)
        return self._fetch(0)

    def close(self) -> None:
        """See engines.contract.Generator."""
        self._graphs.clear()
        self._module = None
        self._portrait.clear()
        self._frame.clear()

    def _queue(self, slot: int) -> None:
        if not self._on_gpu:
            return
        try:
            self._graphs[slot].replay()
            self._done[slot].record()
        except RuntimeError as error:
            raise EngineFailed(f"torch failed on {self.info.device}: {error}") from error

    def _fetch(self, slot: int) -> NDArray[np.uint8]:
        if self._module is None:
            raise EngineFailed("This generator was closed.")
        try:
            if self._on_gpu:
                self._done[slot].synchronize()
            else:
                self._run(self._module, slot)
        except RuntimeError as error:
            raise EngineFailed(f"torch failed on {self.info.device}: {error}") from error
        return self._buffers.pictures[slot]

    @torch.no_grad()
    def _run(self, module: GeneratorGraph, slot: int) -> None:
        """One frame: landmark image up, network, picture down (all of it in one CUDA graph)."""
        frame = self._frames[slot]
        if self._on_gpu:
            for name in FRAME_INPUTS:
                self._frame[name].copy_(frame[name], non_blocking=True)
            frame = self._frame
        painted: Tensor = module(
            *(frame[n] for n in FRAME_INPUTS), *(self._portrait[n] for n in PORTRAIT_TENSORS)
        )
        self._pictures[slot].copy_(painted, non_blocking=True)

    def _capture(self) -> None:
        """One graph for every slot. They are replayed one after the other on one stream, so they
        may work in the same memory."""
        assert self._module is not None
        try:
            stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            with torch.cuda.stream(stream):
                for _ in range(_WARM_UP_FRAMES):
                    self._run(self._module, 0)
            stream.synchronize()
            for slot in range(SLOTS):
                graph = torch.cuda.CUDAGraph()
                pool = self._graphs[0].pool() if self._graphs else None
                with torch.cuda.graph(graph, pool=pool, stream=stream):
                    self._run(self._module, slot)
                self._graphs.append(graph)
                self._done.append(torch.cuda.Event())  # type: ignore[no-untyped-call]
        except RuntimeError as error:
            raise RuntimeUnavailable(f"torch cannot run on {self.info.device}: {error}") from error


def tensors_of(arrays: dict[str, NDArray[Any]]) -> dict[str, Tensor]:
    """On the same memory."""
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _page_locked(shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    like = torch.from_numpy(np.zeros(0, dtype))
    array: NDArray[Any] = torch.zeros(shape, dtype=like.dtype, pin_memory=True).numpy()
    return array
