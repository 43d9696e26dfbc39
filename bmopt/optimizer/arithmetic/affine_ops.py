"""Nodes that compute ``scale * x + shift`` with constants: BatchNormalization, Add, Mul, ..."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir

from bmopt.core.runner import Array
from bmopt.graph.origin import merge_origin
from bmopt.graph.values import constant_array, constant_tensor, is_op
from bmopt.optimizer.arithmetic.linear_ops import (
    FLOATS,
    Linear,
    apply_edit,
    drop_unused,
    linear_of,
    plan_inputs,
    plan_outputs,
    take_over,
)
from bmopt.optimizer.rewrite import remove_dead
from bmopt.optimizer.sweeps import RefusedError, require_private

OPS = ("Add", "Sub", "Mul", "Div", "Neg")


@dataclasses.dataclass(frozen=True)
class Affine:
    """``scale * source + shift``, in double precision.

    Attributes:
        node: The node that computes it.
        source: What is scaled.
        scale: Scalar, or an array that broadcasts against ``source``.
        shift: Likewise.
        per_channel: Both are scalars or vectors along axis 1, whatever their rank.
    """

    node: ir.Node
    source: ir.Value
    scale: Array
    shift: Array
    per_channel: bool = False


def affine_operands(node: ir.Node) -> tuple[ir.Value, ir.Value | None] | None:
    """Return ``(source, constant)`` of an affine node, None where it is not one; cheap."""
    if not is_op(node, *OPS) or any(value is None for value in node.inputs):
        return None
    values = [value for value in node.inputs if value is not None]
    if node.op_type == "Neg":
        return (values[0], None) if values[0].dtype in FLOATS else None
    first, second = (constant_tensor(value) for value in values)
    if (first is None) == (second is None) or (node.op_type == "Div" and second is None):
        return None
    source, constant = values if second is not None else values[::-1]
    tensor = first if second is None else second
    return (source, constant) if tensor is not None and tensor.dtype in FLOATS else None


def affine_of(node: ir.Node) -> Affine | None:
    """Return what an Add, Sub, Mul, Div by a constant or a Neg computes, None for others."""
    operands = affine_operands(node)
    if operands is None:
        return None
    source, constant = operands
    zero, one = np.zeros(()), np.ones(())
    if constant is None:
        return Affine(node, source, -one, zero)
    array = constant_array(constant)
    assert array is not None
    number: Array = array.astype(np.float64)
    if node.op_type == "Mul":
        return Affine(node, source, number, zero)
    if node.op_type == "Div":
        with np.errstate(divide="ignore"):
            return Affine(node, source, 1 / number, zero)
    if node.op_type == "Add":
        return Affine(node, source, one, number)
    if constant is node.inputs[0]:
        return Affine(node, source, -one, number)
    return Affine(node, source, one, -number)


def batch_norm_of(node: ir.Node) -> Affine:
    """Return what a BatchNormalization computes at inference.

    Raises:
        RefusedError: It trains, or its parameters are not constant.
    """
    attributes = node.attributes
    if attributes.get_int("training_mode", 0):
        raise RefusedError("is in training mode")
    if not attributes.get_int("spatial", 1):
        raise RefusedError("normalises every position by itself (spatial=0)")
    if any(out.uses() or out.is_graph_output() for out in node.outputs[1:]):
        raise RefusedError("has statistics that are read")
    arrays = [constant_array(value) for value in node.inputs[1:5]]
    parameters = [array.astype(np.float64) for array in arrays if array is not None]
    source = node.inputs[0]
    if len(parameters) != 4 or source is None:
        raise RefusedError("has parameters that are not constant")
    gamma, beta, mean, variance = parameters
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = gamma / np.sqrt(variance + attributes.get_float("epsilon", 1e-5))
    return Affine(node, source, scale, beta - mean * scale, per_channel=True)


def fold_backwards(affine: Affine) -> bool:
    """Fold into the linear node that makes the source; False where another op makes it.

    Raises:
        RefusedError: There is one, and it must not be changed.
    """
    linear = linear_of(affine.source.producer())
    if linear is None:
        return False
    require_private(affine.source, affine.node)
    scale, shift = _channel_vectors(affine, linear, linear.outputs)
    apply_edit(plan_outputs(linear, scale, shift))
    take_over(linear.node, affine.node)
    return True


def fold_forwards(affine: Affine) -> bool:
    """Fold into the linear nodes that read the result; False where none reads it.

    Raises:
        RefusedError: One does, and it or another reader must not be changed.
    """
    result = affine.node.outputs[0]
    uses = tuple(result.uses())
    readers = [linear_of(use.node) if use.idx == 0 else None for use in uses]
    linears = [linear for linear in readers if linear is not None]
    if not linears:
        return False
    if result.is_graph_output() or len(linears) < len(uses):
        raise RefusedError(f"writes {result.name!r}, which is not read by linear nodes alone")
    if any(linear.node.graph is not affine.node.graph for linear in linears):
        raise RefusedError(f"writes {result.name!r}, which a sub-graph reads")
    edits = []
    for linear in linears:
        _require_same_shape(affine, linear)
        edits.append(plan_inputs(linear, *_channel_vectors(affine, linear, linear.inputs)))
    for edit in edits:
        apply_edit(edit)
        edit.linear.node.replace_input_with(0, affine.source)
        merge_origin(edit.linear.node, [affine.node])
    operands = affine.node.inputs
    remove_dead([affine.node])
    for operand in operands:
        drop_unused(operand)
    return True


def fold_either_way(affine: Affine) -> bool:
    """Fold backwards if that is possible, else forwards; False where neither side is linear.

    Raises:
        RefusedError: A side is linear, and must not be changed.
    """
    try:
        return fold_backwards(affine) or fold_forwards(affine)
    except RefusedError as backwards:
        try:
            if fold_forwards(affine):
                return True
        except RefusedError as forwards:
            raise RefusedError("; ".join(dict.fromkeys(map(str, (backwards, forwards))))) from None
        raise


def _require_same_shape(affine: Affine, linear: Linear) -> None:
    """Refuse where the affine node broadcasts its source to a larger shape."""
    if affine.per_channel or affine.node.op_type == "Neg":
        return
    shape, rank = affine.source.shape, max(affine.scale.ndim, affine.shift.ndim)
    size = max(affine.scale.size, affine.shift.size)
    if size == 1 and (rank == 0 or (shape is not None and shape.rank() >= rank)):
        return
    if shape is None or shape.rank() != linear.rank:
        raise RefusedError("may broadcast its input, whose rank is unknown or other")
    if shape[linear.channel_axis] != linear.inputs:
        raise RefusedError("may broadcast its input along the channels")


def _channel_vectors(affine: Affine, linear: Linear, channels: int) -> tuple[Array, Array]:
    scale = _channel_vector(affine, affine.scale, linear, channels)
    shift = _channel_vector(affine, affine.shift, linear, channels)
    if not (np.isfinite(scale).all() and np.isfinite(shift).all()):
        raise RefusedError("has a constant or a factor that is not finite")
    return scale, shift


def _channel_vector(affine: Affine, array: Array, linear: Linear, channels: int) -> Array:
    """Return ``array`` as a scalar or as one item per channel of ``linear``'s data."""
    rank = linear.rank if linear.rank is not None else 1
    if affine.per_channel:
        if linear.node.op_type == "MatMul" and linear.rank != 2:
            raise RefusedError(f"is beside MatMul {linear.node.name!r}, which is not of rank 2")
        if array.shape != (channels,):
            raise RefusedError(f"has {array.size} channels beside {channels}")
        return array
    if array.ndim > rank:
        raise RefusedError("has a constant of a higher rank than its input")
    if array.size == 1:
        return array.reshape(())
    aligned = (1,) * (rank - array.ndim) + array.shape
    if aligned[linear.channel_axis] != array.size or array.size != channels:
        raise RefusedError("has a constant that is not per channel")
    return array.reshape(-1)


def is_beside_linear(node: ir.Node, source: ir.Value) -> bool:
    """Whether a linear node makes ``source`` or reads what ``node`` writes; cheap."""
    if linear_of(source.producer()) is not None:
        return True
    return any(linear_of(use.node) is not None for use in node.outputs[0].uses())
