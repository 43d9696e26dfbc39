"""Which axis of its output a positive scale along an axis of its data comes out at, per op."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from bmopt.core.runner import Array
from bmopt.graph.products import clip_bounds, rank_of
from bmopt.graph.values import constant_array, constant_tensor, is_op

_SAME = ("Abs", "Dropout", "Identity", "LeakyRelu", "Neg", "PRelu", "Relu")
_POOLS = ("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "LpPool", "MaxPool")
_REDUCTIONS = ("ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum")
_REARRANGING = ("Flatten", "Reshape", "Squeeze", "Unsqueeze")
_JOINS = ("Add", "Concat", "Max", "Min", "Sub", "Sum")

Axis = int | None


def carried_inputs(node: ir.Node) -> tuple[ir.Value, ...]:
    """Return the inputs whose scale ``node`` passes on; all of them must have the same."""
    if is_op(node, *_JOINS):
        return tuple(v for v in node.inputs if v is not None and constant_tensor(v) is None)
    return tuple(value for value in node.inputs[:1] if value is not None)


def axis_behind(node: ir.Node, axis: int) -> Axis:
    """Return where a scale along ``axis`` of the carried inputs is in output 0.

    None where a positive factor per channel does not commute with the node: it is not
    homogeneous, mixes channels, or its shapes are not known. A Clip commutes up to its bounds,
    see ``upper_bound``.
    """
    rule = next((rule for ops, rule in _RULES if is_op(node, *ops)), None)
    if rule is None or any(output.uses() for output in node.outputs[1:]):
        return None
    if any(rank_of(value) is None for value in (*carried_inputs(node), node.outputs[0])):
        return None
    return rule(node, axis)


def axis_before(node: ir.Node, axis: int) -> Axis:
    """Return the axis of the carried inputs whose scale is along ``axis`` of output 0."""
    inputs = carried_inputs(node)
    rank = rank_of(inputs[0]) if inputs else None
    wide = [a for a in range(rank or 0) if channels_at(inputs[0], a) not in (None, 1)]
    found = [a for a in wide if axis_behind(node, a) == axis]
    return found[0] if len(found) == 1 else None


def upper_bound(node: ir.Node) -> float:
    """Return the bound above which a Clip cuts; infinity for any other node."""
    bounds = clip_bounds(node)
    return math.inf if bounds is None else bounds[1]


def channels_at(value: ir.Value | None, axis: int) -> int | None:
    """Return the length of an axis, None where it is not a known number."""
    if value is None or value.shape is None or not 0 <= axis < len(value.shape):
        return None
    size = value.shape[axis]
    return size if isinstance(size, int) and size > 0 else None


def _same(_node: ir.Node, axis: int) -> Axis:
    return axis


def _clip(node: ir.Node, axis: int) -> Axis:
    bounds = clip_bounds(node)
    if bounds is None or bounds[0] not in (0.0, -math.inf) or bounds[1] <= 0.0:
        return None
    return axis


def _pool(_node: ir.Node, axis: int) -> Axis:
    return axis if axis == 1 else None


def _join(node: ir.Node, axis: int) -> Axis:
    """All operands vary, and have the output's rank and channels."""
    values = carried_inputs(node)
    wanted = channels_at(node.outputs[0], axis)
    alike = all(
        rank_of(v) == rank_of(node.outputs[0]) and channels_at(v, axis) == wanted for v in values
    )
    return axis if alike and wanted is not None and len(values) == len(node.inputs) else None


def _transpose(node: ir.Node, axis: int) -> Axis:
    order = node.attributes.get_ints("perm", None)
    rank = rank_of(node.inputs[0])
    assert rank is not None
    return list(order or reversed(range(rank))).index(axis)


def _rearrange(node: ir.Node, axis: int) -> Axis:
    """Channels stay in order, each a run of the output's index, whatever the batch size is."""
    before, after = node.inputs[0], node.outputs[0]
    size, inner = channels_at(before, axis), _inner(before, axis)
    if size is None or inner is None:
        return None
    rank = rank_of(after)
    assert rank is not None
    found = [(_run(after, other, size, inner), other) for other in range(rank)]
    length, other = max(found, default=(0, 0))
    return other if length > 1 or length == size else None


def _run(after: ir.Value, axis: int, size: int, inner: int) -> int:
    """Return the length of an axis whose indices are runs of channels, or parts; 0 if not."""
    length, rest = channels_at(after, axis), _inner(after, axis)
    if length is None or rest is None or length * rest != size * inner:
        return 0
    return length if length % size == 0 or size % length == 0 else 0


def _inner(value: ir.Value | None, axis: int) -> int | None:
    """Return how many elements there are per index of ``axis`` and of those before it."""
    assert value is not None
    assert value.shape is not None
    sizes = [channels_at(value, other) for other in range(axis + 1, len(value.shape))]
    known = [size for size in sizes if size is not None]
    return math.prod(known) if len(known) == len(sizes) else None


def _reduce(node: ir.Node, axis: int) -> Axis:
    rank = rank_of(node.inputs[0])
    axes = _reduced_axes(node)
    assert rank is not None
    if axes is None or axis in (gone := {int(a) % rank for a in axes}):
        return None
    if node.attributes.get_int("keepdims", 1):
        return axis
    return axis - sum(a < axis for a in gone)


def _reduced_axes(node: ir.Node) -> Sequence[int] | None:
    written = node.attributes.get_ints("axes", None)
    if written:
        return list(written)
    array = constant_array(node.inputs[1]) if len(node.inputs) > 1 else None
    return None if array is None or array.size == 0 else [int(a) for a in array.reshape(-1)]


def _slice(node: ir.Node, axis: int) -> Axis:
    axes = constant_array(node.inputs[3]) if len(node.inputs) > 3 else None
    rank = rank_of(node.inputs[0])
    assert rank is not None
    if axes is None or axis in {int(a) % rank for a in axes.reshape(-1)}:
        return None
    return axis


def _pad(node: ir.Node, axis: int) -> Axis:
    """Nothing but zeros or copies of a channel's own values is put beside it."""
    pads: Array | None = np.array(node.attributes.get_ints("pads", ()))
    if len(node.inputs) > 1:
        pads = constant_array(node.inputs[1])
    fill = constant_array(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
    is_zero = node.attributes.get_float("value", 0.0) == 0.0 and (fill is None or not fill.any())
    known = len(node.inputs) < 3 or node.inputs[2] is None or fill is not None
    rank = rank_of(node.inputs[0])
    if pads is None or rank is None or pads.size != 2 * rank or not (known and is_zero):
        return None
    return None if pads[axis] or pads[axis + rank] else axis


_RULES: tuple[tuple[tuple[str, ...], Callable[[ir.Node, int], Axis]], ...] = (
    (_SAME, _same),
    (("Clip",), _clip),
    (_POOLS, _pool),
    (_JOINS, _join),
    (("Transpose",), _transpose),
    (_REARRANGING, _rearrange),
    (_REDUCTIONS, _reduce),
    (("Slice",), _slice),
    (("Pad",), _pad),
)
