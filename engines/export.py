"""From the torch network to ONNX: templates without weights, and whole graphs.

Needs torch and onnxscript; used where networks are trained and by the tests, never at run time:
there, engines.weights fills weights into the templates that were written here.
"""

from __future__ import annotations

import io
import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from engines.branches import Portrait
from engines.contract import (
    CONTOURS_CHANNELS,
    CONTOURS_SIZE,
    MOTION_SIZE,
    PICTURE_SIZE,
    GeneratorSpec,
    ParityError,
)
from engines.deploy import EncoderGraph, GeneratorGraph
from engines.discreet import import_onnxruntime
from engines.graph import ENCODER, GRAPH_VERSION, OUTPUT, write_metadata
from engines.grids import name_of
from engines.models import template_names
from engines.network import PORTRAIT_TENSORS, TIERS, Network
from engines.weights import Weights, fill_template, parse_weights, write_weights

OPSET = 18
"""GridSample for pictures exists from 16; ONNX Runtime's CPU lacks the one of opset 20."""
LARGEST_CONSTANT_BYTES = 4096
ENCODER_TOLERANCE = 1e-3


def paint(network: Network, inputs: list[Tensor]) -> np.ndarray[Any, Any]:
    """The picture of the network as it is trained, on the exported graph's inputs, as uint8."""
    contours, motion, *portrait = inputs
    with torch.no_grad():
        moved = network.generator(
            contours.permute(2, 0, 1)[None].float() / 255,
            motion.permute(2, 0, 1)[None],
            Portrait(*portrait),
        )
    picture = torch.cat((moved.rgb, moved.alpha), 1).clamp(0, 1) * 255 + 0.5
    painted: np.ndarray[Any, Any] = picture[0].permute(1, 2, 0).to(torch.uint8).numpy()
    return painted


def write_templates(folder: Path, *, tier: str, draw_style: str) -> list[Path]:
    """Writes a tier's three templates. Returns their paths."""
    paths = []
    for name, model in make_templates(tier, draw_style).items():
        path = folder / name
        beside = path.with_name(path.name + ".part")
        beside.write_bytes(model.SerializeToString(deterministic=True))
        os.replace(beside, path)
        paths.append(path)
    return paths


def make_templates(tier: str, draw_style: str) -> dict[str, onnx.ModelProto]:
    """A tier's graphs without weights, by file name; checked against torch. Raises ParityError."""
    network = random_network(tier)
    spec = GeneratorSpec(tier, draw_style, "", GRAPH_VERSION, PICTURE_SIZE)
    templates = {}
    for name in template_names(tier):
        _, role, body, _ = name.split(".")
        model = export_graph(network, role, body)
        empty_weights(model, network)
        write_metadata(model, spec, role=role, body=body)
        templates[name] = model
    check_templates(templates, network, draw_style)
    return templates


def export_weights(network: Network, path: Path, *, draw_style: str) -> None:
    """Writes a trained network's weights as the float16 file that is shipped."""
    tensors = {name: t.detach().cpu().numpy() for name, t in network.state_dict().items()}
    write_weights(path, tensors, tier=network.tier, draw_style=draw_style)


def export_graph(network: Network, role: str, body: str) -> onnx.ModelProto:
    """The ONNX graph of a network's generator or encoder, weights included."""
    if role == ENCODER:
        module: nn.Module = EncoderGraph(network)
        inputs = ["portrait_rgb", "portrait_matte", "portrait_contours"]
        outputs = list(PORTRAIT_TENSORS)
        example = example_encoder_inputs()
    else:
        module = GeneratorGraph(_copy(network), half=body == "f16")
        inputs, outputs = ["contours", "motion", *PORTRAIT_TENSORS], [OUTPUT]
        example = example_generator_inputs(network)
    with _quiet():
        program = torch.onnx.export(
            module.eval(),
            tuple(example),
            input_names=inputs,
            output_names=outputs,
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise ParityError("torch.onnx.export gave no graph.")
    model = program.model_proto
    _strip(model)
    onnx.checker.check_model(model, full_check=True)
    return model


def empty_weights(model: onnx.ModelProto, network: Network) -> None:
    """Takes the values of the network's parameters and of sampling grids out of a graph."""
    state = network.state_dict()
    renamed: dict[str, str] = {}
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if tensor.name in state:
            if tuple(state[tensor.name].shape) != values.shape:
                raise ParityError(f"The exporter changed the shape of {tensor.name!r}.")
            tensor.ClearField("raw_data")
        elif values.nbytes > LARGEST_CONSTANT_BYTES:
            grid = name_of(values)
            if grid is None:
                raise ParityError(f"The exporter made a large constant {tensor.name!r}.")
            renamed[tensor.name] = tensor.name = grid
            tensor.ClearField("raw_data")
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)


