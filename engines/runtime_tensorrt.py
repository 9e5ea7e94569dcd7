"""TensorRT and TensorRT for RTX: the fastest way on an NVIDIA GPU.

Buffers are made once; a portrait stays on the device; a frame is one upload, one graph launch and
one download from and to page-locked memory. The build half (engines.build) is tested without a
GPU; this half needs a supported GPU to run.
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
        self._buffers = HostBuffers(graph)
        self._launch: ctypes.c_void_p | None = None
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
        self._addresses = self._bind(graph)
        if module == CLASSIC:  # TensorRT for RTX keeps its own CUDA graphs
            self._launch = self._capture()

    def set_portrait(self, tensors: PortraitTensors) -> None:
        """See engines.contract.Generator."""
        self._buffers.put_portrait(tensors)
        self._device.make_current()
        for name in self._graph.portrait_inputs:
            self._device.upload(self._addresses[name], self._buffers.arrays[name])
        self._device.synchronize()

    def generate(self, image: LandmarkImage) -> NDArray[np.uint8]:
        """See engines.contract.Generator."""
        if self._context is None:
            raise EngineFailed("This generator was closed.")
        self._buffers.put_frame(image)
        self._device.make_current()
        return self.repeat()

    def repeat(self) -> NDArray[np.uint8]:
        """The last landmark image once more: the engine without what is around it, to measure."""
        if self._launch is not None:
            self._device.launch(self._launch)
        else:
            self._queue_frame()
        self._device.synchronize()
        return self._picture

    def close(self) -> None:
        """See engines.contract.Generator."""
        self._context = None
        self._engine = None
        self._runtime = None
        self._device.close()

    def discard_cached(self) -> None:
        """Throws the cached engine away, so that the next one is built."""
        self._cache.discard(self._key)

    def _queue_frame(self) -> None:
        for name in self._graph.frame_inputs:
            self._device.upload(self._addresses[name], self._buffers.arrays[name])
        if not self._context.execute_async_v3(self._device.stream):
            raise EngineFailed(f"TensorRT failed on {self.info.device}.")
        self._device.download(self._picture, self._addresses[OUTPUT])

    def _capture(self) -> ctypes.c_void_p:
        self._queue_frame()  # the first run sets things up that a capture must not hold
        self._device.synchronize()
        self._device.begin_capture()
        self._queue_frame()
        return self._device.end_capture()

    def _bind(self, graph: Graph) -> dict[str, int]:
        addresses = {}
        for name, spec in (graph.inputs | graph.outputs).items():
            array = self._device.pinned(spec.shape, spec.dtype)
            addresses[name] = self._device.allocate(array.nbytes)
            self._context.set_tensor_address(name, addresses[name])
            if name == OUTPUT:
                self._picture: NDArray[np.uint8] = array
            else:
                self._buffers.arrays[name] = array
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
