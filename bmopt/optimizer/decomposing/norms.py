"""Normalisations that an engine may lack, most of them of ONNX Runtime's domain."""

from __future__ import annotations

import onnx_ir as ir

from bmopt.optimizer.decomposing.emitter import Emitter, input_at, is_used, need
from bmopt.optimizer.sweeps import RefusedError

_AXES_BY_INPUT = 18
_TINY = 1e-38
_EPSILON = 1e-5
_SKIP_EPSILON = 1e-12


def normalised(
    emit: Emitter, value: ir.Value, epsilon: float, *, centred: bool
) -> tuple[ir.Value, ir.Value | None, ir.Value]:
    """Return ``value`` over its root mean square along the last axis.

    Args:
        emit: What writes.
        value: The tensor.
        epsilon: Added to the mean square.
        centred: Whether its mean is taken off before.

    Returns:
        The result, the mean where it was taken off, and the inverse of the root.
    """
    mean = emit.means(value, [-1]) if centred else None
    apart = value if mean is None else emit.op("Sub", value, mean)
    square = emit.means(emit.op("Mul", apart, apart), [-1])
    root = emit.op("Sqrt", emit.op("Add", square, emit.number(epsilon, value)))
    inverse = emit.op("Reciprocal", root)
    return emit.op("Mul", apart, inverse), mean, inverse


def replace_skip_norm(emit: Emitter) -> bool:
    """Replace SkipLayerNormalization, of two tensors' sum and a bias."""
    node = emit.node
    total = emit.sum(need(node, 0), need(node, 1), input_at(node, 4))
    epsilon = node.attributes.get_float("epsilon", _SKIP_EPSILON)
    value, mean, inverse = normalised(emit, total, epsilon, centred=True)
    scaled = emit.op("Mul", value, need(node, 2))
    return emit.finish([emit.sum(scaled, input_at(node, 3)), mean, inverse, total])


def replace_skip_simplified(emit: Emitter) -> bool:
    """Replace SkipSimplifiedLayerNormalization, which takes no mean off."""
    node = emit.node
    if is_used(node, 1):
        raise RefusedError("gives a mean, which it does not take")
    total = emit.sum(need(node, 0), need(node, 1), input_at(node, 3))
    epsilon = node.attributes.get_float("epsilon", _SKIP_EPSILON)
    value, _, inverse = normalised(emit, total, epsilon, centred=False)
    return emit.finish([emit.op("Mul", value, need(node, 2)), None, inverse, total])


def replace_simplified(emit: Emitter) -> bool:
    """Replace SimplifiedLayerNormalization along the last axis."""
    node = emit.node
    shape, axis = need(node, 0).shape, node.attributes.get_int("axis", -1)
    if axis != -1 and (shape is None or axis != len(shape) - 1):
        raise RefusedError("takes the mean along several axes")
    epsilon = node.attributes.get_float("epsilon", _EPSILON)
    value, _, inverse = normalised(emit, need(node, 0), epsilon, centred=False)
    return emit.finish([emit.op("Mul", value, need(node, 1)), inverse])


def replace_lp_normalization(emit: Emitter) -> bool:
    """Replace LpNormalization; where all is zero it stays so."""
    node, value = emit.node, need(emit.node, 0)
    axis, order = node.attributes.get_int("axis", -1), node.attributes.get_int("p", 2)
    op = f"ReduceL{order}"
    if emit.version < _AXES_BY_INPUT:
        norm = emit.op(op, value, axes=[axis], keepdims=1)
    else:
        norm = emit.op(op, value, emit.axes(axis), keepdims=1)
    least = emit.op("Max", norm, emit.number(_TINY, value))
    return emit.finish([emit.op("Div", value, least)])
