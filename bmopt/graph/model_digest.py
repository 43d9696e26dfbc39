"""What a model is, in one hash: its graph and weights, wherever the bytes lie."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx_ir as ir

from bmopt.core.digest import of_json

_CHUNK_ELEMENTS = 1 << 22

_PLAIN = frozenset(
    {
        ir.AttributeType.INT,
        ir.AttributeType.INTS,
        ir.AttributeType.FLOAT,
        ir.AttributeType.FLOATS,
        ir.AttributeType.STRING,
        ir.AttributeType.STRINGS,
    }
)


def model_digest(model: ir.Model) -> str:
    """Return the SHA-256 (hex) of the graph and its weights.

    Node and value names count, because range tables and options refer to them. What does not
    count: where weights are stored, metadata such as ``bmopt.origin``, documentation, the
    producer, and shapes recorded for intermediate values. Saving and loading keeps the digest.
    """
    functions = sorted(model.functions.values(), key=lambda f: f.identifier())
    return of_json(
        {
            "opsets": sorted(model.opset_imports.items()),
            "graph": _graph(model.graph),
            "functions": [_function(function) for function in functions],
        }
    )


def _graph(graph: ir.Graph) -> dict[str, Any]:
    weights = sorted(graph.initializers.items())
    return {
        "inputs": [_value(value) for value in graph.inputs],
        "outputs": [_value(value) for value in graph.outputs],
        "initializers": [[name, _tensor(value.const_value)] for name, value in weights],
        "nodes": [_node(node) for node in graph],
    }


def _function(function: ir.Function) -> dict[str, Any]:
    return {
        "name": function.identifier(),
        "opsets": sorted(function.opset_imports.items()),
        "inputs": _names(function.inputs),
        "outputs": _names(function.outputs),
        "defaults": [[name, _attribute(a)] for name, a in sorted(function.attributes.items())],
        "nodes": [_node(node) for node in function],
    }


def _node(node: ir.Node) -> list[Any]:
    attributes = [[name, _attribute(a)] for name, a in sorted(node.attributes.items())]
    op = [node.domain, node.op_type, node.overload]
    return [node.name, op, _names(node.inputs), _names(node.outputs), attributes]


def _names(values: Iterable[ir.Value | None]) -> list[str]:
    return [(value.name or "") if value is not None else "" for value in values]


def _value(value: ir.Value) -> list[Any]:
    shape = None if value.shape is None else [_axis(axis) for axis in value.shape]
    return [value.name, None if value.type is None else str(value.type), shape]


def _axis(axis: int | ir.SymbolicDim) -> int | str | None:
    return axis if isinstance(axis, int) else axis.value


def _attribute(attribute: ir.Attr) -> list[Any]:
    kind = attribute.type
    if attribute.is_ref():
        return [kind.name, "ref", attribute.ref_attr_name]
    value = attribute.value
    if kind in _PLAIN:
        return [kind.name, value if _is_json(value) else repr(value)]
    if kind == ir.AttributeType.TENSOR:
        return [kind.name, _tensor(value)]
    if kind == ir.AttributeType.TENSORS:
        return [kind.name, [_tensor(tensor) for tensor in value]]
    if kind == ir.AttributeType.GRAPH:
        return [kind.name, _graph(value)]
    if kind == ir.AttributeType.GRAPHS:
        return [kind.name, [_graph(graph) for graph in value]]
    return [kind.name, repr(value)]


def _is_json(value: Any) -> bool:  # noqa: ANN401 - whatever an attribute holds
    """Whether JSON can hold ``value``: not the bytes of a string that is no UTF-8 text."""
    items = value if isinstance(value, (list, tuple)) else [value]
    return not any(isinstance(item, bytes) for item in items)


def _tensor(tensor: ir.TensorProtocol | None) -> str | None:
    if tensor is None:
        return None
    shape = [int(axis) for axis in tensor.shape.numpy()]
    digest = hashlib.sha256(json.dumps([tensor.dtype.name, shape]).encode())
    array = tensor.numpy()
    if array.dtype == object:
        digest.update(json.dumps([str(item) for item in array.reshape(-1)]).encode())
        return digest.hexdigest()
    flat = np.ascontiguousarray(array).reshape(-1)
    for start in range(0, flat.size, _CHUNK_ELEMENTS):
        digest.update(flat[start : start + _CHUNK_ELEMENTS].view(np.uint8).data)
    return digest.hexdigest()
