"""A model repository in the layout of Triton Inference Server, for generators on other machines.

Two models are written. The packed one runs this program's own generator on the server (Triton's
Python backend, webcam-puppet installed there): small messages, any portrait. The plain one has one
portrait inside: an ONNX graph for any server of the protocol (Triton's ONNX Runtime backend,
OpenVINO Model Server, which reads the same folders, KServe), or a plan for Triton's TensorRT
backend. Engines for RTX cards go into the packed model: that backend does not take them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from engines.build import CLASSIC, DEFAULT_TARGETS, RTX, build_engine, cached_engine
from engines.cache import EngineCache
from engines.contract import EngineFailed, PortraitTensors, RuntimeUnavailable, SpecMismatch
from engines.graph import OUTPUT, Graph, TensorSpec, load_model, parse_graph
from engines.models import Model
from engines.remote_server import ENGINES, KEY_BYTES, WEIGHTS
from engines.runtime_remote import served_name
from engines.wire import portrait_key

_TYPES = {np.dtype(np.uint8): "TYPE_UINT8", np.dtype(np.float32): "TYPE_FP32"}
_MODEL_PY = '''"""Written by 'puppet export-model-repository'. Needs webcam-puppet on the server."""

from pathlib import Path

import triton_python_backend_utils as pb

try:
    from engines.contract import EngineError
    from engines.remote_server import PortraitUnknown, open_server
except ImportError as error:
    raise pb.TritonModelException(
        "This model needs webcam-puppet in the Python that Triton's Python backend uses: "
        f"pip install webcam-puppet ({error})"
    ) from error

INPUTS = ("portrait_key", "portrait", "contours", "motion")


class TritonPythonModel:
    def initialize(self, args):
        self.server = open_server(Path(args["model_repository"]) / args["model_version"])

    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        found = {name: pb.get_input_tensor_by_name(request, name) for name in INPUTS}
        inputs = {name: tensor.as_numpy() for name, tensor in found.items() if tensor is not None}
        try:
            answer = self.server.answer(inputs)
        except PortraitUnknown as error:
            return failed(str(error), pb.TritonError.NOT_FOUND)
        except ValueError as error:  # WireError and SpecMismatch: the request is wrong
            return failed(str(error), pb.TritonError.INVALID_ARG)
        except EngineError as error:
            return failed(str(error), pb.TritonError.INTERNAL)
        wanted = request.requested_output_names()
        return pb.InferenceResponse([pb.Tensor(n, a) for n, a in answer.items() if n in wanted])


def failed(message, code):
    return pb.InferenceResponse(error=pb.TritonError(message, code))
'''


def export_repository(
    folder: Path,
    model: Model,
    *,
    weights: bytes | None,
    portrait: PortraitTensors | None = None,
    body: str = "f16",
    plan: bool = False,
    targets: tuple[str, ...] = DEFAULT_TARGETS,
) -> list[Path]:
    """Writes the packed model, and the plain one where there is a portrait; their folders.

    folder: the repository, made if missing; models of the same name in it are replaced whole,
    others are left. weights: the bytes of the safetensors file of `model`, None for 'coarse'.
    body: precision of the plain graph, 'f16' or 'f32'; plan: as a TensorRT plan for the GPU at hand
    instead of ONNX. Where TensorRT for RTX is installed, the packed model brings engines for
    `targets`. Raises SpecMismatch, OSError, and for a plan RuntimeUnavailable and EngineFailed.
    """
    graph = model.generator("f32")
    if weights is None and graph.spec.tier != "coarse":
        raise SpecMismatch("A model repository needs the weights as a safetensors file.")
    folder.mkdir(parents=True, exist_ok=True)
    written = [
        _replace(folder, served_name(graph.spec), _packed_files(model, graph, weights, targets))
    ]
    if portrait is not None:
        baked = bake_portrait(model.generator(body), portrait)
        name = served_name(graph.spec, portrait_key(portrait))
        written.append(_replace(folder, name, _plain_files(name, baked, plan=plan)))
    return written


def bake_portrait(graph: Graph, portrait: PortraitTensors) -> Graph:
    """The graph with the portrait inside: it takes landmark images only. Raises SpecMismatch."""
    from onnx import numpy_helper

    wanted = graph.portrait_inputs
    given = {n: TensorSpec(tuple(t.shape), t.dtype) for n, t in portrait.items()}
    if given != wanted:
        raise SpecMismatch("The portrait's tensors do not fit this generator; encode it again.")
    model = load_model(graph.data, origin="the generator")
    kept = [value for value in model.graph.input if value.name not in wanted]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    for name, tensor in sorted(portrait.items()):
        model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(tensor), name))
    return parse_graph(model.SerializeToString(deterministic=True), origin="the baked generator")


def _packed_files(
    model: Model, graph: Graph, weights: bytes | None, targets: tuple[str, ...]
) -> dict[str, bytes]:
    files = {
        "config.pbtxt": _packed_config(served_name(graph.spec)).encode(),
        "1/model.py": _MODEL_PY.encode(),
    }
    if weights is not None:
        files[f"1/{WEIGHTS}"] = weights
    return files | {f"1/{ENGINES}/{n}": data for n, data in _rtx_engines(model, targets).items()}


def _rtx_engines(model: Model, targets: tuple[str, ...]) -> dict[str, bytes]:
    """A cache of engines as the server will look for them; empty without TensorRT for RTX."""
    with tempfile.TemporaryDirectory() as beside:
        cache = EngineCache(Path(beside))
        try:
            for target in targets:
                cached_engine(model.generator("f16"), cache, module=RTX, targets=(target,))
        except (RuntimeUnavailable, EngineFailed):
            return {}
        kept = (path for path in Path(beside).iterdir() if path.suffix in (".bin", ".json"))
        return {path.name: path.read_bytes() for path in kept}


def _packed_config(name: str) -> str:
    inputs = [_tensor("portrait_key", "TYPE_UINT8", (KEY_BYTES,))]
    inputs += [
        _tensor(n, "TYPE_UINT8", (-1,), optional=True) for n in ("portrait", "contours", "motion")
    ]
    outputs = [_tensor(n, "TYPE_UINT8", (-1,)) for n in (OUTPUT, "info")]
    return _config(
        name, "python", "model.py", inputs, outputs, instances="count: 1, kind: KIND_CPU"
    )


def _plain_files(name: str, graph: Graph, *, plan: bool) -> dict[str, bytes]:
    if plan:
        backend, file, data = "tensorrt", "model.plan", build_engine(graph, module=CLASSIC).data
    else:
        backend, file, data = "onnxruntime", "model.onnx", graph.data
    config = _plain_config(name, backend, file, graph)
    return {f"1/{file}": data, "config.pbtxt": config.encode()}


def _plain_config(name: str, backend: str, file: str, graph: Graph) -> str:
    def tensors(specs: Mapping[str, TensorSpec]) -> list[str]:
        return [_tensor(n, _TYPES[s.dtype], s.shape) for n, s in specs.items()]

    inputs, outputs = tensors(graph.inputs), tensors(graph.outputs)
    return _config(name, backend, file, inputs, outputs, instances="count: 1")


def _config(
    name: str, backend: str, file: str, inputs: list[str], outputs: list[str], *, instances: str
) -> str:
    return f"""name: "{name}"
backend: "{backend}"
default_model_filename: "{file}"
max_batch_size: 0
input [
{_joined(inputs)}
]
output [
{_joined(outputs)}
]
instance_group [ {{ {instances} }} ]
"""


def _tensor(name: str, kind: str, shape: tuple[int, ...], *, optional: bool = False) -> str:
    dims = ", ".join(map(str, shape))
    return f'  {{ name: "{name}", data_type: {kind}, dims: [ {dims} ]' + (
        ", optional: true }" if optional else " }"
    )


def _joined(entries: list[Any]) -> str:
    return ",\n".join(entries)


def _replace(folder: Path, name: str, files: Mapping[str, bytes]) -> Path:
    """Writes a model's folder beside and moves it into its place."""
    target = folder / name
    beside = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder))
    try:
        for path, data in files.items():
            (beside / path).parent.mkdir(parents=True, exist_ok=True)
            (beside / path).write_bytes(data)
        beside.chmod(0o755)
        if target.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{name}-old-", dir=folder))
            os.replace(target, old / name)
            os.replace(beside, target)
            shutil.rmtree(old)
        else:
            os.replace(beside, target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return target
