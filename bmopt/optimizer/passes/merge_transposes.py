"""Transposes that meet become one or none, and Gemm takes them in."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import ClassVar

import onnx_ir as ir

from bmopt.graph.origin import merge_origin
from bmopt.graph.values import is_op, only_consumer, producer_of
from bmopt.optimizer.pass_base import Outcome, Pass, Refusal
from bmopt.optimizer.rewrite import can_bypass, new_node, remove_dead, replace_output
from bmopt.optimizer.shapes.values import nodes_in_order

_SWAP = (1, 0)


@dataclasses.dataclass(frozen=True)
class MergeTransposes(Pass):
    """Merge Transposes with what follows them.

    1. Two that undo each other are dropped.
    2. Two in a row become one, if nobody else reads the first.
    3. A Transpose of a matrix that only Gemms read becomes their ``transA`` or ``transB``.
    4. ``MatMul`` of two transposed matrices is the transposed product of the two, swapped.

    Refuses a pair whose result cannot take a name of the model's interface.
    """

    name: ClassVar[str] = "merge-transposes"

    def call(self, model: ir.Model) -> Outcome:
        """Merge in one sweep."""
        refusals: list[Refusal] = []
        modified = False
        for node in nodes_in_order(model.graph):
            if node.graph is None:
                continue
            if is_op(node, "Transpose"):
                modified |= _merge_pair(node, refusals) or _merge_gemms(node)
            elif is_op(node, "MatMul"):
                modified |= _swap_product(node)
        return Outcome(model, modified=modified, refusals=tuple(refusals))


def _perm(node: ir.Node) -> list[int] | None:
    perm = node.attributes.get_ints("perm")
    if perm is not None:
        return list(perm)
    shape = node.inputs[0].shape if node.inputs[0] is not None else None
    return None if shape is None else list(range(shape.rank()))[::-1]


def _merge_pair(second: ir.Node, refusals: list[Refusal]) -> bool:
    first = producer_of(second.inputs[0], "Transpose")
    inner, outer = None if first is None else _perm(first), _perm(second)
    if first is None or inner is None or outer is None or first.inputs[0] is None:
        return False
    perm = [inner[axis] for axis in outer]
    if perm == sorted(perm):
        return _cancel(second, first.inputs[0], refusals)
    if only_consumer(first.outputs[0]) is not second:
        return False
    merged = _transposed(first.inputs[0], perm, second, first)
    replace_output(second.outputs[0], merged)
    remove_dead([second])
    return True


def _cancel(second: ir.Node, data: ir.Value, refusals: list[Refusal]) -> bool:
    out = second.outputs[0]
    if not (out.uses() or out.is_graph_output()):
        return False
    if not can_bypass(out, data):
        refusals.append(Refusal(second.name or "", "is a name of the model's interface"))
        return False
    replace_output(out, data)
    remove_dead([second])
    return True


def _transposed(data: ir.Value, perm: Sequence[int], like: ir.Node, other: ir.Node) -> ir.Value:
    node = new_node(
        "Transpose", [data], like=like, attributes={"perm": list(perm)}, stands_for=[other]
    )
    return node.outputs[0]


def _merge_gemms(node: ir.Node) -> bool:
    out, uses = node.outputs[0], list(node.outputs[0].uses())
    if tuple(_perm(node) or ()) != _SWAP or out.is_graph_output() or not uses:
        return False
    if any(not is_op(use.node, "Gemm") or use.idx > 1 for use in uses):
        return False
    for use in uses:
        name = ("transA", "transB")[use.idx]
        flag = 1 - use.node.attributes.get_int(name, 0)
        use.node.attributes[name] = ir.AttrInt64(name, flag)
        use.node.replace_input_with(use.idx, node.inputs[0])
        merge_origin(use.node, [node])
    remove_dead([node])
    return True


def _swap_product(node: ir.Node) -> bool:
    sides = [producer_of(value, "Transpose") for value in node.inputs]
    if any(side is None or only_consumer(side.outputs[0]) is not node for side in sides):
        return False
    left, right = (side for side in sides if side is not None)
    if tuple(_perm(left) or ()) != _SWAP or tuple(_perm(right) or ()) != _SWAP:
        return False
    product = new_node(
        "MatMul", [right.inputs[0], left.inputs[0]], like=node, stands_for=[left, right]
    )
    product.outputs[0].type = node.outputs[0].type
    shape = node.outputs[0].shape
    product.outputs[0].shape = None if shape is None else ir.Shape(list(shape)[::-1])
    swapped = _transposed(product.outputs[0], _SWAP, node, left)
    replace_output(node.outputs[0], swapped)
    remove_dead([node])
    return True
