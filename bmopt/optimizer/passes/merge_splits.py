"""A Reshape that splits axes behind a Transpose merges with the Reshape before it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from bmopt.graph.axes import matched, named_sizes
from bmopt.graph.values import is_op, only_consumer, producer_of
from bmopt.optimizer.pass_base import Outcome, Pass, Refusal
from bmopt.optimizer.rewrite import add_constant, new_node, remove_dead, replace_output, root_graph
from bmopt.optimizer.shapes.symbolic import write_target
from bmopt.optimizer.shapes.values import ShapeValues, nodes_in_order


@dataclasses.dataclass(frozen=True)
class MergeSplits(Pass):
    """Split axes before a Transpose instead of behind it, where a Reshape stands there already.

    ``Reshape, Transpose, Reshape`` become ``Reshape, Transpose`` where the last one does no more
    than split axes, as in attention that folds its heads into the batch for a moment. The first
    two must have no other reader. Refuses where the sizes have more unknown axes than a constant
    target can express. Run after ``infer-shapes``.
    """

    name: ClassVar[str] = "merge-splits"

    def call(self, model: ir.Model) -> Outcome:
        """Merge in one sweep."""
        values = ShapeValues()
        refusals: list[Refusal] = []
        modified = False
        for node in nodes_in_order(model.graph):
            turn = producer_of(node.inputs[0], "Transpose") if is_op(node, "Reshape") else None
            first = None if turn is None else producer_of(turn.inputs[0], "Reshape")
            if turn is None or first is None or not _is_chain(first, turn, node):
                continue
            parts = _parts(turn.outputs[0], node.outputs[0])
            if parts is None:
                continue
            if _merge(first, turn, node, parts, values):
                modified = True
            else:
                refusals.append(Refusal(node.name or "", "splits into sizes that are not known"))
        return Outcome(model, modified=modified, refusals=tuple(refusals))


def _is_chain(first: ir.Node, turn: ir.Node, last: ir.Node) -> bool:
    return only_consumer(first.outputs[0]) is turn and only_consumer(turn.outputs[0]) is last


def _parts(before: ir.Value, after: ir.Value) -> list[range] | None:
    """Return the axes that each axis is split into; None where more happens, or nothing does."""
    blocks = matched(named_sizes(before), named_sizes(after))
    if blocks is None or 0 in named_sizes(after):
        return None
    parts = [new for old, new in blocks if len(old) == 1]
    covered = [axis for part in parts for axis in part]
    is_split = covered == list(range(len(named_sizes(after)))) and len(parts) < len(covered)
    return parts if is_split and len(parts) == len(named_sizes(before)) else None


def _merge(
    first: ir.Node, turn: ir.Node, last: ir.Node, parts: Sequence[range], values: ShapeValues
) -> bool:
    data, kept, split = first.inputs[0], first.outputs[0], last.outputs[0]
    before, after, sizes = values.dims(data), values.dims(split), values.dims(kept)
    perm = turn.attributes.get_ints("perm") or range(len(parts))[::-1]
    if data is None or after is None or sizes is None:
        return False
    places = [list(perm).index(axis) for axis in range(len(parts))]
    # Behind the first Reshape, the axes of the last one in the order they have there.
    order = [axis for place in places for axis in parts[place]]
    items = [
        sizes[number] if len(parts[place]) == 1 else after[axis]
        for number, place in enumerate(places)
        for axis in parts[place]
    ]
    target = write_target(items, before)
    if target is None:
        return False
    constant = add_constant(root_graph(last), "target", np.array(target, np.int64))
    whole = new_node("Reshape", [data, constant], like=last, stands_for=[first]).outputs[0]
    whole.type = split.type
    if split.shape is not None:
        whole.shape = ir.Shape([split.shape[axis] for axis in order])
    turned = [order.index(axis) for axis in range(len(order))]
    merged = new_node(
        "Transpose", [whole], like=last, attributes={"perm": turned}, stands_for=[turn]
    )
    replace_output(split, merged.outputs[0])
    remove_dead([last])
    return True
