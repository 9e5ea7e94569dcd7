"""The few calls of the CUDA driver that a TensorRT engine needs, without a framework.

Streams, device and pinned memory, copies and graphs, straight from the driver's library (CUDA
Driver API, cuda.h). Everything here needs an NVIDIA GPU to run.
"""

from __future__ import annotations

import ctypes
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.contract import EngineFailed, RuntimeUnavailable

_THREAD_LOCAL_CAPTURE = 1
_NON_BLOCKING = 1
_NO_TIMING = 2


class Device:
    """The first GPU's primary context and one stream. close() frees all it allocated."""

    def __init__(self) -> None:
        try:
            self._api = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        except OSError as error:
            raise RuntimeUnavailable("No NVIDIA driver was found (libcuda).") from error
        self._device = ctypes.c_int()
        self._context, self._stream = ctypes.c_void_p(), ctypes.c_void_p()
        self._on_device: list[ctypes.c_uint64] = []
        self._pinned: list[ctypes.c_void_p] = []
        self._graphs: list[ctypes.c_void_p] = []
        self._events: list[ctypes.c_void_p] = []
        self._call("cuInit", 0)
        self._call("cuDeviceGet", ctypes.byref(self._device), 0)
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), self._device)
        try:
            self._call("cuCtxSetCurrent", self._context)
            self._call("cuStreamCreate", ctypes.byref(self._stream), _NON_BLOCKING)
        except EngineFailed:
            self.close()
            raise

    @property
    def stream(self) -> int:
        """The stream's handle, as TensorRT takes it."""
        return int(self._stream.value or 0)

    def make_current(self) -> None:
        """Binds the context to the calling thread."""
        self._call("cuCtxSetCurrent", self._context)

    def allocate(self, size: int) -> int:
        """Device memory of `size` bytes: its address."""
        address = ctypes.c_uint64()
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size))
        self._on_device.append(address)
        return address.value

    def pinned(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """A page-locked array, from and to which copies overlap with work. Freed by close()."""
        size = int(np.prod(shape)) * dtype.itemsize
        address = ctypes.c_void_p()
        self._call("cuMemHostAlloc", ctypes.byref(address), ctypes.c_size_t(size), 0)
        self._pinned.append(address)
        memory: Any = (ctypes.c_uint8 * size).from_address(int(address.value or 0))
        array: NDArray[Any] = np.frombuffer(memory, dtype=dtype).reshape(shape)
        array[...] = 0
        return array

    def upload(self, address: int, source: NDArray[Any]) -> None:
        """Queues a copy to the device."""
        self._call(
            "cuMemcpyHtoDAsync_v2",
            ctypes.c_uint64(address),
            ctypes.c_void_p(source.ctypes.data),
            ctypes.c_size_t(source.nbytes),
            self._stream,
        )

    def download(self, target: NDArray[Any], address: int) -> None:
        """Queues a copy from the device."""
        self._call(
            "cuMemcpyDtoHAsync_v2",
            ctypes.c_void_p(target.ctypes.data),
            ctypes.c_uint64(address),
            ctypes.c_size_t(target.nbytes),
            self._stream,
        )

    def synchronize(self) -> None:
        """Waits for everything queued."""
        self._call("cuStreamSynchronize", self._stream)

    def event(self) -> ctypes.c_void_p:
        """A mark that `record` puts behind what is queued. Freed by close()."""
        event = ctypes.c_void_p()
        self._call("cuEventCreate", ctypes.byref(event), _NO_TIMING)
        self._events.append(event)
        return event

    def record(self, event: ctypes.c_void_p) -> None:
        """Puts the mark behind everything queued so far."""
        self._call("cuEventRecord", event, self._stream)

    def wait(self, event: ctypes.c_void_p) -> None:
        """Waits for what was queued before the mark, not for what came after it."""
        self._call("cuEventSynchronize", event)

    def begin_capture(self) -> None:
        """What is queued from here on goes into a graph instead of running."""
        self._call("cuStreamBeginCapture_v2", self._stream, _THREAD_LOCAL_CAPTURE)

    def end_capture(self) -> ctypes.c_void_p:
        """The captured graph, ready to launch."""
        graph, executable = ctypes.c_void_p(), ctypes.c_void_p()
        self._call("cuStreamEndCapture", self._stream, ctypes.byref(graph))
        self._call(
            "cuGraphInstantiateWithFlags", ctypes.byref(executable), graph, ctypes.c_uint64(0)
        )
        self._call("cuGraphDestroy", graph)
        self._graphs.append(executable)
        return executable

    def launch(self, executable: ctypes.c_void_p) -> None:
        """Queues a captured graph."""
        self._call("cuGraphLaunch", executable, self._stream)

    def close(self) -> None:
        """Frees graphs, memory, the stream and the context; idempotent. Never raises: after an
        error of the GPU every call may fail, and the first error is the one to be told."""
        if not self._context:
            return
        self._api.cuCtxSetCurrent(self._context)
        if self._stream:
            self._api.cuStreamSynchronize(self._stream)  # copies to memory that goes now
        for event in self._events:
            self._api.cuEventDestroy_v2(event)
        for executable in self._graphs:
            self._api.cuGraphExecDestroy(executable)
        for address in self._on_device:
            self._api.cuMemFree_v2(address)
        for pinned in self._pinned:
            self._api.cuMemFreeHost(pinned)
        if self._stream:
            self._api.cuStreamDestroy_v2(self._stream)
        self._api.cuDevicePrimaryCtxRelease_v2(self._device)
        self._graphs.clear()
        self._events.clear()
        self._on_device.clear()
        self._pinned.clear()
        self._context = ctypes.c_void_p()

    def _call(self, name: str, *arguments: Any) -> None:
        if code := getattr(self._api, name)(*arguments):
            text = ctypes.c_char_p()
            self._api.cuGetErrorString(code, ctypes.byref(text))
            reason = text.value.decode(errors="replace") if text.value else "unknown"
            raise EngineFailed(f"The GPU failed in {name}: {reason} (CUDA error {code}).")
