"""The ONNX file of a generator or encoder: read with suspicion, checked, described.

A graph may come from a bundle that somebody else made, so nothing in it is trusted: its size is
bounded, data outside the file is refused, so are operators no network of ours uses (loops and
control flow among them) and intermediate tensors of absurd size; and without our own metadata it
is not taken for a generator at all.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engines.contract import (
    CONTOURS_CHANNELS,
    CONTOURS_SIZE,
    MOTION_SIZE,
    PICTURE_SIZE,
    GeneratorSpec,
    SpecMismatch,
)

if TYPE_CHECKING:
    import onnx

METADATA_KEY = "webcam-puppet"
GENERATOR = "generator"
ENCODER = "encoder"
GRAPH_VERSION = 2
OPSETS = range(16, 20)
MAX_GRAPH_BYTES = 256 * 2**20
MAX_NODES = 5000
MAX_TENSOR_ELEMENTS = 2**27
"""512 MB as float32; the largest real one, 64 channels at 512x512, has 2**24."""

OUTPUT = "picture"
FRAME_INPUTS: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]] = {
    "contours": ((CONTOURS_SIZE, CONTOURS_SIZE, CONTOURS_CHANNELS), np.dtype(np.uint8)),
    "motion": ((MOTION_SIZE, MOTION_SIZE, 2), np.dtype(np.float32)),
}
ENCODER_INPUTS: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]] = {
    "portrait_rgb": ((PICTURE_SIZE, PICTURE_SIZE, 3), np.dtype(np.uint8)),
    "portrait_matte": ((PICTURE_SIZE, PICTURE_SIZE), np.dtype(np.uint8)),
    "portrait_contours": (
        (CONTOURS_SIZE, CONTOURS_SIZE, CONTOURS_CHANNELS),
        np.dtype(np.uint8),
    ),
}

# fmt: off
_OPERATORS = frozenset(
    [
        "Abs", "Add", "ArgMax", "ArgMin", "AveragePool", "BatchNormalization", "Cast", "Ceil",
        "Clip", "Concat", "Constant", "ConstantOfShape", "Conv", "ConvTranspose", "CumSum",
        "DepthToSpace", "Div", "Einsum", "Elu", "Equal", "Erf", "Exp", "Expand", "Flatten",
        "Floor", "Gather", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "Greater",
        "GreaterOrEqual", "GridSample", "GroupNormalization", "HardSigmoid", "HardSwish",
        "Identity", "InstanceNormalization", "LayerNormalization", "LeakyRelu", "Less",
        "LessOrEqual", "Log", "MatMul", "Max", "MaxPool", "Min", "Mod", "Mul", "Neg", "Not",
        "PRelu", "Pad", "Pow", "Range", "Reciprocal", "ReduceMax", "ReduceMean", "ReduceMin",
        "ReduceSum", "Relu", "Reshape", "Resize", "Round", "Shape", "Sigmoid", "Sign",
        "Slice", "Softmax", "Softplus", "SpaceToDepth", "Split", "Sqrt", "Squeeze", "Sub",
        "Sum", "Tanh", "Tile", "Transpose", "Unsqueeze", "Where",
    ]
)
# fmt: on


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """Shape and dtype of one input or output of a graph."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True, slots=True)
class Graph:
    """A checked ONNX graph, whole in memory (a few MB)."""

    data: bytes
    sha256: str
    """Of data: names the graph in caches."""
    spec: GeneratorSpec
    role: str
    """GENERATOR or ENCODER."""
    body: str
    """Precision of the network's body as written in the graph: 'f32' or 'f16'."""
    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]

    @property
    def portrait_inputs(self) -> dict[str, TensorSpec]:
        """The inputs that hold a portrait, set once and kept on the device."""
        return {name: spec for name, spec in self.inputs.items() if name not in FRAME_INPUTS}

    @property
    def frame_inputs(self) -> dict[str, TensorSpec]:
        """The inputs that change with every frame: 'motion', and 'contours' but for 'coarse'."""
        return {name: spec for name, spec in self.inputs.items() if name in FRAME_INPUTS}


