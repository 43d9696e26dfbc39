"""What is wrong with a parsed file, found before a graph is built from it.

Only what no runtime could run is reported; ``onnx.checker`` is stricter than ONNX Runtime in
places (it wants a shape on every input), so its complaints are not taken over blindly.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence

import onnx
from google.protobuf.message import Message  # type: ignore[import-untyped]

OpKey = tuple[str, str]
"""Domain (``""`` for the standard one) and operator type."""

_STANDARD = ("", "ai.onnx")


def structure_problems(model: onnx.ModelProto) -> Iterator[str]:
    """Yield what is wrong with the names: not text, undefined, or defined twice."""
    yield from (f"its {field} is no UTF-8 text" for field in _undecodable(model))
    if not model.graph.output:
        yield "it has no outputs"
    yield from _graph_problems(model.graph, ())


def unknown_ops(model: onnx.ModelProto) -> list[str]:
    """Return the ops that neither ONNX nor ONNX Runtime nor the model itself defines, sorted."""
    functions = {(_domain(f.domain), f.name) for f in model.functions}
    bodies = [model.graph.node, *(function.node for function in model.functions)]
    used = {(_domain(n.domain), n.op_type) for nodes in bodies for n in all_nodes(nodes)}
    missing = [key for key in used - functions if not onnx.defs.has(key[1], key[0])]
    if missing:
        missing = [key for key in missing if key not in _runtime_ops()]
    return sorted(f"{domain}.{op}" if domain else op for domain, op in missing)


def all_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    """Yield nodes and, after each, those of its sub-graphs."""
    for node in nodes:
        yield node
        for graph in _subgraphs(node):
            yield from all_nodes(graph.node)


def _undecodable(message: Message) -> Iterator[str]:
    """Yield the text fields that came out as bytes, which is how protobuf hands over non-text."""
    if isinstance(message, onnx.TensorProto):
        # Not by its fields: that would copy the weights.
        yield from () if isinstance(message.name, str) else ("tensor name",)
        for entry in message.external_data:
            yield from _undecodable(entry)
        return
    for field, value in message.ListFields():
        values = [value] if isinstance(value, (str, bytes, Message)) else value
        if field.type == field.TYPE_STRING and not all(isinstance(v, str) for v in values):
            yield f"{message.DESCRIPTOR.name}.{field.name}"
        elif field.type == field.TYPE_MESSAGE:
            for inner in values:
                yield from _undecodable(inner)


def _graph_problems(graph: onnx.GraphProto, outer: Sequence[set[str]]) -> Iterator[str]:
    inputs = [value.name for value in graph.input]
    weights = [t.name for t in graph.initializer] + [
        t.values.name for t in graph.sparse_initializer
    ]
    outputs = [name for node in graph.node for name in node.output if name]
    yield from (f"{name!r} is defined twice" for name in _repeated(inputs))
    yield from (f"initializer {name!r} is defined twice" for name in _repeated(weights))
    given = {*inputs, *weights}
    yield from (f"{name!r} is defined twice" for name in _repeated([*given, *outputs]))
    defined = given.union(outputs)
    scopes = (*outer, defined)
    for node in graph.node:
        for name in node.input:
            if name and not any(name in scope for scope in scopes):
                yield f"{_label(node)} reads {name!r}, which nothing defines"
        for inner in _subgraphs(node):
            yield from _graph_problems(inner, scopes)
    for value in graph.output:
        if value.name not in defined:
            yield f"output {value.name!r} is not computed by any node"


def _subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _repeated(names: Sequence[str]) -> list[str]:
    seen: set[str] = set()
    return [name for name in names if name in seen or seen.add(name)]  # type: ignore[func-returns-value]


def _label(node: onnx.NodeProto) -> str:
    return f"node {node.name!r} ({node.op_type})" if node.name else f"a {node.op_type} node"


def _domain(domain: str) -> str:
    return "" if domain in _STANDARD else domain


@functools.cache
def _runtime_ops() -> frozenset[OpKey]:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return frozenset((s.domain, s.name) for s in state.get_all_operator_schema())
