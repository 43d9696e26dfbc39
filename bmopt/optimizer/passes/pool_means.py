"""Means over all of an image as pooling, which engines have an integer kernel for."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import onnx_ir as ir

from bmopt.graph.nesting import nodes_in
from bmopt.graph.products import rank_of
from bmopt.graph.values import constant_array, is_op
from bmopt.optimizer.pass_base import Outcome, Pass, Refusal
from bmopt.optimizer.rewrite import can_bypass, new_node, remove_dead, replace_output


@dataclasses.dataclass(frozen=True)
class PoolMeans(Pass):
    """Replace ``ReduceMean`` over both spatial axes of an image by ``GlobalAveragePool``.

    Where the axes are not kept, ``Flatten`` drops them. Not part of ``simplify``, because that is
    one node more: targets whose scheme asks for it get it before calibration.

    1. The input has rank 4 and the axes are exactly the last two, given as constants.
    2. Other ranks and axes, and axes that are computed, are refused.
    """

    name: ClassVar[str] = "pool-means"

    def call(self, model: ir.Model) -> Outcome:
        """Rewrite every graph of ``model`` in place."""
        modified = False
        refusals: list[Refusal] = []
        for node in list(nodes_in(model.graph)):
            if not is_op(node, "ReduceMean"):
                continue
            reason = _refusal(node)
            if reason:
                refusals.append(Refusal(node.name or "", reason))
                continue
            _pool(node)
            modified = True
        return Outcome(model, modified, tuple(refusals))


def _refusal(node: ir.Node) -> str:
    if rank_of(node.inputs[0]) != 4:
        return "its input is no image of known rank 4"
    axes = _axes(node)
    if axes is None or {axis % 4 for axis in axes} != {2, 3} or len(axes) != 2:
        return "it is no mean over just the two spatial axes"
    return ""


def _axes(node: ir.Node) -> list[int] | None:
    if len(node.inputs) > 1 and node.inputs[1] is not None:
        array = constant_array(node.inputs[1])
        return None if array is None else [int(axis) for axis in array.reshape(-1)]
    given = node.attributes.get_ints("axes")
    return None if given is None else list(given)


def _pool(node: ir.Node) -> None:
    source, result = node.inputs[0], node.outputs[0]
    assert source is not None
    assert source.shape is not None
    pool = new_node("GlobalAveragePool", [source], like=node)
    pool.outputs[0].type = source.type
    pool.outputs[0].shape = ir.Shape([*list(source.shape)[:2], 1, 1])
    last = pool
    if not node.attributes.get_int("keepdims", 1):
        last = new_node("Flatten", [pool.outputs[0]], like=node, attributes={"axis": 1})
    assert can_bypass(result, last.outputs[0])
    replace_output(result, last.outputs[0])
    remove_dead([node])