def check_templates(
    templates: dict[str, onnx.ModelProto], network: Network, draw_style: str
) -> None:
    """Fills templates with a network's weights and compares with torch. Raises ParityError."""
    from engines.parity import TOLERANCES, compare

    weights = weights_of(network, draw_style)
    for name, template in templates.items():
        _, role, body, _ = name.split(".")
        data = fill_template(template.SerializeToString(), weights)
        if role == ENCODER:
            given = example_encoder_inputs()
            with torch.no_grad():
                wanted = EncoderGraph(network).eval()(*given)
            for tensor, got in zip(wanted, run_reference(data, given), strict=True):
                error = float(np.abs(tensor.numpy() - got).max())
                if not error < ENCODER_TOLERANCE:
                    raise ParityError(f"{name}: the encoder differs from torch by {error}.")
            continue
        given = example_generator_inputs(network)
        found = run_reference(data, given)
        difference = compare(found[0], paint(network, given))
        allowed = TOLERANCES[body]
        if difference.mean > allowed.mean or difference.p999 > allowed.p999:
            raise ParityError(f"{name} differs from torch: {difference}.")


def run_reference(data: bytes, inputs: list[Tensor]) -> list[np.ndarray[Any, Any]]:
    """Runs ONNX bytes on ONNX Runtime's CPU provider with inputs in graph order."""
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.log_severity_level = 3
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_inputs()]
    feed = {name: t.numpy() for name, t in zip(names, inputs, strict=True)}
    results: list[np.ndarray[Any, Any]] = session.run(None, feed)
    return results


def weights_of(network: Network, draw_style: str) -> Weights:
    """A network's weights as they come back from a weights file (rounded to float16)."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.safetensors"
        export_weights(network, path, draw_style=draw_style)
        return parse_weights(path.read_bytes())


def random_network(tier: str, seed: int = 0) -> Network:
    """A network whose every branch shows, with weights that float16 holds exactly."""
    torch.manual_seed(seed)
    network = Network(tier).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.abs().max() > 1e-2:  # branches that start switched off
                parameter.normal_(std=0.02)
            # No two alike: the exporter would make one of them.
            parameter.add_(torch.randn_like(parameter) * 0.01)
            parameter.copy_(parameter.half().float())
    return network


def example_generator_inputs(network: Network) -> list[Tensor]:
    """Inputs of the generator's graph: a moving drawn head and its encoded portrait."""
    from engines.parity import reference_images

    image = reference_images()[1]
    with torch.no_grad():
        portrait = EncoderGraph(network).eval()(*example_encoder_inputs())
    frame = [torch.from_numpy(image.contours), torch.from_numpy(image.motion)]
    assert frame[0].shape == (CONTOURS_SIZE, CONTOURS_SIZE, CONTOURS_CHANNELS)
    assert frame[1].shape == (MOTION_SIZE, MOTION_SIZE, 2)
    return frame + [tensor.clone() for tensor in portrait]


def example_encoder_inputs() -> list[Tensor]:
    """Inputs of the encoder's graph: the drawn head of the parity gate."""
    from engines.parity import reference_portrait_arrays

    return [torch.from_numpy(array) for array in reference_portrait_arrays()]


def _copy(network: Network) -> Network:
    twin = Network(network.tier)
    twin.load_state_dict(network.state_dict())
    return twin


def _strip(model: onnx.ModelProto) -> None:
    """Leaves out what names files and classes of the exporting machine."""
    model.ClearField("producer_version")
    model.ClearField("doc_string")
    del model.metadata_props[:]
    graph = model.graph
    graph.ClearField("doc_string")
    del graph.metadata_props[:]
    del graph.value_info[:]
    for item in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        item.ClearField("doc_string")
        del item.metadata_props[:]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the exporter's progress lines and its notes on packages nobody needs to itself."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        exporter.setLevel(level)


def main() -> None:
    """Writes the templates of all trained tiers: `python -m engines.export DRAW_STYLE`."""
    import argparse

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("draw_style", help="puppet.draw.DRAW_STYLE")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent / "data")
    options = parser.parse_args()
    for tier in TIERS:
        write_templates(options.folder, tier=tier, draw_style=options.draw_style)


if __name__ == "__main__":
    main()
