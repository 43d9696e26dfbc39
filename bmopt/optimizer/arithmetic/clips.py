"""Pairs of Relu, Min, Max and Clip that are one Clip."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from bmopt.graph.values import is_op
from bmopt.optimizer.arithmetic.activations import clip_bounds
from bmopt.optimizer.arithmetic.linear_ops import FLOATS
from bmopt.optimizer.arithmetic.patterns import replace_pattern, scalar_operand
from bmopt.optimizer.rewrite import add_constant, new_node, root_graph
from bmopt.optimizer.sweeps import RefusedError, require_private

Bounds = tuple[ir.Value, float, float]
_INPUT_BOUNDS_FROM = 11


def bounds_of(node: ir.Node) -> Bounds | None:
    """Return ``(x, low, high)`` where ``node`` limits ``x`` to constant bounds."""
    source = node.inputs[0] if node.inputs else None
    if source is None:
        return None
    if is_op(node, "Relu"):
        return source, 0.0, math.inf
    if is_op(node, "Clip"):
        bounds = clip_bounds(node)
        return None if bounds is None else (source, *bounds)
    operand = scalar_operand(node) if is_op(node, "Min", "Max") else None
    if operand is None:
        return None
    low, high = (-math.inf, operand[1]) if node.op_type == "Min" else (operand[1], math.inf)
    return operand[0], low, high


def fuse_limits(second: ir.Node, version: int) -> bool:
    """Turn ``second`` and the limit before it into one Clip; False where there is no pair.

    Raises:
        RefusedError: The value in between is needed, or the bounds cross.
    """
    outer = bounds_of(second)
    first = outer[0].producer() if outer is not None else None
    inner = bounds_of(first) if first is not None else None
    if outer is None or first is None or inner is None:
        return False
    dtype = second.outputs[0].dtype
    if dtype not in FLOATS or (version < _INPUT_BOUNDS_FROM and dtype == ir.DataType.DOUBLE):
        return False
    require_private(outer[0], second)
    low, high = max(inner[1], outer[1]), min(inner[2], outer[2])
    if low > high or math.isnan(low + high):
        raise RefusedError("limits to bounds that cross")
    clip = _new_clip(second, inner[0], (low, high), version)
    clip.outputs[0].type = second.outputs[0].type
    replace_pattern(second, clip.outputs[0])
    return True


def _new_clip(
    second: ir.Node, source: ir.Value, bounds: tuple[float, float], version: int
) -> ir.Node:
    first = second.inputs[0].producer() if second.inputs[0] is not None else None
    origins = [node for node in (first,) if node is not None]
    if bounds == (0.0, math.inf):
        return new_node("Relu", [source], like=second, stands_for=origins)
    if version < _INPUT_BOUNDS_FROM:
        given = zip(("min", "max"), bounds, strict=True)
        attributes = {name: bound for name, bound in given if math.isfinite(bound)}
        return new_node("Clip", [source], like=second, attributes=attributes, stands_for=origins)
    bound_dtype = second.outputs[0].dtype
    assert bound_dtype is not None
    inputs: list[ir.Value | None] = [source]
    for role, bound in zip(("min", "max"), bounds, strict=True):
        array = np.asarray(bound, bound_dtype.numpy())
        finite = math.isfinite(bound)
        stem = f"{second.name}.{role}"
        inputs.append(add_constant(root_graph(second), stem, array) if finite else None)
    return new_node("Clip", inputs, like=second, stands_for=origins)
