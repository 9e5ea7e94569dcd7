"""TensorRT and TensorRT for RTX: the fastest way on an NVIDIA GPU.

Buffers are made once; a portrait stays on the device; a frame is one upload, one graph launch and
one download from and to page-locked memory, all queued on one stream. There are two sets of
page-locked memory, so that a frame can be laid ready and queued while the one before it is
computed. The build half (engines.build) is tested without a GPU; this half needs a supported GPU
to run.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.build import CLASSIC, RTX, cached_engine, load_module, shared_logger
from engines.cache import CacheKey, EngineCache
from engines.contract import (
    EngineFailed,
    LandmarkImage,
    PortraitTensors,
    RuntimeInfo,
    RuntimeUnavailable,
)
from engines.cuda import Device
from engines.graph import OUTPUT, Graph
from engines.in_turn import SLOTS, Slots
from engines.inputs import HostBuffers
from engines.nvidia import Gpu, check_driver, find_gpu

RTX_CAPABILITIES = ((7, 5), (8, 0), (8, 6), (8, 9), (12, 0), (12, 1))
"""GPUs that TensorRT for RTX serves; not Hopper (9.0), not B200 (10.0)."""


def explain_missing(module: str) -> Gpu:
    """The GPU, or RuntimeUnavailable with what is missing for this module."""
    gpu = find_gpu()
    if module == RTX and gpu.capability not in RTX_CAPABILITIES:
        raise RuntimeUnavailable(
            f"TensorRT for RTX does not serve the {gpu.name} ({gpu.architecture}). "
            "Classic TensorRT or torch does."
        )
    check_driver(gpu, module)
    load_module(module)
    return gpu


class TensorRtGenerator:
    """A generator in a TensorRT engine, from the cache or built now. `module` is RTX or CLASSIC."""

    def __init__(self, graph: Graph, cache: EngineCache, *, module: str) -> None:
        gpu = explain_missing(module)
        self.spec, self._graph, self._cache = graph.spec, graph, cache
        data, self._key = cached_engine(graph, cache, module=module, targets=(gpu.architecture,))
        self._slots = Slots()
        self._launches: list[ctypes.c_void_p] = []
        self._runtime: Any = None
        self._engine: Any = None
        self._context: Any = None
        self._device = Device()
        try:
            self._open(data, module, gpu)
        except BaseException:
            self.close()  # what it holds of the GPU another runtime may need
            raise

    def _open(self, data: bytes, module: str, gpu: Gpu) -> None:
        trt, graph, log = load_module(module), self._graph, shared_logger(module)
        self._runtime = trt.Runtime(log)
        self._engine = self._runtime.deserialize_cuda_engine(data)
        if self._engine is None:
            self.discard_cached()
            raise RuntimeUnavailable(
                f"{module} {trt.__version__} does not load its engine on the {gpu.name}: "
                f"{log.last_error() or 'no reason given'}. Is the driver new enough?"
            )
        self._context = self._make_context(trt, module, graph, gpu)
        if self._context is None:
            raise RuntimeUnavailable(
                f"{module} cannot make the {graph.spec.tier} generator ready on the {gpu.name}: "
                f"{log.last_error() or 'no reason given'}. Other programs may hold its memory."
            )
        self.info = RuntimeInfo(module, trt.__version__, gpu.name, graph.body)
        self._buffers = HostBuffers(graph, SLOTS, self._device.pinned)
        self._addresses = self._bind(graph)
        self._done = [self._device.event() for _ in range(SLOTS)]
        if module == CLASSIC:  # TensorRT for RTX keeps its own CUDA graphs
            self._launches = [self._capture(slot) for slot in range(SLOTS)]

    def set_portrait(self, tensors: PortraitTensors) -> None:
        """See engines.contract.Generator."""
        self._buffers.put_portrait(tensors)
        self._device.make_current()
        for name, array in self._buffers.portrait.items():
            self._device.upload(self._addresses[name], array)
        self._device.synchronize()

    def generate(self, image: LandmarkImage) -> NDArray[np.uint8]:
        """See engines.contract.Generator."""
        self.begin(image)
        return self.finish()

    def begin(self, image: LandmarkImage) -> None:
        """See engines.contract.Generator. Queued behind the picture at work, if there is one."""
        if self._context is None:
            raise EngineFailed("This generator was closed.")
        slot = self._slots.free
        self._buffers.put_frame(image, slot)
        self._device.make_current()
        self._queue(slot)
        self._slots.fill()

    def finish(self) -> NDArray[np.uint8]:
        """See engines.contract.Generator."""
        slot = self._slots.empty()
        if self._context is None:
            raise EngineFailed("This generator was closed.")
        self._device.make_current()
        self._device.wait(self._done[slot])
        return self._buffers.pictures[slot]

    def repeat(self) -> NDArray[np.uint8]:
        """The landmark image of a slot once more: the engine without what is around it, to
        measure."""
        self._queue(0)
        self._device.wait(self._done[0])
        return self._buffers.pictures[0]

    def close(self) -> None:
        """See engines.contract.Generator."""
        self._context = None
        self._engine = None
        self._runtime = None
        self._device.close()

    def discard_cached(self) -> None:
        """Throws the cached engine away, so that the next one is built."""
        self._cache.discard(self._key)

    def _queue(self, slot: int) -> None:
        """A whole frame, and a mark behind it."""
        if self._launches:
            self._device.launch(self._launches[slot])
        else:
            self._queue_frame(slot)
        self._device.record(self._done[slot])

    def _queue_frame(self, slot: int) -> None:
        for name, array in self._buffers.frames[slot].items():
            self._device.upload(self._addresses[name], array)
        if not self._context.execute_async_v3(self._device.stream):
            raise EngineFailed(f"TensorRT failed on {self.info.device}.")
        self._device.download(self._buffers.pictures[slot], self._addresses[OUTPUT])

    def _capture(self, slot: int) -> ctypes.c_void_p:
        self._queue_frame(slot)  # the first run sets things up that a capture must not hold
        self._device.synchronize()
        self._device.begin_capture()
        self._queue_frame(slot)
        return self._device.end_capture()

    def _bind(self, graph: Graph) -> dict[str, int]:
        """One address on the device per tensor, whichever slot it comes from: an engine that was
        captured for its addresses stays so."""
        addresses = {}
        for name, spec in (graph.inputs | graph.outputs).items():
            size = int(np.prod(spec.shape)) * spec.dtype.itemsize
            addresses[name] = self._device.allocate(size)
            self._context.set_tensor_address(name, addresses[name])
        return addresses

    def _make_context(self, trt: Any, module: str, graph: Graph, gpu: Gpu) -> Any:
        """An execution context, None where it cannot be; for RTX this compiles for the GPU, helped
        by the kept result."""
        if module != RTX:
            return self._engine.create_execution_context()
        config = self._engine.create_runtime_config()
        compiled = None if config is None else config.create_runtime_cache()
        if compiled is None:
            return None
        key = CacheKey(
            graph.sha256, "jit", module, trt.__version__, (gpu.architecture, gpu.name), graph.body
        )
        kept = self._cache.load(key)
        if kept is not None and not compiled.deserialize(kept):
            self._cache.discard(key)
            kept = None
        config.set_runtime_cache(compiled)
        config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        context = self._engine.create_execution_context(config)
        if context is not None and kept is None:
            self._cache.store(key, bytes(memoryview(compiled.serialize())))
        return context
