"""An If whose condition is known is replaced by the branch that it takes."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import onnx_ir as ir

from bmopt.graph.origin import merge_origin
from bmopt.graph.values import constant_array, is_op
from bmopt.optimizer.pass_base import Outcome, Pass
from bmopt.optimizer.rewrite import (
    all_graphs,
    can_bypass,
    fresh_name,
    new_node,
    remove_dead,
    replace_output,
    root_graph,
)


@dataclasses.dataclass(frozen=True)
class InlineBranches(Pass):
    """Move the nodes of the taken branch before the If, and drop the If.

    Values and nodes that move get fresh names, since the other graphs may use theirs. Where a
    branch's result cannot take a public name, an Identity gives it.
    """

    name: ClassVar[str] = "inline-branches"

    def call(self, model: ir.Model) -> Outcome:
        """Inline from the outside in, so that a branch's own Ifs are found after it moved."""
        modified = False
        for graph in all_graphs(model):
            modified |= _inline_in(graph)
        return Outcome(model, modified=modified)


def _inline_in(graph: ir.Graph) -> bool:
    stack = [node for node in graph if is_op(node, "If")]
    modified = False
    while stack:
        node = stack.pop()
        condition = constant_array(node.inputs[0])
        if condition is None or condition.size != 1:
            continue
        taken = "then_branch" if condition.reshape(-1)[0] else "else_branch"
        stack.extend(inner for inner in _inline(node, taken) if is_op(inner, "If"))
        modified = True
    return modified


def _inline(node: ir.Node, taken: str) -> list[ir.Node]:
    """Replace ``node`` by the nodes of its branch ``taken`` and return them."""
    graph = root_graph(node)
    branch = node.attributes[taken].as_graph()
    results = list(branch.outputs)
    branch.outputs.clear()
    _move_initializers(branch, graph)
    nodes = list(branch)
    branch.remove(nodes)
    for inner in nodes:
        _rename(inner, graph)
        merge_origin(inner, [node])
    graph.insert_before(node, nodes)
    for old, new in zip(node.outputs, results, strict=True):
        if not old.uses() and not old.is_graph_output():
            continue
        if not can_bypass(old, new):
            new = new_node("Identity", [new], like=node).outputs[0]
        replace_output(old, new)
    remove_dead([node])
    return nodes


def _move_initializers(branch: ir.Graph, graph: ir.Graph) -> None:
    for name, value in list(branch.initializers.items()):
        del branch.initializers[name]
        value.name = fresh_name(graph, name)
        graph.register_initializer(value)


def _rename(node: ir.Node, graph: ir.Graph) -> None:
    node.name = fresh_name(graph, node.name or node.op_type)
    for out in node.outputs:
        if out.name:
            out.name = fresh_name(graph, out.name)
