"""OpenVINO: the default where there is no NVIDIA GPU; Intel GPUs and NPUs on request."""

from __future__ import annotations

import platform
import time
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engines.contract import (
    EngineFailed,
    LandmarkImage,
    PortraitTensors,
    RuntimeInfo,
    RuntimeUnavailable,
)
from engines.discreet import import_openvino
from engines.graph import OUTPUT, Graph
from engines.in_turn import SLOTS, Slots
from engines.inputs import HostBuffers, default_threads
from engines.overflow import pairs_overflow
from engines.quantize import Ranges, quantize

if TYPE_CHECKING:
    import openvino

NAME = "openvino"
INT8 = "int8"
_CAPABILITIES = {"f32": "FP32", "bf16": "BF16", "f16": "FP16", INT8: "INT8"}
_X86 = ("x86_64", "amd64")
_TRIALS = 3
"""Frames that every precision computes before one is chosen; the quickest of each counts."""
_READ_BACK = {"float": "f32", "float32": "f32", "float16": "f16", "bfloat16": "bf16"}


def available_devices() -> list[str]:
    """OpenVINO's devices here: 'CPU', 'GPU', 'GPU.1', 'NPU'. Raises RuntimeUnavailable."""
    return [str(name) for name in _core().available_devices]


class OpenVinoGenerator:
    """A generator compiled for one OpenVINO device.

    The inputs and the output are plain arrays of this process that OpenVINO reads and writes in
    place. `precision` is 'auto', 'f32', 'bf16', 'f16' or 'int8' (convolutions in 8 bits, where
    `ranges` of their inputs are known). 'auto' is f16 on GPUs and NPUs that have it, and on a CPU
    the quickest of int8, bf16 and, where these do not settle it, f32: tried out here, because what
    instructions a processor has says little (bf16 doubles the speed of a Zen 4 and halves that of a
    Xeon whose AMX is switched off). `threads` counts for the CPU only, None for the default.
    """

    def __init__(
        self,
        graph: Graph,
        *,
        device: str = "CPU",
        precision: str = "auto",
        threads: int | None = None,
        ranges: Ranges | None = None,
    ) -> None:
        ov = _module()
        self.spec = graph.spec
        core = _core()
        if device.split(".")[0] not in {name.split(".")[0] for name in core.available_devices}:
            raise RuntimeUnavailable(
                f"OpenVINO sees no device {device!r} here, only "
                f"{', '.join(core.available_devices)}. Install the device's driver or choose "
                "another device."
            )
        settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1"}
        if device == "CPU":
            settings["INFERENCE_NUM_THREADS"] = threads or default_threads()
        candidates = _precisions(core, device, precision, bool(ranges))
        try:
            compiled = []
            for name in candidates:
                data = _in_8_bits(core, graph, ranges or {}) if name == INT8 else graph.data
                hint = {"INFERENCE_PRECISION_HINT": "f32" if name == INT8 else name}
                compiled.append(core.compile_model(core.read_model(data), device, settings | hint))
            chosen = quickest(compiled)
            self._compiled = compiled[chosen]
            self._requests = [self._compiled.create_infer_request() for _ in range(SLOTS)]
        except RuntimeError as error:
            raise RuntimeUnavailable(
                f"OpenVINO cannot compile the {graph.spec.tier} generator for {device}: "
                f"{_first_line(error)}"
            ) from error
        self._buffers, self._slots = HostBuffers(graph, SLOTS), Slots()
        for request, frame, picture in zip(
            self._requests, self._buffers.frames, self._buffers.pictures, strict=True
        ):
            for name, array in (self._buffers.portrait | frame | {OUTPUT: picture}).items():
                request.set_tensor(name, ov.Tensor(array, shared_memory=True))
        self.info = RuntimeInfo(
            runtime=NAME,
            version=ov.__version__.split("-")[0],
            device=_device_name(core, self._compiled, device),
            precision=INT8 if candidates[chosen] == INT8 else _precision_read_back(self._compiled),
        )

    def set_portrait(self, tensors: PortraitTensors) -> None:
        """See engines.contract.Generator."""
        self._buffers.put_portrait(tensors)

    def generate(self, image: LandmarkImage) -> NDArray[np.uint8]:
        """See engines.contract.Generator."""
        self.begin(image)
        return self.finish()

    def begin(self, image: LandmarkImage) -> None:
        """See engines.contract.Generator. OpenVINO's threads compute."""
        if not self._requests:
            raise EngineFailed("This generator was closed.")
        slot = self._slots.free
        self._buffers.put_frame(image, slot)
        self._start(slot)
        self._slots.fill()

    def finish(self) -> NDArray[np.uint8]:
        """See engines.contract.Generator."""
        return self._wait(self._slots.empty())

    def repeat(self) -> NDArray[np.uint8]:
        """The landmark image of a slot once more: the engine without what is around it, to
        measure."""
        self._start(0)
        return self._wait(0)

    def close(self) -> None:
        """See engines.contract.Generator."""
        self._requests.clear()
        self._compiled = None

    def _start(self, slot: int) -> None:
        try:
            self._requests[slot].start_async()
        except RuntimeError as error:
            raise EngineFailed(f"OpenVINO failed on {self.info.device}: {error}") from error

    def _wait(self, slot: int) -> NDArray[np.uint8]:
        if not self._requests:
            raise EngineFailed("This generator was closed.")
        try:
            # Not infer(): that wraps every output in a new array each time.
            self._requests[slot].wait()
        except RuntimeError as error:
            raise EngineFailed(f"OpenVINO failed on {self.info.device}: {error}") from error
        return self._buffers.pictures[slot]


