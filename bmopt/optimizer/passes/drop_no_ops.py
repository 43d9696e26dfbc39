"""Nodes that only hand on their input go, and a few become the simpler op that they are."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import onnx_ir as ir

from bmopt.graph.values import constant_array, is_op, producer_of
from bmopt.optimizer.no_ops import clip_bounds, handed_on, is_lossless, same_known_shape
from bmopt.optimizer.pass_base import Outcome, Pass, Refusal
from bmopt.optimizer.rewrite import can_bypass, new_node, remove_dead, replace_output
from bmopt.optimizer.shapes.values import nodes_in_order

_FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE)


@dataclasses.dataclass(frozen=True)
class DropNoOps(Pass):
    """Remove what changes nothing.

    1. A node whose output always equals its first input: Identity, Dropout at inference, a cast
       to the same type, a Transpose, Reshape, Slice, Pad, Resize ... that leaves all in place,
       arithmetic with a neutral constant, an op that undoes or repeats the one before it.
    2. ``Clip(x, 0, inf)`` becomes Relu; ``Clip(Relu(x), a, b)`` with ``a >= 0`` reads ``x``.
    3. A cast of a lossless cast reads the source.
    4. Where with a constant choice between equal shapes is the one it chooses.

    A neutral constant must not broadcast the other operand. ``x + 0`` turns -0 into 0, which
    counts as equal. Refuses where a name of the model's interface would be lost.
    """

    name: ClassVar[str] = "drop-no-ops"

    def call(self, model: ir.Model) -> Outcome:
        """Remove in one sweep, producers before consumers."""
        refusals: list[Refusal] = []
        dropped: list[ir.Node] = []
        modified = False
        for node in nodes_in_order(model.graph):
            modified |= _simplify(node)
            if node.graph is None:
                continue
            source = _chosen(node) if is_op(node, "Where") else handed_on(node)
            if source is None or not _is_read(node):
                continue
            if can_bypass(node.outputs[0], source):
                replace_output(node.outputs[0], source)
                dropped.append(node)
            else:
                refusals.append(Refusal(node.name or "", "is a name of the model's interface"))
        remove_dead(reversed(dropped))
        return Outcome(model, modified=modified or bool(dropped), refusals=tuple(refusals))


def _is_read(node: ir.Node) -> bool:
    return bool(node.outputs[0].uses()) or node.outputs[0].is_graph_output()


def _simplify(node: ir.Node) -> bool:
    if is_op(node, "Clip"):
        return _skip_relu(node) or _clip_to_relu(node)
    return is_op(node, "Cast") and _skip_cast(node)


def _skip_relu(node: ir.Node) -> bool:
    relu, bounds = producer_of(node.inputs[0], "Relu"), clip_bounds(node)
    if relu is None or bounds is None or bounds[0] is None or bounds[0] < 0:
        return False
    node.replace_input_with(0, relu.inputs[0])
    remove_dead([relu])
    return True


def _clip_to_relu(node: ir.Node) -> bool:
    bounds = clip_bounds(node)
    if bounds is None or bounds[0] != 0 or bounds[1] not in (None, float("inf")):
        return False
    data = node.inputs[0]
    if data is None or data.dtype not in _FLOATS:
        return False
    relu = new_node("Relu", [data], like=node)
    replace_output(node.outputs[0], relu.outputs[0])
    remove_dead([node])
    return True


def _skip_cast(node: ir.Node) -> bool:
    inner = producer_of(node.inputs[0], "Cast")
    source = None if inner is None else inner.inputs[0]
    if inner is None or source is None or source.dtype is None:
        return False
    between = inner.outputs[0].dtype
    if between is None or not is_lossless(source.dtype, between):
        return False
    node.replace_input_with(0, source)
    remove_dead([inner])
    return True


def _chosen(node: ir.Node) -> ir.Value | None:
    choice = constant_array(node.inputs[0])
    if choice is None or not choice.size or choice.any() != choice.all():
        return None
    value = node.inputs[1] if choice.all() else node.inputs[2]
    return value if same_known_shape(value, node.outputs[0]) else None
