"""Torch: for NVIDIA GPUs that TensorRT for RTX does not serve, and the numeric reference.

Needs torch, which the live loop otherwise does without, so this module is imported by name and
only where it is tried. On a GPU one CUDA graph holds a frame's copies and the whole network.
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
from engines.graph import FRAME_INPUTS, OUTPUT, Graph
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
        self._device = torch.device(device)
        # As a whole: the graph has grids of its own beside the network's weights.
        module = GeneratorGraph(network_of(weights), half=body == "f16").to(self._device).eval()
        self._module: GeneratorGraph | None = module
        if device == "cuda":
            if body == "f32":  # TF32 convolutions have f16's precision
                torch.backends.cudnn.allow_tf32 = False
            module.generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        name = torch.cuda.get_device_name() if device == "cuda" else "CPU"
        self.info = RuntimeInfo(NAME, torch.__version__, name, body)
        self._buffers = HostBuffers(graph)
        pinned = device == "cuda"
        self._host = {n: torch.from_numpy(a) for n, a in self._buffers.arrays.items()}
        if pinned:
            self._host = {n: t.pin_memory() for n, t in self._host.items()}
            self._buffers.arrays.update({n: t.numpy() for n, t in self._host.items()})
        self._inputs = {n: t.to(self._device, copy=pinned) for n, t in self._host.items()}
        shape = graph.outputs[OUTPUT].shape
        self._picture = torch.zeros(shape, dtype=torch.uint8, pin_memory=pinned)
        self._cuda_graph: Any = None
        if device == "cuda":
            self._capture()

    def set_portrait(self, tensors: PortraitTensors) -> None:
        """See engines.contract.Generator."""
        self._buffers.put_portrait(tensors)
        for name in PORTRAIT_TENSORS:
            self._inputs[name].copy_(self._host[name])

    def generate(self, image: LandmarkImage) -> NDArray[np.uint8]:
        """See engines.contract.Generator."""
        if self._module is None:
            raise EngineFailed("This generator was closed.")
        self._buffers.put_frame(image)
        return self.repeat()

    def repeat(self) -> NDArray[np.uint8]:
        """The last landmark image once more: the engine without what is around it, to measure."""
        assert self._module is not None
        try:
            if self._cuda_graph is not None:
                self._cuda_graph.replay()
                torch.cuda.current_stream().synchronize()
            else:
                self._run(self._module)
        except RuntimeError as error:
            raise EngineFailed(f"torch failed on {self.info.device}: {error}") from error
        picture: NDArray[np.uint8] = self._picture.numpy()
        return picture

    def close(self) -> None:
        """See engines.contract.Generator."""
        self._cuda_graph = None
        self._module = None
        self._inputs.clear()

    @torch.no_grad()
    def _run(self, module: GeneratorGraph) -> None:
        """One frame: landmark image up, network, picture down (all of it in one CUDA graph)."""
        if self._device.type == "cuda":
            for name in FRAME_INPUTS:
                self._inputs[name].copy_(self._host[name], non_blocking=True)
        painted: Tensor = module(
            *(self._inputs[n] for n in FRAME_INPUTS), *(self._inputs[n] for n in PORTRAIT_TENSORS)
        )
        self._picture.copy_(painted, non_blocking=True)

    def _capture(self) -> None:
        assert self._module is not None
        try:
            stream: Any = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            with torch.cuda.stream(stream):
                for _ in range(_WARM_UP_FRAMES):
                    self._run(self._module)
            stream.synchronize()
            self._cuda_graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._cuda_graph, stream=stream):
                self._run(self._module)
        except RuntimeError as error:
            raise RuntimeUnavailable(f"torch cannot run on {self.info.device}: {error}") from error
