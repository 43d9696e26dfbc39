"""Nodes that compute the same from the same are computed once."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable
from typing import ClassVar

import onnx_ir as ir

from bmopt.graph.nesting import subgraphs_of
from bmopt.graph.origin import merge_origin
from bmopt.graph.values import constant_tensor
from bmopt.optimizer.pass_base import Outcome, Pass, Refusal
from bmopt.optimizer.rewrite import can_bypass, remove_dead, replace_output

_COMPARED_BYTES = 1024
"""Larger constants are the same only if they are one value (see merge-initializers)."""

_NEVER = frozenset(
    {
        "Bernoulli",
        "Dropout",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    }
)

_COMMUTATIVE = frozenset({"Add", "And", "Equal", "Mul", "Or", "Xor"})


@dataclasses.dataclass(frozen=True)
class MergeCommon(Pass):
    """Merge standard nodes of equal op, inputs and attributes; small constants by contents.

    A node in a sub-graph may be replaced by one of the graphs around it. Refuses random ops,
    nodes with sub-graphs, and a second node whose output is a name of the model's interface
    that the first cannot take.
    """

    name: ClassVar[str] = "merge-common"

    def call(self, model: ir.Model) -> Outcome:
        """Merge in one sweep, outer graphs first."""
        refusals: list[Refusal] = []
        modified = _merge_graph(model.graph, {}, refusals)
        return Outcome(model, modified=modified, refusals=tuple(refusals))


def _merge_graph(graph: ir.Graph, outer: dict[Hashable, ir.Node], refusals: list[Refusal]) -> bool:
    seen = dict(outer)
    modified = False
    for node in list(graph):
        for sub in subgraphs_of(node):
            modified |= _merge_graph(sub, seen, refusals)
        key = _key(node)
        if key is None:
            continue
        first = seen.setdefault(key, node)
        if first is node:
            continue
        if _replace(node, first):
            modified = True
        else:
            refusals.append(Refusal(node.name or "", "is a name of the model's interface"))
    return modified


def _replace(node: ir.Node, first: ir.Node) -> bool:
    pairs = list(zip(node.outputs, first.outputs, strict=True))
    if not all(can_bypass(old, new) for old, new in pairs):
        return False
    merge_origin(first, [node])
    for old, new in pairs:
        replace_output(old, new)
    remove_dead([node])
    return True


def _key(node: ir.Node) -> Hashable | None:
    if node.domain not in ("", "ai.onnx") or node.op_type in _NEVER or not node.inputs:
        return None
    attributes = []
    for name in sorted(node.attributes):
        part = _attribute_key(node.attributes[name])
        if part is None:
            return None
        attributes.append((name, part))
    inputs = [_value_key(value) for value in node.inputs]
    if node.op_type in _COMMUTATIVE:
        inputs.sort(key=hash)
    return (
        node.op_type,
        tuple(inputs),
        tuple(attributes),
        tuple(bool(o.name) for o in node.outputs),
    )


def _attribute_key(attribute: ir.Attr) -> Hashable | None:
    if attribute.is_ref() or attribute.type in _OPAQUE:
        return None
    if attribute.type == ir.AttributeType.TENSOR:
        return _tensor_key(attribute.as_tensor())
    value = attribute.value
    return (attribute.type, tuple(value) if isinstance(value, (list, tuple)) else value)


_OPAQUE = frozenset(
    {
        ir.AttributeType.GRAPH,
        ir.AttributeType.GRAPHS,
        ir.AttributeType.SPARSE_TENSOR,
        ir.AttributeType.SPARSE_TENSORS,
        ir.AttributeType.TENSORS,
        ir.AttributeType.TYPE_PROTO,
        ir.AttributeType.TYPE_PROTOS,
    }
)


def _value_key(value: ir.Value | None) -> Hashable:
    tensor = None if value is None or value.const_value is None else constant_tensor(value)
    return id(value) if tensor is None else _tensor_key(tensor) or id(value)


def _tensor_key(tensor: ir.TensorProtocol) -> Hashable | None:
    if tensor.dtype == ir.DataType.STRING or tensor.nbytes > _COMPARED_BYTES:
        return None
    return (tensor.dtype, tuple(tensor.shape), tensor.tobytes())
