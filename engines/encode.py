"""A portrait turned into the tensors its generator keeps on the device.

Done once per portrait and stored in the avatar's bundle; the live loop only loads them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.coarse import coarse_portrait
from engines.contract import RuntimeUnavailable, SpecMismatch
from engines.discreet import import_onnxruntime, import_openvino
from engines.graph import ENCODER_INPUTS, Graph
from engines.models import Model, load_model_of


def encode_portrait(
    portrait_rgb: NDArray[np.uint8],
    matte: NDArray[np.uint8],
    contours: NDArray[np.uint8],
    *,
    tier: str = "auto",
    model: Model | None = None,
) -> dict[str, NDArray[np.float32]]:
    """The generator's portrait inputs by name, float32, owned by the caller.

    portrait_rgb (512, 512, 3), matte (512, 512) and contours (256, 256, 3) are uint8; contours is
    the drawing of the portrait's own landmarks. Runs in float32, on OpenVINO or else on ONNX
    Runtime, in about a second. Raises SpecMismatch, RuntimeUnavailable.
    """
    model = model or load_model_of(tier)
    given: dict[str, NDArray[Any]] = {
        "portrait_rgb": portrait_rgb,
        "portrait_matte": matte,
        "portrait_contours": contours,
    }
    for name, (shape, dtype) in ENCODER_INPUTS.items():
        if given[name].shape != shape or given[name].dtype != dtype:
            raise SpecMismatch(
                f"{name} is {given[name].dtype}{list(given[name].shape)}, "
                f"expected {dtype}{list(shape)}."
            )
    encoder = model.encoder()
    if encoder is None:
        if model.tier != "coarse":
            raise SpecMismatch("This generator file has no encoder; its avatar holds the tensors.")
        return coarse_portrait(portrait_rgb, matte)
    inputs = {name: np.ascontiguousarray(given[name]) for name in encoder.inputs}
    try:
        tensors = _encode_openvino(encoder, inputs)
    except RuntimeUnavailable:
        tensors = _encode_onnxruntime(encoder, inputs)
    return tensors


def _encode_openvino(
    encoder: Graph, inputs: dict[str, NDArray[Any]]
) -> dict[str, NDArray[np.float32]]:
    try:
        ov = import_openvino()
    except ImportError as error:
        raise RuntimeUnavailable(f"OpenVINO does not load: {error}") from error
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    try:
        core = ov.Core()
        compiled = core.compile_model(core.read_model(encoder.data), "CPU", settings)
        results = compiled(inputs)
    except RuntimeError as error:
        raise RuntimeUnavailable(f"OpenVINO cannot run the encoder: {error}") from error
    return {name: np.array(results[name], np.float32) for name in encoder.outputs}


def _encode_onnxruntime(
    encoder: Graph, inputs: dict[str, NDArray[Any]]
) -> dict[str, NDArray[np.float32]]:
    try:
        ort = import_onnxruntime()
    except ImportError as error:
        raise RuntimeUnavailable(
            f"Neither OpenVINO nor ONNX Runtime loads ({error}). Run: pip install openvino"
        ) from error
    session = ort.InferenceSession(encoder.data, providers=["CPUExecutionProvider"])
    names = list(encoder.outputs)
    return dict(zip(names, session.run(names, inputs), strict=True))
