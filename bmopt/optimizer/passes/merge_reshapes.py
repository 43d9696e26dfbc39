"""Chains of ops that only change the shape become one."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from bmopt.graph.values import constant_array, constant_tensor, is_op, only_consumer
from bmopt.optimizer.no_ops import moves_only_ones
from bmopt.optimizer.pass_base import Outcome, Pass, Refusal
from bmopt.optimizer.rewrite import (
    add_constant,
    can_bypass,
    new_node,
    opset,
    remove_dead,
    replace_output,
    root_graph,
)
from bmopt.optimizer.shapes.symbolic import Item, write_target
from bmopt.optimizer.shapes.values import ShapeValues, nodes_in_order

_AXES_AS_INPUT = 13
"""The opset from which Squeeze and Unsqueeze take their axes as an input."""


@dataclasses.dataclass(frozen=True)
class MergeReshapes(Pass):
    """Merge neighbours among Reshape, Flatten, Squeeze, Unsqueeze.

    A Transpose that only moves axes of size 1 counts as one of them.

    1. Two that end in the shape they began with are dropped.
    2. Two become one Reshape where a constant target with one -1 can say the final shape, or
       where the second is a Reshape to constant sizes anyway.
    3. Two Unsqueezes with constant axes become one, whatever the shape.

    The first must have no other reader, except for rule 1. Refuses where the final shape has
    more unknown axes than a constant target can express.
    """

    name: ClassVar[str] = "merge-reshapes"

    def call(self, model: ir.Model) -> Outcome:
        """Merge in one sweep; a merged pair is seen again by the node after it."""
        values = ShapeValues()
        refusals: list[Refusal] = []
        modified = False
        for node in nodes_in_order(model.graph):
            first = (
                _shaper(node.inputs[0]) if node.graph is not None and _is_shaper(node) else None
            )
            if first is None:
                continue
            if _cancel(first, node, values) or _merge(first, node, values, opset(model)):
                modified = True
            elif only_consumer(first.outputs[0]) is node:
                refusals.append(Refusal(node.name or "", "ends in a shape with unknown axes"))
        return Outcome(model, modified=modified, refusals=tuple(refusals))


def _is_shaper(node: ir.Node) -> bool:
    if is_op(node, "Transpose"):
        return moves_only_ones(node)
    return is_op(node, "Reshape", "Flatten", "Squeeze", "Unsqueeze")


def _shaper(value: ir.Value | None) -> ir.Node | None:
    node = None if value is None else value.producer()
    return node if node is not None and _is_shaper(node) else None


def _cancel(first: ir.Node, second: ir.Node, values: ShapeValues) -> bool:
    data, out = first.inputs[0], second.outputs[0]
    before, after = values.dims(data), values.dims(out)
    if data is None or before is None or before != after or not can_bypass(out, data):
        return False
    if not out.uses() and not out.is_graph_output():
        return False
    replace_output(out, data)
    remove_dead([second])
    return True


def _merge(first: ir.Node, second: ir.Node, values: ShapeValues, version: int) -> bool:
    data = first.inputs[0]
    if data is None or only_consumer(first.outputs[0]) is not second:
        return False
    if is_op(second, "Reshape") and _is_plain_target(second):
        second.replace_input_with(0, data)
        remove_dead([first])
        return True
    target = _final_target(second.outputs[0], values.dims(data), values)
    if target is not None:
        return _replace(second, first, "Reshape", data, target)
    if is_op(first, "Unsqueeze") and is_op(second, "Unsqueeze") and version >= _AXES_AS_INPUT:
        axes = _joint_axes(constant_array(first.inputs[1]), constant_array(second.inputs[1]))
        return axes is not None and _replace(second, first, "Unsqueeze", data, axes)
    return False


def _is_plain_target(node: ir.Node) -> bool:
    """Whether the target means the same for any data: constant and without copied axes."""
    if constant_tensor(node.inputs[1]) is None:
        return False
    target = constant_array(node.inputs[1])
    return target is not None and 0 not in target


def _final_target(
    out: ir.Value, data: Sequence[Item] | None, values: ShapeValues
) -> list[int] | None:
    dims = values.dims(out)
    if dims is None or 0 in dims:
        return None
    return write_target(dims, data)


def _joint_axes(first: np.ndarray | None, second: np.ndarray | None) -> list[int] | None:
    if first is None or second is None or (first < 0).any() or (second < 0).any():
        return None
    outer = sorted(second.tolist())
    inner: list[int] = []
    free = [n for n in range(len(first) + len(outer) + int(first.max()) + 1) if n not in outer]
    inner.extend(free[axis] for axis in first.tolist())
    return sorted(outer + inner)


def _replace(
    second: ir.Node, first: ir.Node, op_type: str, data: ir.Value, numbers: Sequence[int]
) -> bool:
    constant = add_constant(root_graph(second), "target", np.array(numbers, np.int64))
    node = new_node(op_type, [data, constant], like=second, stands_for=[first])
    replace_output(second.outputs[0], node.outputs[0])
    remove_dead([second])
    return True