def read_graph(path: Path, *, expected_draw_style: str | None = None) -> Graph:
    """Reads and checks an ONNX file. Raises SpecMismatch with the reason."""
    try:
        size = path.stat().st_size
        if size > MAX_GRAPH_BYTES:
            raise SpecMismatch(
                f"{path} is {size / 2**20:.0f} MB; a generator graph is at most "
                f"{MAX_GRAPH_BYTES // 2**20} MB."
            )
        data = path.read_bytes()
    except OSError as error:
        raise SpecMismatch(f"The generator graph {path} cannot be read: {error}.") from error
    return parse_graph(data, origin=str(path), expected_draw_style=expected_draw_style)


def parse_graph(
    data: bytes, *, origin: str = "the graph", expected_draw_style: str | None = None
) -> Graph:
    """Checks ONNX bytes and describes them. Raises SpecMismatch with the reason."""
    model = load_model(data, origin=origin)
    spec, role, body = read_metadata(model, origin=origin)
    if expected_draw_style is not None and spec.draw_style not in ("any", expected_draw_style):
        raise SpecMismatch(
            f"{origin} was made for drawing style {spec.draw_style!r}, but this version draws "
            f"{expected_draw_style!r}. Create the avatar again with this version."
        )
    graph = Graph(
        data=data,
        sha256=hashlib.sha256(data).hexdigest(),
        spec=spec,
        role=role,
        body=body,
        inputs=_tensors(model.graph.input, origin),
        outputs=_tensors(model.graph.output, origin),
    )
    _check_interface(graph, origin)
    return graph


