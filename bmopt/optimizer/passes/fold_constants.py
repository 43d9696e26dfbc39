"""Nodes that compute from constants alone are replaced by what they compute."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import onnx_ir as ir

from bmopt.core.runner import Array
from bmopt.graph.nesting import subgraphs_of
from bmopt.graph.values import constant_tensor, element_count
from bmopt.optimizer.evaluation import evaluate
from bmopt.optimizer.pass_base import Outcome, Pass, Refusal
from bmopt.optimizer.rewrite import add_constant, all_graphs, remove_dead, root_graph
from bmopt.optimizer.shapes.values import nodes_in_order

_NEVER = frozenset(
    {
        "Bernoulli",
        "Constant",
        "DequantizeLinear",
        "Dropout",
        "DynamicQuantizeLinear",
        "Multinomial",
        "QuantizeLinear",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    }
)
"""Random, or kept on purpose: an explicit quantisation of a weight must stay visible."""


@dataclasses.dataclass(frozen=True)
class FoldConstants(Pass):
    """Evaluate every node that depends on constants alone and keep its result.

    The whole constant part of the model runs once in ONNX Runtime. Left alone are random ops,
    QuantizeLinear and DequantizeLinear, nodes with sub-graphs, sequences and text, outputs of a
    graph, and results that store much more than they replace.

    Attributes:
        limit: Bytes by which one result may exceed the constants that only it was computed from;
            0 means one part in fifty of the model's initialisers, and at least 4 KiB.
    """

    name: ClassVar[str] = "fold-constants"

    limit: int = 0

    def call(self, model: ir.Model) -> Outcome:
        """Find, evaluate, replace."""
        limit = self.limit or max(4096, _initializer_bytes(model) // 50)
        nodes, refusals = _foldable(model, limit)
        wanted = _frontier(nodes)
        if not wanted:
            return Outcome(model, modified=False, refusals=refusals)
        arrays = evaluate(nodes, wanted, model)
        refusals += tuple(
            _refuse(value, "cannot be evaluated by ONNX Runtime")
            for value in wanted
            if value not in arrays
        )
        large = [v for v, array in arrays.items() if array.nbytes - _freed(v) > limit]
        refusals += tuple(_refuse(value, "would store too much") for value in large)
        for value in large:
            del arrays[value]
        for value, array in arrays.items():
            _replace(value, array)
        return Outcome(model, modified=bool(arrays), refusals=refusals)


def _initializer_bytes(model: ir.Model) -> int:
    constants = (v.const_value for g in all_graphs(model) for v in g.initializers.values())
    return sum(tensor.nbytes for tensor in constants if tensor is not None)


def _foldable(model: ir.Model, limit: int) -> tuple[list[ir.Node], tuple[Refusal, ...]]:
    found: dict[ir.Node, None] = {}
    refusals: list[Refusal] = []
    for node in nodes_in_order(model.graph):
        if not _reads_constants(node, found) or node.op_type in _NEVER:
            continue
        reason = _obstacle(node, limit)
        if reason is None:
            found[node] = None
        else:
            refusals.append(Refusal(node.name or node.op_type, reason))
    return list(found), tuple(refusals)


def _reads_constants(node: ir.Node, found: dict[ir.Node, None]) -> bool:
    if node.domain not in ("", "ai.onnx") or not node.outputs or not node.inputs:
        return False
    return all(
        value is None or value.producer() in found or constant_tensor(value) is not None
        for value in node.inputs
    )


def _obstacle(node: ir.Node, limit: int) -> str | None:
    if subgraphs_of(node):
        return "has a sub-graph"
    if any(out.is_graph_output() for out in node.outputs):
        return "computes an output"
    if any(isinstance(out.type, (ir.SequenceType, ir.OptionalType)) for out in node.outputs):
        return "computes a sequence"
    if any(v is not None and v.dtype == ir.DataType.STRING for v in (*node.inputs, *node.outputs)):
        return "handles text"
    for out in node.outputs:
        count = element_count(out)
        room = limit + sum(_bytes(value) for value in node.inputs)
        if count is not None and out.dtype is not None and count * out.dtype.itemsize > room:
            return "would store too much"
    return None


def _bytes(value: ir.Value | None) -> int:
    tensor = constant_tensor(value)
    if tensor is not None:
        return tensor.nbytes
    count = element_count(value)
    itemsize = 8 if value is None or value.dtype is None else value.dtype.itemsize
    return 0 if count is None else int(count * itemsize)


def _frontier(nodes: list[ir.Node]) -> list[ir.Value]:
    inside = set(nodes)
    return [
        out
        for node in nodes
        for out in node.outputs
        if out.name and any(use.node not in inside for use in out.uses())
    ]


def _freed(value: ir.Value) -> int:
    """Return the bytes of the constants that only ``value``'s own computation reads."""
    producer = value.producer()
    assert producer is not None
    cone, stack, freed = {producer}, [producer], 0
    while stack:
        for read in dict.fromkeys(v for v in stack.pop().inputs if v is not None):
            source = read.producer()
            if any(use.node not in cone for use in read.uses()) or source in cone:
                continue
            if source is None:
                freed += _bytes(read)
            else:
                cone.add(source)
                stack.append(source)
    return freed


def _replace(value: ir.Value, array: Array) -> None:
    node = value.producer()
    assert node is not None
    value.replace_all_uses_with(add_constant(root_graph(node), value.name or "folded", array))
    remove_dead([node])


def _refuse(value: ir.Value, reason: str) -> Refusal:
    node = value.producer()
    return Refusal(value.name or "" if node is None else node.name or node.op_type, reason)
