"""Constant nodes become initialisers of the graph they stand in."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import onnx_ir as ir

from bmopt.graph.nesting import nodes_in
from bmopt.graph.values import constant_tensor, is_op
from bmopt.optimizer.pass_base import Outcome, Pass, Refusal
from bmopt.optimizer.rewrite import root_graph

_REASONS = {
    "sparse_value": "holds a sparse tensor",
    "value_string": "holds text",
    "value_strings": "holds text",
}


@dataclasses.dataclass(frozen=True)
class LiftConstants(Pass):
    """Turn every Constant node, those in sub-graphs too, into an initialiser of its graph.

    Refuses sparse tensors and text, and outputs of the main graph: engines differ in what they
    make of an initialiser there.
    """

    name: ClassVar[str] = "lift-constants"

    def call(self, model: ir.Model) -> Outcome:
        """Lift all that can be."""
        refusals: list[Refusal] = []
        modified = False
        for node in list(nodes_in(model.graph)):
            if not is_op(node, "Constant"):
                continue
            reason = _obstacle(node, model)
            tensor = None if reason is not None else _tensor(node)
            if tensor is None or tensor.dtype == ir.DataType.STRING:
                refusals.append(Refusal(node.name or "", reason or "holds text"))
            else:
                _lift(node, tensor)
                modified = True
        return Outcome(model, modified=modified, refusals=tuple(refusals))


def _obstacle(node: ir.Node, model: ir.Model) -> str | None:
    if len(node.attributes) != 1:
        return "has not exactly one attribute"
    name, attribute = next(iter(node.attributes.items()))
    if attribute.is_ref():
        return "takes its value from a function's parameter"
    if name in _REASONS:
        return _REASONS[name]
    if node.outputs[0].is_graph_output() and node.graph is model.graph:
        return "is an output of the model"
    return None


def _tensor(node: ir.Node) -> ir.TensorProtocol | None:
    attribute = node.attributes.get("value")
    if attribute is None:
        return constant_tensor(node.outputs[0])
    # Not ``as_tensor``: its type check by protocol takes longer than all the rest here.
    tensor: ir.TensorProtocol = attribute.value
    return tensor


def _lift(node: ir.Node, tensor: ir.TensorProtocol) -> None:
    old = node.outputs[0]
    value = ir.Value(
        name=old.name,
        type=ir.TensorType(tensor.dtype),
        shape=ir.Shape(tensor.shape.numpy()),
        const_value=tensor,
    )
    graph = root_graph(node)
    graph.register_initializer(value)
    old.replace_all_uses_with(value, replace_graph_outputs=True)
    graph.remove(node, safe=True)
