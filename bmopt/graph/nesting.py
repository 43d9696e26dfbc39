"""Graphs inside graphs: bodies of If, Loop and Scan, without looking into every other node.

``onnx_ir``'s own traversal asks each node for its attributes, which is most of a pass' time on a
model that has no control flow.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx_ir as ir

_BODY_OPS = frozenset({"If", "Loop", "Scan", "SequenceMap"})
"""The standard ops that have graphs among their attributes."""


def subgraphs_of(node: ir.Node) -> list[ir.Graph]:
    """Return the graphs in ``node``'s attributes."""
    if node.domain in ("", "ai.onnx") and node.op_type not in _BODY_OPS:
        return []
    graphs: list[ir.Graph] = []
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            graphs.append(attribute.as_graph())
        elif attribute.type == ir.AttributeType.GRAPHS:
            graphs.extend(attribute.as_graphs())
    return graphs


def graphs_below(graph: ir.Graph | ir.Function) -> list[ir.Graph]:
    """Return every graph inside ``graph``, an outer one before those inside it."""
    found: list[ir.Graph] = []
    for node in graph:
        for inner in subgraphs_of(node):
            found.append(inner)
            found.extend(graphs_below(inner))
    return found


def graphs_in(graph: ir.Graph) -> list[ir.Graph]:
    """Return ``graph`` and every graph inside it."""
    return [graph, *graphs_below(graph)]


def nodes_in(graph: ir.Graph | ir.Function) -> Iterator[ir.Node]:
    """Yield every node, one with bodies before the nodes of those."""
    for node in graph:
        yield node
        for inner in subgraphs_of(node):
            yield from nodes_in(inner)
