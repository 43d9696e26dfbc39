"""Which nodes of the source model a node stands for, kept in its metadata as ``bmopt.origin``."""

from __future__ import annotations

import json
from collections.abc import Iterable

import onnx_ir as ir

from bmopt.graph.nesting import nodes_in

KEY = "bmopt.origin"


def origin_of(node: ir.Node) -> tuple[str, ...]:
    """Return the source nodes' names, in a stable order; empty where none are recorded."""
    text = node.metadata_props.get(KEY)
    return tuple(json.loads(text)) if text else ()


def set_origin(node: ir.Node, names: Iterable[str]) -> None:
    """Record the source nodes that ``node`` stands for, without repetition."""
    node.metadata_props[KEY] = json.dumps(list(dict.fromkeys(names)))


def merge_origin(node: ir.Node, sources: Iterable[ir.Node]) -> None:
    """Add the origins of ``sources`` to those of ``node``."""
    names = list(origin_of(node))
    for source in sources:
        names.extend(origin_of(source))
    set_origin(node, names)


def stamp_origins(model: ir.Model) -> None:
    """Give every node without an origin itself as its origin; names must be unique already."""
    for node in nodes_in(model.graph):
        if KEY not in node.metadata_props and node.name:
            set_origin(node, [node.name])


def map_origins(source: ir.Graph, target: ir.Graph) -> None:
    """Give the nodes of ``target`` origins, found in ``source`` by the names of their outputs.

    For rewriters that drop metadata: a target node stands for the cone of source nodes between
    its outputs and the next tensors that the target still has. Nodes whose outputs the source
    does not know take the origins of their consumers.
    """
    producers = _producers(source)
    stop = {out.name for node in nodes_in(target) for out in node.outputs}
    for node in nodes_in(target):
        if KEY not in node.metadata_props:
            names = [out.name for out in node.outputs if out.name in producers]
            set_origin(node, _cone(producers, names, stop))
    for node in reversed(list(nodes_in(target))):
        if not origin_of(node):
            merge_origin(node, node.successors())


def _producers(graph: ir.Graph) -> dict[str, ir.Node]:
    return {out.name: node for node in nodes_in(graph) for out in node.outputs if out.name}


def _cone(
    producers: dict[str, ir.Node], names: Iterable[str | None], stop: set[str | None]
) -> list[str]:
    found: dict[str, None] = {}
    stack = list(names)
    seen: set[str | None] = set()
    while stack:
        name = stack.pop()
        node = producers.get(name) if name is not None else None
        if node is None or name in seen:
            continue
        seen.add(name)
        found.update(dict.fromkeys(origin_of(node)))
        stack.extend(v.name for v in node.inputs if v is not None and v.name not in stop)
    return list(found)
