"""A model's graph without its big weights, for ONNX's C++ functions, which take it as bytes."""

from __future__ import annotations

import onnx
import onnx_ir as ir

KEPT_BYTES = 1024
"""Smaller weights stay: shapes, axes and pads are among them."""


def stripped_proto(model: ir.Model, kept_bytes: int = KEPT_BYTES) -> onnx.ModelProto:
    """Return ``model`` as a proto whose bigger initialisers are typed inputs instead.

    The extra inputs come last; inputs lose their defaults, which need not hold. Initialisers
    of sub-graphs stay, because a body's inputs are its interface. ``model`` is unchanged.
    """
    graph = model.graph
    known = set(graph.inputs)
    big = [v for v in graph.initializers.values() if v in known or _is_big(v, kept_bytes)]
    order = list(graph.initializers.values())
    shapes = [(value, value.type, value.shape) for value in big]
    extra = [value for value in big if value not in known]
    try:
        for value in big:
            _declare(value)
            graph.initializers.pop(str(value.name))
        graph.inputs.extend(extra)
        return ir.to_proto(model)
    finally:
        if extra:
            # Assigned, not deleted: onnx_ir does not notice ``del`` on its input list.
            graph.inputs[-len(extra) :] = []
        graph.initializers.clear()
        for value in order:
            graph.initializers.add(value)
        for value, kind, shape in shapes:
            value.type, value.shape = kind, shape


def _is_big(value: ir.Value, kept_bytes: int) -> bool:
    return value.const_value is None or value.const_value.nbytes > kept_bytes


def _declare(value: ir.Value) -> None:
    tensor = value.const_value
    if tensor is not None:
        value.type = ir.TensorType(tensor.dtype)
        value.shape = ir.Shape(tensor.shape.numpy())
