"""ONNX Runtime: the portable fallback, on whichever execution provider is installed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.contract import (
    EngineFailed,
    LandmarkImage,
    PortraitTensors,
    RuntimeInfo,
    RuntimeUnavailable,
)
from engines.discreet import import_onnxruntime
from engines.graph import OUTPUT, Graph
from engines.in_turn import FinishedLate
from engines.inputs import HostBuffers, default_threads

NAME = "onnxruntime"
PROVIDERS = {
    "cuda": "CUDAExecutionProvider",
    "directml": "DmlExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
    "cpu": "CPUExecutionProvider",
}
"""By device name, the order of choice."""
_PACKAGES = {
    "cuda": "pip install onnxruntime-gpu (in place of onnxruntime)",
    "directml": "pip install onnxruntime-directml (in place of onnxruntime, Windows)",
    "coreml": "pip install onnxruntime on macOS",
    "cpu": "pip install onnxruntime",
}


def available_devices() -> list[str]:
    """The devices this installation has providers for. Raises RuntimeUnavailable."""
    offered = _module().get_available_providers()
    return [device for device, provider in PROVIDERS.items() if provider in offered]


def explain_missing(device: str) -> None:
    """Raises RuntimeUnavailable with what to install if this device cannot be used."""
    if device not in PROVIDERS:
        raise RuntimeUnavailable(
            f"ONNX Runtime has no device {device!r}; it has {', '.join(PROVIDERS)}."
        )
    if device not in available_devices():
        raise RuntimeUnavailable(
            f"ONNX Runtime is installed without {PROVIDERS[device]}. Run: {_PACKAGES[device]}"
        )


class OnnxRuntimeGenerator(FinishedLate):
    """A generator in an ONNX Runtime session with its inputs and output bound once.

    `device` is one of PROVIDERS. On a GPU the portrait is copied there once; each frame copies
    the landmark image up and the picture down.
    """

    def __init__(self, graph: Graph, *, device: str = "cpu", threads: int | None = None) -> None:
        super().__init__()
        ort = _module()
        explain_missing(device)
        provider = PROVIDERS[device]
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = threads or default_threads()
        # Threads that spin while they wait take the processor from tracker and capture.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(graph.data, options, providers=[provider])
        except (RuntimeError, ValueError) as error:
            raise RuntimeUnavailable(
                f"ONNX Runtime cannot load the {graph.spec.tier} generator: {error}"
            ) from error
        if self._session.get_providers()[0] != provider:
            # ONNX Runtime falls back to its CPU provider by itself; ours says so instead.
            raise RuntimeUnavailable(
                f"{provider} is installed but does not start here (is its driver or CUDA "
                "library missing?)."
            )
        self.spec = graph.spec
        self.info = RuntimeInfo(NAME, ort.__version__, device, graph.body)
        self._buffers = HostBuffers(graph)
        self._picture: NDArray[np.uint8] = self._buffers.pictures[0]
        self._binding = self._session.io_binding()
        self._bind_output()
        for name, array in self._buffers.frames[0].items():
            self._binding.bind_cpu_input(name, array)
        self._resident: dict[str, Any] = {}

    def set_portrait(self, tensors: PortraitTensors) -> None:
        """See engines.contract.Generator."""
        self._buffers.put_portrait(tensors)
        ort = _module()
        place = "cuda" if self.info.device == "cuda" else "cpu"
        for name, array in self._buffers.portrait.items():
            # Kept: the binding does not own the memory it was given.
            self._resident[name] = ort.OrtValue.ortvalue_from_numpy(array, place, 0)
            self._binding.bind_ortvalue_input(name, self._resident[name])

    def generate(self, image: LandmarkImage) -> NDArray[np.uint8]:
        """See engines.contract.Generator."""
        if self._session is None:
            raise EngineFailed("This generator was closed.")
        self._buffers.put_frame(image)
        return self.repeat()

    def repeat(self) -> NDArray[np.uint8]:
        """The last landmark image once more: the engine without what is around it, to measure."""
        try:
            self._session.run_with_iobinding(self._binding)
        except (RuntimeError, ValueError) as error:
            raise EngineFailed(f"ONNX Runtime failed on {self.info.device}: {error}") from error
        return self._picture

    def close(self) -> None:
        """See engines.contract.Generator."""
        self._binding = None
        self._resident.clear()
        self._session = None

    def _bind_output(self) -> None:
        self._binding.bind_output(
            OUTPUT, "cpu", 0, np.uint8, self._picture.shape, self._picture.ctypes.data
        )


def _module() -> Any:
    try:
        return import_onnxruntime()
    except ImportError as error:
        raise RuntimeUnavailable(
            f"ONNX Runtime is not installed or does not load ({error}). "
            "Run: pip install onnxruntime"
        ) from error