def load_model(data: bytes, *, origin: str) -> onnx.ModelProto:
    """Parses ONNX bytes from an untrusted source. Raises SpecMismatch."""
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    if len(data) > MAX_GRAPH_BYTES:
        raise SpecMismatch(f"{origin} is larger than {MAX_GRAPH_BYTES // 2**20} MB.")
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise SpecMismatch(f"{origin} is not an ONNX file: {error}.") from error
    _check_contents(model, origin)
    bare = onnx.ModelProto()
    bare.CopyFrom(model)
    del bare.graph.value_info[:]  # what the file says of its own sizes may be a lie
    try:
        onnx.checker.check_model(model)
        inferred = onnx.shape_inference.infer_shapes(bare, strict_mode=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise SpecMismatch(f"{origin} is not a valid ONNX graph: {first_line}.") from error
    shapes = {value.name: value.type.tensor_type for value in inferred.graph.value_info}
    results = {name for node in model.graph.node for name in node.output if name}
    for name in sorted(results - {value.name for value in model.graph.output}):
        found = shapes.get(name)
        # From 1.23 on a tensor of unknown rank is listed too, without a shape.
        if (
            found is None
            or not found.HasField("shape")
            or not all(d.HasField("dim_value") for d in found.shape.dim)
        ):
            raise SpecMismatch(f"{origin}: the size of tensor {name!r} cannot be told beforehand.")
    for value in inferred.graph.value_info:
        elements = math.prod(d.dim_value for d in value.type.tensor_type.shape.dim)
        if elements > MAX_TENSOR_ELEMENTS:
            raise SpecMismatch(f"{origin}: tensor {value.name!r} has {elements} elements.")
    return model


def _check_contents(model: onnx.ModelProto, origin: str) -> None:
    import onnx

    graph = model.graph
    for opset in model.opset_import:
        if opset.domain not in ("", "ai.onnx"):
            raise SpecMismatch(f"{origin} uses operators of {opset.domain!r}; only ONNX's own run.")
        if opset.version not in OPSETS:
            raise SpecMismatch(
                f"{origin} uses ONNX opset {opset.version}; "
                f"{OPSETS.start} to {OPSETS.stop - 1} run everywhere."
            )
    if model.functions or graph.sparse_initializer or model.training_info:
        raise SpecMismatch(f"{origin} holds functions, sparse tensors or training graphs.")
    if len(graph.node) > MAX_NODES:
        raise SpecMismatch(f"{origin} has {len(graph.node)} nodes, more than {MAX_NODES}.")
    tensors = list(graph.initializer)
    for node in graph.node:
        if node.domain not in ("", "ai.onnx") or node.op_type not in _OPERATORS:
            raise SpecMismatch(f"{origin} uses the operator {node.op_type!r}, which is not taken.")
        tensors += [a.t for a in node.attribute if a.type == onnx.AttributeProto.TENSOR]
    for tensor in tensors:
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise SpecMismatch(f"{origin} keeps {tensor.name!r} outside the file; that is refused.")


def _tensors(values: Any, origin: str) -> dict[str, TensorSpec]:
    import onnx

    found: dict[str, TensorSpec] = {}
    for value in values:
        tensor = value.type.tensor_type
        shape = tuple(int(d.dim_value) for d in tensor.shape.dim)
        if not all(0 < n < 2**16 for n in shape) or math.prod(shape) > MAX_TENSOR_ELEMENTS:
            raise SpecMismatch(f"{origin}: {value.name!r} has no fixed shape, or a huge one.")
        try:
            dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
        except KeyError as error:
            raise SpecMismatch(f"{origin}: {value.name!r} has no known type.") from error
        found[value.name] = TensorSpec(shape, dtype)
    return found


def _check_interface(graph: Graph, origin: str) -> None:
    fixed = FRAME_INPUTS if graph.role == GENERATOR else ENCODER_INPUTS
    for name, tensor in graph.inputs.items():
        shape, dtype = fixed.get(name, (tensor.shape, np.dtype(np.float32)))
        if tensor.shape != shape or tensor.dtype != dtype:
            raise SpecMismatch(
                f"{origin}: input {name!r} is {tensor.dtype}{list(tensor.shape)}, "
                f"expected {dtype}{list(shape)}."
            )
    if graph.role == ENCODER:
        return
    size = graph.spec.size
    picture = TensorSpec((size, size, 4), np.dtype(np.uint8))
    if size != PICTURE_SIZE or graph.outputs != {OUTPUT: picture} or "motion" not in graph.inputs:
        raise SpecMismatch(
            f"{origin} does not take 'motion' and give one {PICTURE_SIZE}x{PICTURE_SIZE} "
            f"RGBA picture named {OUTPUT!r}."
        )


def write_metadata(model: onnx.ModelProto, spec: GeneratorSpec, *, role: str, body: str) -> None:
    """Puts spec, role and body precision into the model's metadata, replacing what was there."""
    kept = [p for p in model.metadata_props if p.key != METADATA_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    entry = model.metadata_props.add()
    entry.key = METADATA_KEY
    entry.value = json.dumps({**asdict(spec), "role": role, "body": body}, sort_keys=True)


def read_metadata(model: onnx.ModelProto, *, origin: str) -> tuple[GeneratorSpec, str, str]:
    """(spec, role, body precision) from the model's metadata. Raises SpecMismatch."""
    texts = [p.value for p in model.metadata_props if p.key == METADATA_KEY]
    if len(texts) != 1 or len(texts[0]) > 4096:
        raise SpecMismatch(
            f"{origin} carries no webcam-puppet metadata: it is not a generator of this program."
        )
    try:
        fields = json.loads(texts[0])
        role, body = fields.pop("role"), fields.pop("body")
        spec = GeneratorSpec(**fields)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SpecMismatch(f"{origin}: its webcam-puppet metadata is damaged: {error}.") from error
    texts_ok = all(isinstance(t, str) for t in (spec.tier, spec.draw_style, spec.weights_sha256))
    if not texts_ok or role not in (GENERATOR, ENCODER) or body not in ("f32", "f16"):
        raise SpecMismatch(f"{origin}: its webcam-puppet metadata is damaged.")
    if spec.version != GRAPH_VERSION:
        raise SpecMismatch(
            f"{origin} has graph version {spec.version}, this program runs {GRAPH_VERSION}. "
            "Create the avatar again with this version, or update webcam-puppet."
        )
    return spec, role, body
