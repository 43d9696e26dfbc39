"""How a node's constants take a positive factor per channel of its output or of its data."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from bmopt.core.runner import Array
from bmopt.graph.products import Product, product_of, rank_of
from bmopt.graph.values import constant_array, constant_tensor, is_op

_FLOATS = (ir.DataType.FLOAT, ir.DataType.DOUBLE, ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
_CONVOLUTIONS = ("Conv", "ConvTranspose")
_NORMALIZATIONS = ("BatchNormalization", "InstanceNormalization", "LayerNormalization")
_SHIFTS = ("Add", "Sub")
_MATRIX_RANK = 2


def scalable_product(node: ir.Node) -> Product | None:
    """Return ``node`` as a product whose float weight can be scaled, or None."""
    product = product_of(node)
    if product is None or not _is_float(node.inputs[1]):
        return None
    if node.op_type in _CONVOLUTIONS:
        return product
    transposed = node.op_type == "Gemm" and node.attributes.get_int("transA", 0) != 0
    return None if transposed or len(product.shape) != _MATRIX_RANK else product


def constant_operand(node: ir.Node) -> int | None:
    """Return the index of the one constant operand of an Add, Sub or Mul, else None.

    It must not make the result larger than the other operand.
    """
    if not is_op(node, "Mul", *_SHIFTS) or len(node.inputs) != 2:
        return None
    found = [index for index, value in enumerate(node.inputs) if _is_float(value)]
    if len(found) != 1:
        return None
    other = node.inputs[1 - found[0]]
    if rank_of(other) is None or rank_of(other) != rank_of(node.outputs[0]):
        return None
    return found[0]


def data_axis(node: ir.Node) -> int | None:
    """Return the axis of input 0 along which a product has its channels, None if not known."""
    product = scalable_product(node)
    rank = rank_of(node.inputs[0]) if product is not None else None
    if rank is None or rank < _MATRIX_RANK:
        return None
    return 1 if is_op(node, *_CONVOLUTIONS) else rank - 1


def can_multiply(node: ir.Node, axis: int) -> bool:
    """Whether constants of ``node`` alone scale its first output along ``axis``."""
    if scalable_product(node) is not None:
        bias = node.inputs[2] if len(node.inputs) > 2 else None
        rank = rank_of(node.outputs[0])
        wanted = 1 if is_op(node, *_CONVOLUTIONS) or rank is None else rank - 1
        return axis == wanted and (bias is None or _is_float(bias))
    if is_op(node, *_NORMALIZATIONS):
        return axis == _normalized_axis(node) and all(
            value is None or _is_float(value) for value in node.inputs[1:3]
        )
    return node.op_type == "Mul" and constant_operand(node) is not None


def can_divide(node: ir.Node, index: int, axis: int) -> bool:
    """Whether constants of ``node`` make up for a scale along ``axis`` of input ``index``."""
    if scalable_product(node) is not None:
        return index == 0 and axis == data_axis(node)
    return node.op_type == "Mul" and constant_operand(node) == 1 - index


def is_shift(node: ir.Node) -> bool:
    """Whether ``node`` adds or subtracts a constant, which is scaled with its data."""
    return node.op_type in _SHIFTS and constant_operand(node) is not None


def multiplied(node: ir.Node, axis: int, factors: Array) -> dict[int, Array]:
    """Return new constants, by input index, with which output channels are ``factors`` as large.

    Args:
        node: A node that ``can_multiply``, or a shift.
        axis: The axis of its output.
        factors: float64 ``[channels]``, or a divisor of as many: each then counts for a run.
    """
    product = scalable_product(node)
    if product is not None:
        return _multiplied_product(product, factors)
    if is_op(node, *_NORMALIZATIONS):
        found = {i: constant_array(value) for i, value in enumerate(node.inputs[1:3], 1)}
        return {
            index: _rounded(array * _repeated(factors, array.size), array)
            for index, array in found.items()
            if array is not None
        }
    return _scaled_operand(node, axis, factors)


def divided(node: ir.Node, axis: int, factors: Array) -> dict[int, Array]:
    """Return new constants, by input index, for data that is ``factors`` as large.

    Args:
        node: A node that ``can_divide``.
        axis: The axis of its data.
        factors: As for ``multiplied``.
    """
    product = scalable_product(node)
    if product is None:
        return _scaled_operand(node, axis, 1.0 / factors)
    weight = product.weight()
    view = grouped_view(product, weight.astype(np.float64))
    inputs = _repeated(factors, view.shape[0] * view.shape[1])
    scaled = view / inputs.reshape(view.shape[0], view.shape[1], 1, 1)
    return {1: _rounded(_from_grouped(product, scaled), weight)}


def grouped_view(product: Product, weight: Array) -> Array:
    """Return a weight as ``[groups, inputs of a group, taps, outputs of a group]``."""
    groups, op = product.groups, product.node.op_type
    if op not in _CONVOLUTIONS:
        matrix = weight if product.axis == 1 else weight.T
        return matrix[None, :, None, :]
    taps = math.prod(product.shape[2:])
    view = weight.reshape(groups, -1, product.shape[1], taps)
    return view.transpose((0, 2, 3, 1) if op == "Conv" else (0, 1, 3, 2))


def _from_grouped(product: Product, view: Array) -> Array:
    op = product.node.op_type
    if op not in _CONVOLUTIONS:
        matrix: Array = view[0, :, 0, :]
        return matrix if product.axis == 1 else matrix.T
    return view.transpose((0, 3, 1, 2) if op == "Conv" else (0, 1, 3, 2)).reshape(product.shape)


def _multiplied_product(product: Product, factors: Array) -> dict[int, Array]:
    weight = product.weight()
    view = grouped_view(product, weight.astype(np.float64))
    outputs = _repeated(factors, view.shape[0] * view.shape[3])
    scaled = view * outputs.reshape(view.shape[0], 1, 1, view.shape[3])
    found = {1: _rounded(_from_grouped(product, scaled), weight)}
    bias = None if product.bias is None else constant_array(product.node.inputs[product.bias])
    if product.bias is not None and bias is not None:
        found[product.bias] = _rounded(bias * outputs, bias)
    return found


def _scaled_operand(node: ir.Node, axis: int, factors: Array) -> dict[int, Array]:
    index, shape = constant_operand(node), node.outputs[0].shape
    assert index is not None
    assert shape is not None
    size = shape[axis]
    assert isinstance(size, int)
    array = constant_array(node.inputs[index])
    assert array is not None
    along = _repeated(factors, size).reshape(size, *[1] * (len(shape) - axis - 1))
    return {index: _rounded(array * along, array)}


def _repeated(factors: Array, size: int) -> Array:
    return np.repeat(factors, size // len(factors))


def _rounded(array: Array, like: Array) -> Array:
    with np.errstate(over="ignore"):  # Whoever writes the constants looks for infinities.
        return np.ascontiguousarray(array.astype(like.dtype))


def _normalized_axis(node: ir.Node) -> int | None:
    """Return the one axis along which a normalisation has its scale."""
    if node.op_type != "LayerNormalization":
        return None if node.attributes.get_int("training_mode", 0) else 1
    rank = rank_of(node.outputs[0])
    axis = int(node.attributes.get_int("axis", -1))
    return None if rank is None or axis not in (-1, rank - 1) else rank - 1


def _is_float(value: ir.Value | None) -> bool:
    tensor = constant_tensor(value)
    return tensor is not None and tensor.dtype in _FLOATS
