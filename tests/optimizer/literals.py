"""Random weights as ONNX text."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir


def weights(name: str, shape: Sequence[int], *, positive: bool = False) -> str:
    """Return ``float[2,3] name = {...}`` with seeded numbers from -1 to 1, or from 0.5 to 2.5."""
    rng = np.random.default_rng([*name.encode()])
    numbers = rng.uniform(-1, 1, math.prod(shape)) + (1.5 if positive else 0)
    body = ", ".join(f"{number:.6f}" for number in numbers)
    sizes = ", ".join(map(str, shape))
    return f"float[{sizes}] {name} = {{{body}}}" if shape else f"float {name} = {{{body}}}"


def batch_norm(channels: int) -> str:
    """Return the four parameters g, b, m, v of a BatchNormalization."""
    shape = (channels,)
    texts = [weights(name, shape) for name in "gbm"]
    return ", ".join([*texts, weights("v", shape, positive=True)])


def in_type(model: ir.Model, dtype: ir.DataType) -> ir.Model:
    """Turn a FLOAT model into one of ``dtype``, which ONNX text has no literals for."""
    for value in model.graph.initializers.values():
        assert value.const_value is not None
        value.const_value = ir.tensor(value.const_value.numpy().astype(dtype.numpy()))
        value.type = ir.TensorType(dtype)
    produced = [out for node in model.graph for out in node.outputs if out.type is not None]
    for value in (*model.graph.inputs, *model.graph.outputs, *produced):
        value.type = ir.TensorType(dtype)
    return model
