"""Conv, ConvTranspose, Gemm and MatMul with constant weights, seen as one thing.

A weight is viewed as ``[groups, a, b, *kernel]``, where one of ``a`` and ``b`` counts a group's
output channels and the other its input channels:

==============  ====================  ==========  =========
op              stored as             outputs in  inputs in
==============  ====================  ==========  =========
Conv            [O, I/g, *k]          a           b
ConvTranspose   [I, O/g, *k]          b           a
MatMul, Gemm    [I, O]                b           a
Gemm, transB    [O, I]                a           b
==============  ====================  ==========  =========

With ``y = W x + b``, an affine map of the outputs is ``(s W) x + (s b + t)`` and one of the inputs
is ``(W s) x + (W t + b)``, the latter only where every output sees every tap of the kernel.
Arithmetic is done in double precision and rounded once.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir

from bmopt.core.runner import Array
from bmopt.graph.origin import merge_origin
from bmopt.graph.values import constant_array, constant_tensor, is_op
from bmopt.optimizer.rewrite import add_constant, remove_dead, root_graph
from bmopt.optimizer.sweeps import RefusedError

FLOATS = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.FLOAT, ir.DataType.DOUBLE)
OPS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclasses.dataclass(frozen=True)
class Linear:
    """A node with a constant float weight.

    Attributes:
        node: The node; input 0 is data, input 1 the weight, input 2 the optional bias.
        weight: The weight's tensor.
        view: The weight's shape as ``[groups, a, b, *kernel]``.
        output_axis: Axis of ``view`` that counts a group's output channels, 1 or 2.
        rank: Rank of input 0 and of the output; None where a MatMul's is unknown.
    """

    node: ir.Node
    weight: ir.TensorProtocol
    view: tuple[int, ...]
    output_axis: int
    rank: int | None

    @property
    def outputs(self) -> int:
        """How many output channels there are."""
        return self.view[0] * self.view[self.output_axis]

    @property
    def inputs(self) -> int:
        """How many input channels there are."""
        return self.view[0] * self.view[3 - self.output_axis]

    @property
    def channel_axis(self) -> int:
        """The axis of the data that holds the channels, from the front or from the end."""
        return 1 if self.node.op_type in ("Conv", "ConvTranspose") else -1


@dataclasses.dataclass(frozen=True)
class Edit:
    """New constants for a node; None leaves what is there."""

    linear: Linear
    weight: Array | None
    bias: Array | None


def linear_of(node: ir.Node | None) -> Linear | None:
    """Return ``node`` as a Linear; None where it is another op or its weight is not constant."""
    if node is None or not is_op(node, *OPS) or len(node.inputs) < 2:
        return None
    weight = constant_tensor(node.inputs[1])
    if weight is None or weight.dtype not in FLOATS:
        return None
    shape = tuple(int(d) for d in weight.shape.numpy())
    if node.op_type in ("Conv", "ConvTranspose"):
        groups = node.attributes.get_int("group", 1)
        view = (groups, shape[0] // groups, *shape[1:])
        return Linear(node, weight, view, 1 if node.op_type == "Conv" else 2, len(shape))
    if len(shape) != 2:
        return None
    if node.op_type == "Gemm":
        output_axis = 1 if node.attributes.get_int("transB", 0) else 2
        return Linear(node, weight, (1, *shape), output_axis, 2)
    data = node.inputs[0]
    rank = None if data is None or data.shape is None else data.shape.rank()
    return Linear(node, weight, (1, *shape), 2, rank)


def plan_outputs(linear: Linear, scale: Array, shift: Array) -> Edit:
    """Plan ``scale * y + shift`` of the outputs; both are scalars or hold one item per channel.

    Raises:
        RefusedError: The node cannot take it; nothing has been changed.
    """
    _require_bias_input(linear, shift)
    weight = _scaled_weight(linear, scale, linear.output_axis)
    old = _bias(linear) if np.any(scale != 1) or np.any(shift != 0) else None
    new = None
    if old is not None or np.any(shift != 0):
        start: Array = np.zeros(()) if old is None else old
        new = start * scale + shift
    return Edit(linear, weight, _rounded_bias(linear, new))


def plan_inputs(linear: Linear, scale: Array, shift: Array) -> Edit:
    """Plan for reading ``x`` where the node read ``scale * x + shift``.

    Raises:
        RefusedError: The node cannot take it; nothing has been changed.
    """
    attributes = linear.node.attributes
    if linear.node.op_type == "Gemm" and attributes.get_int("transA", 0) != 0:
        raise RefusedError("feeds a Gemm that transposes its data")
    _require_bias_input(linear, shift)
    weight = _scaled_weight(linear, scale, 3 - linear.output_axis)
    bias = None
    if np.any(shift != 0):
        _require_all_taps(linear)
        per_tap = _as_view(linear, linear.weight.numpy()) * _along(
            linear, shift, 3 - linear.output_axis
        )
        axes = tuple(a for a in range(1, per_tap.ndim) if a != linear.output_axis)
        alpha = attributes.get_float("alpha", 1.0)
        old = _bias(linear)
        bias = alpha * per_tap.sum(axis=axes).reshape(-1) + (0 if old is None else old)
    return Edit(linear, weight, _rounded_bias(linear, bias))


def apply_edit(edit: Edit) -> None:
    """Give the node its new constants; shared initialisers stay as they are."""
    node = edit.linear.node
    if edit.weight is not None:
        set_constant(node, 1, edit.weight, "weight")
    if edit.bias is None:
        return
    if node.op_type == "MatMul":
        node.op_type = "Gemm"
    node.attributes.pop("beta", None)
    set_constant(node, 2, edit.bias, "bias")


def set_constant(node: ir.Node, index: int, array: Array, role: str) -> None:
    """Let input ``index`` of ``node`` be a new initialiser, and drop the old one if unused."""
    if len(node.inputs) <= index:
        node.resize_inputs(index + 1)
    old = node.inputs[index]
    stem = (old.name if old is not None else None) or f"{node.name}.{role}"
    node.replace_input_with(index, add_constant(root_graph(node), stem, array))
    drop_unused(old)


def drop_unused(value: ir.Value | None) -> None:
    """Remove the Constant node or initialiser behind ``value`` if nobody reads it any more."""
    if value is None or value.uses() or value.is_graph_output() or value.is_graph_input():
        return
    producer = value.producer()
    if producer is not None:
        remove_dead([producer])
    elif value.is_initializer() and value.graph is not None and value.name:
        value.graph.initializers.pop(value.name, None)


def take_over(node: ir.Node, tail: ir.Node) -> None:
    """Let ``node``'s output become ``tail``'s, name, type and readers, and remove ``tail``.

    ``tail`` alone reads ``node``'s output, in the same graph.
    """
    old, new = tail.outputs[0], node.outputs[0]
    name = old.name
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    merge_origin(node, [tail])
    operands = tail.inputs
    root_graph(tail).remove(tail, safe=True)
    for operand in operands:
        drop_unused(operand)
    old.name = f"{name}__replaced"
    new.name, new.shape, new.type = name, old.shape, old.type


def rounded(array: Array, dtype: ir.DataType) -> Array:
    """Return ``array`` in ``dtype``.

    Raises:
        RefusedError: It holds values that ``dtype`` has no room or no digits for.
    """
    with np.errstate(over="ignore"):
        result: Array = array.astype(dtype.numpy())
    back = result.astype(np.float64)
    if not np.isfinite(back).all():
        raise RefusedError(f"would need constants beyond the range of {dtype.name}")
    if np.abs(back - array).max(initial=0) > 2**-7 * np.abs(array).max(initial=0):
        raise RefusedError(f"would need constants too small for {dtype.name}")
    return result


def _as_view(linear: Linear, weight: Array) -> Array:
    return weight.astype(np.float64).reshape(linear.view)


def _along(linear: Linear, factor: Array, axis: int) -> Array:
    if factor.ndim == 0:
        return factor
    shape = [1] * len(linear.view)
    shape[0], shape[axis] = linear.view[0], linear.view[axis]
    return factor.reshape(shape)


def _scaled_weight(linear: Linear, scale: Array, axis: int) -> Array | None:
    if np.all(scale == 1):
        return None
    scaled = _as_view(linear, linear.weight.numpy()) * _along(linear, scale, axis)
    return rounded(scaled, linear.weight.dtype).reshape(tuple(linear.weight.shape.numpy()))


def _rounded_bias(linear: Linear, bias: Array | None) -> Array | None:
    if bias is None:
        return None
    return rounded(np.broadcast_to(bias, (linear.outputs,)), linear.weight.dtype)


def _bias(linear: Linear) -> Array | None:
    """Return the bias in double precision, as a scalar or one item per channel."""
    value = linear.node.inputs[2] if len(linear.node.inputs) > 2 else None
    if value is None:
        return None
    array = constant_array(value)
    if array is None:
        raise RefusedError(f"needs the bias of {linear.node.name!r}, which is computed")
    if array.size not in (1, linear.outputs) or array.shape[-1:] not in ((), (array.size,)):
        raise RefusedError(f"needs the bias of {linear.node.name!r}, which is not per channel")
    return array.astype(np.float64).reshape(-1) * linear.node.attributes.get_float("beta", 1.0)


def _require_bias_input(linear: Linear, shift: Array) -> None:
    if linear.node.op_type == "MatMul" and linear.rank != 2 and np.any(shift != 0):
        raise RefusedError(f"needs a bias, and MatMul {linear.node.name!r} is not of rank 2")


def _require_all_taps(linear: Linear) -> None:
    node = linear.node
    if node.op_type == "ConvTranspose":
        raise RefusedError("adds a constant before a ConvTranspose, whose borders see less of it")
    if node.op_type == "Conv" and (
        any(node.attributes.get_ints("pads", ()))
        or node.attributes.get_string("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
    ):
        raise RefusedError("adds a constant before a Conv that pads with zeros")