def _module() -> Any:
    try:
        return import_openvino()
    except ImportError as error:
        raise RuntimeUnavailable(
            f"OpenVINO is not installed or does not load ({error}). Run: pip install openvino"
        ) from error


def _core() -> openvino.Core:
    return _module().Core()


def _in_8_bits(core: openvino.Core, graph: Graph, ranges: Ranges) -> bytes:
    return quantize(graph.data, ranges, pairs_overflow=pairs_overflow(core))


def quickest(compiled: list[openvino.CompiledModel]) -> int:
    """Which one computes a frame in the least time, each in turn on the same noise."""
    if len(compiled) == 1:
        return 0
    requests = [each.create_infer_request() for each in compiled]
    for request in requests:
        noise = np.random.default_rng(0)
        for tensor in request.input_tensors:  # unset memory may hold denormals, which are slow
            high = 255 if tensor.data.dtype == np.uint8 else 0.1
            tensor.data[...] = noise.uniform(0, high, tensor.data.shape)
    least = [float("inf")] * len(requests)
    for trial in range(_TRIALS + 1):
        for index, request in enumerate(requests):
            began = time.perf_counter()
            request.infer()
            if trial > 0:  # the first one also allocates
                least[index] = min(least[index], time.perf_counter() - began)
    return int(np.argmin(least))


def _precisions(core: openvino.Core, device: str, precision: str, measured: bool) -> list[str]:
    """Those that come into question; `measured`: ranges for 8 bits are known."""
    able = {str(c) for c in core.get_property(device, "OPTIMIZATION_CAPABILITIES")}
    if precision == "auto":
        if device == "CPU":
            int8 = measured and "INT8" in able
            # On x86 8 bits have been 1.4 to 2.5 times as quick as f32, with and without their own
            # instructions; trying f32 all the same would let a busy moment choose it for good.
            settled = int8 and platform.machine().lower() in _X86
            maybe = {INT8: int8, "bf16": "BF16" in able, "f32": not settled}
            return [name for name, comes in maybe.items() if comes]
        return ["f16" if "FP16" in able else "f32"]
    if precision not in _CAPABILITIES:
        raise RuntimeUnavailable(
            f"OpenVINO has no precision {precision!r}; use {', '.join(_CAPABILITIES)}."
        )
    if precision == INT8 and (not measured or device != "CPU"):
        raise RuntimeUnavailable(
            "8 bits are for CPUs and for weights whose ranges were measured "
            "('python -m calibrate.ranges')."
        )
    needed = _CAPABILITIES[precision]
    # The CPU plugin emulates f16 by way of f32, several times slower than f32 itself.
    if precision != "f32" and needed not in able:
        raise RuntimeUnavailable(
            f"{device} does not compute in {precision} here (it offers {', '.join(sorted(able))})."
        )
    return [precision]


def _precision_read_back(compiled: openvino.CompiledModel) -> str:
    kind = compiled.get_property("INFERENCE_PRECISION_HINT")
    name = str(kind.to_dtype()) if hasattr(kind, "to_dtype") and "bf" not in str(kind) else "bf16"
    return _READ_BACK.get(name, name)


def _device_name(core: openvino.Core, compiled: openvino.CompiledModel, device: str) -> str:
    full = str(core.get_property(device, "FULL_DEVICE_NAME")).strip()
    if device != "CPU":
        return f"{device} ({full})"
    threads = compiled.get_property("INFERENCE_NUM_THREADS")
    return f"CPU ({full}, {threads} thread{'s' if threads != 1 else ''})"


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
