"""Slices in a row, on different axes, become one."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from bmopt.graph.values import is_op, only_consumer, producer_of
from bmopt.optimizer.no_ops import slice_bounds
from bmopt.optimizer.pass_base import Outcome, Pass, Refusal
from bmopt.optimizer.rewrite import (
    add_constant,
    new_node,
    opset,
    remove_dead,
    replace_output,
    root_graph,
)
from bmopt.optimizer.shapes.values import nodes_in_order

_BOUNDS_AS_INPUTS = 10
"""The opset from which Slice takes its bounds as inputs."""


@dataclasses.dataclass(frozen=True)
class MergeSlices(Pass):
    """Merge two Slices with constant bounds into one where they cut different axes.

    The first must have no other reader. Refuses Slices that cut the same axis, and negative
    axes of a tensor of unknown rank.
    """

    name: ClassVar[str] = "merge-slices"

    def call(self, model: ir.Model) -> Outcome:
        """Merge in one sweep; a merged pair is seen again by the Slice after it."""
        refusals: list[Refusal] = []
        modified = False
        if opset(model) < _BOUNDS_AS_INPUTS:
            return Outcome(model, modified=False)
        for node in nodes_in_order(model.graph):
            first = producer_of(node.inputs[0], "Slice") if is_op(node, "Slice") else None
            if first is None or only_consumer(first.outputs[0]) is not node:
                continue
            bounds = _joint_bounds(first, node)
            if bounds is None:
                refusals.append(Refusal(node.name or "", "cuts what the Slice before it cuts"))
                continue
            _replace(first, node, bounds)
            modified = True
        return Outcome(model, modified=modified, refusals=tuple(refusals))


def _joint_bounds(first: ir.Node, second: ir.Node) -> list[list[int]] | None:
    """Return starts, ends, axes and steps of both, None where they overlap or are computed."""
    inner, outer = slice_bounds(first), slice_bounds(second)
    if inner is None or outer is None:
        return None
    data = first.inputs[0]
    rank = None if data is None or data.shape is None else data.shape.rank()
    axes = [*inner[2], *outer[2]]
    if rank is None and min(axes, default=0) < 0:
        return None
    settled = [axis if rank is None else axis % rank for axis in axes]
    if len(set(settled)) != len(settled):
        return None
    joined = [[*a, *b] for a, b in zip(inner, outer, strict=True)]
    return [joined[0], joined[1], settled, joined[3]]


def _replace(first: ir.Node, second: ir.Node, bounds: list[list[int]]) -> None:
    graph = root_graph(second)
    stems = ("starts", "ends", "axes", "steps")
    inputs = [
        add_constant(graph, stem, np.array(numbers, np.int64))
        for stem, numbers in zip(stems, bounds, strict=True)
    ]
    merged = new_node("Slice", [first.inputs[0], *inputs], like=second, stands_for=[first])
    replace_output(second.outputs[0], merged.outputs[0])
    remove_dead([second])
