"""Generators for tests: real networks of the shipped templates with made-up weights."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from functools import cache

import numpy as np

from engines.graph import ENCODER, GENERATOR
from engines.models import WeightsModel, template
from engines.weights import WEIGHTS_VERSION, Weights, template_weights
from puppet.draw import DRAW_STYLE


def random_weights(tier: str = "small", seed: int = 0) -> Weights:
    """Weights of a tier's shapes, scaled so that signals keep their size through the network."""
    rng = np.random.default_rng(seed)
    shapes = {
        **template_weights(template(f"{tier}.{GENERATOR}.f32.onnx")),
        **template_weights(template(f"{tier}.{ENCODER}.f32.onnx")),
    }
    tensors = {
        name: (rng.normal(size=shape) * np.sqrt(1 / np.prod(shape[1:]))).astype(np.float16)
        if len(shape) > 1
        else (rng.normal(size=shape) * 0.05).astype(np.float16)
        for name, shape in sorted(shapes.items())
    }
    sha256 = hashlib.sha256(f"{tier}{seed}".encode()).hexdigest()
    return Weights(tensors, tier, DRAW_STYLE, WEIGHTS_VERSION, sha256)


@cache
def measured_model() -> WeightsModel:
    """`random_model`, knowing what comes into its convolutions on the gate's portrait."""
    import torch

    from calibrate.ranges import measuring
    from engines.deploy import GeneratorGraph
    from engines.export import example_generator_inputs
    from engines.network import network_of

    weights = random_weights()
    network = network_of(weights)
    with torch.no_grad(), measuring(network.generator) as ranges:
        GeneratorGraph(network)(*example_generator_inputs(network))
    return WeightsModel(replace(weights, ranges=ranges))


@cache
def random_model(tier: str = "small", seed: int = 0) -> WeightsModel:
    """A model on such weights."""
    return WeightsModel(random_weights(tier, seed))
