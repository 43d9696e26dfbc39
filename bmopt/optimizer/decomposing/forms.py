"""Standard ops in forms that an engine may lack; in others they stay as they are."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from bmopt.graph.values import constant_scalar
from bmopt.optimizer.decomposing.emitter import Emitter, is_used, known, need, numpy_type
from bmopt.optimizer.sweeps import RefusedError

_MOST_FACTORS = 8


def replace_is_inf(emit: Emitter) -> bool:
    """Replace an IsInf of one sign by a comparison."""
    attributes = emit.node.attributes
    signs = [attributes.get_int(f"detect_{one}", 1) for one in ("negative", "positive")]
    value = need(emit.node, 0)
    if signs == [1, 1]:
        return False
    if not any(signs):
        raise RefusedError("looks for no infinity")
    infinity = emit.number(np.inf if signs[1] else -np.inf, value)
    return emit.finish([emit.op("Equal", value, infinity)])


def replace_one_hot(emit: Emitter) -> bool:
    """Replace OneHot of a known depth by a comparison with all places."""
    node, index = emit.node, need(emit.node, 0)
    depth = known(node, 1)
    if depth is None or index.shape is None:
        raise RefusedError("has indices of unknown rank")
    rank, count = len(index.shape) + 1, int(depth.reshape(-1)[0])
    axis = node.attributes.get_int("axis", -1) % rank
    number = ir.DataType.INT64
    whole = index if index.dtype == number else emit.op("Cast", index, to=int(number))
    many = emit.constant(np.asarray(count, np.int64), "depth")
    below = emit.op("Less", whole, emit.constant(np.asarray(0, np.int64), "zero"))
    place = emit.op("Where", below, emit.op("Add", whole, many), whole)
    shape = [count, *[1] * (rank - 1 - axis)]
    places = emit.constant(np.arange(count, dtype=np.int64).reshape(shape), "places")
    hit = emit.op("Equal", emit.unsqueeze(place, axis), places)
    values = need(node, 2)
    off, on = emit.slice(values, 0, 0, 1), emit.slice(values, 0, 1, 2)
    return emit.finish([emit.op("Where", hit, on, off)])


def replace_pow(emit: Emitter) -> bool:
    """Replace Pow of two types, and of whole numbers."""
    node = emit.node
    base, exponent = need(node, 0), need(node, 1)
    if base.dtype is None or exponent.dtype is None:
        raise RefusedError("has operands of unknown type")
    if base.dtype.is_floating_point():
        if base.dtype == exponent.dtype:
            return False
        return emit.finish([emit.op("Pow", base, emit.op("Cast", exponent, to=int(base.dtype)))])
    times = constant_scalar(exponent)
    if times is None or times != int(times) or not 1 <= times <= _MOST_FACTORS:
        raise RefusedError("raises whole numbers to a power that is no small constant")
    product = base
    for _ in range(int(times) - 1):
        product = emit.op("Mul", product, base)
    return emit.finish([product if product is not base else emit.op("Identity", base)])


def replace_layer_norm(emit: Emitter) -> bool:
    """Replace a LayerNormalization whose mean or deviation is read."""
    node = emit.node
    if not (is_used(node, 1) or is_used(node, 2)):
        return False
    value, axes = need(node, 0), _last_axes(node)
    mean = emit.means(value, axes)
    apart = emit.op("Sub", value, mean)
    scaled, inverse = _over_root(emit, apart, axes)
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    return emit.finish([emit.sum(emit.op("Mul", scaled, need(node, 1)), bias), mean, inverse])


def replace_rms_norm(emit: Emitter) -> bool:
    """Replace an RMSNormalization along several axes."""
    axes = _last_axes(emit.node)
    if len(axes) == 1:
        return False
    scaled, _ = _over_root(emit, need(emit.node, 0), axes)
    return emit.finish([emit.op("Mul", scaled, need(emit.node, 1))])


def _last_axes(node: ir.Node) -> list[int]:
    shape = need(node, 0).shape
    if shape is None:
        raise RefusedError("has an input of unknown rank")
    if numpy_type(need(node, 0)) != np.float32:
        raise RefusedError("has an input of another type than FLOAT")
    return list(range(node.attributes.get_int("axis", -1) % len(shape), len(shape)))


def _over_root(emit: Emitter, value: ir.Value, axes: list[int]) -> tuple[ir.Value, ir.Value]:
    square = emit.means(emit.op("Mul", value, value), axes)
    epsilon = emit.number(emit.node.attributes.get_float("epsilon", 1e-5), need(emit.node, 0))
    inverse = emit.op("Reciprocal", emit.op("Sqrt", emit.op("Add", square, epsilon)))
    return emit.op("Mul", value, inverse), inverse
