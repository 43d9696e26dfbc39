"""The few edits that passes are made of. Each keeps names of outputs and origins in order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from bmopt.core.runner import Array
from bmopt.graph.nesting import graphs_in, nodes_in, subgraphs_of
from bmopt.graph.origin import merge_origin

_NAMES = "bmopt.names"


def all_graphs(model: ir.Model) -> list[ir.Graph]:
    """Return the main graph and every sub-graph, outermost first."""
    return graphs_in(model.graph)


def opset(model: ir.Model) -> int:
    """Return the version of the standard operator set."""
    return int(model.graph.opset_imports.get("", model.graph.opset_imports.get("ai.onnx", 1)))


def root_graph(node: ir.Node) -> ir.Graph:
    """Return the graph or sub-graph that holds ``node``."""
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    return graph


class _Names:
    """All names in use in a model, gathered when the first fresh one is asked for."""

    def __init__(self, graphs: list[ir.Graph]) -> None:
        self._graphs = graphs
        self._taken: set[str] = set()

    def fresh(self, stem: str) -> str:
        if not self._taken:
            self._taken = _names_in_use(self._graphs)
        name, number = stem, 0
        while name in self._taken:
            number += 1
            name = f"{stem}_{number}"
        self._taken.add(name)
        return name


def _names_in_use(graphs: list[ir.Graph]) -> set[str]:
    taken: set[str] = {""}
    for graph in graphs:
        taken.update(graph.initializers)
        taken.update(value.name for value in graph.inputs if value.name)
        for node in graph:
            taken.add(node.name or "")
            taken.update(out.name for out in node.outputs if out.name)
    return taken


def share_names(model: ir.Model) -> None:
    """Let every graph of ``model`` know all names in use, so that ``fresh_name`` is unique."""
    graphs = all_graphs(model)
    names = _Names(graphs)
    for graph in graphs:
        graph.meta[_NAMES] = names


def fresh_name(graph: ir.Graph, stem: str) -> str:
    """Return ``stem``, with a number where a value or node of the model has it already.

    Within a pass: ``share_names`` has run on the model.
    """
    names: _Names = graph.meta[_NAMES]
    return names.fresh(stem)


def add_constant(graph: ir.Graph, stem: str, array: Array) -> ir.Value:
    """Add ``array`` as an initialiser of ``graph`` under a name made from ``stem``."""
    contiguous = np.ascontiguousarray(array).reshape(array.shape)
    tensor = ir.tensor(contiguous, name=fresh_name(graph, stem))
    value = ir.Value(
        name=tensor.name,
        type=ir.TensorType(tensor.dtype),
        shape=ir.Shape(contiguous.shape),
        const_value=tensor,
    )
    graph.register_initializer(value)
    return value


def new_node(
    op_type: str,
    inputs: Sequence[ir.Value | None],
    *,
    like: ir.Node,
    attributes: Mapping[str, Any] | None = None,
    stands_for: Iterable[ir.Node] = (),
    domain: str = "",
) -> ir.Node:
    """Insert a node with one output before ``like``, standing for ``like`` and ``stands_for``."""
    graph = root_graph(like)
    name = fresh_name(graph, f"{like.name or op_type}_{op_type.lower()}")
    node = ir.node(
        op_type, list(inputs), attributes=dict(attributes or {}), domain=domain, name=name
    )
    node.outputs[0].name = fresh_name(graph, f"{name}_out")
    merge_origin(node, [like, *stands_for])
    graph.insert_before(like, node)
    return node


def replace_output(old: ir.Value, new: ir.Value) -> None:
    """Let every reader of ``old`` read ``new``; a graph output keeps ``old``'s name and type.

    The node that produced ``old`` stays until it is removed as unused. ``new`` must not itself
    be a graph output when ``old`` is one, nor a graph input or initialiser.
    """
    if new.shape is None:
        new.shape = old.shape
    if new.type is None:
        new.type = old.type
    if old.is_graph_output():
        name = old.name
        old.name = f"{name}__replaced"
        new.name = name
        if old.shape is not None:
            new.shape = old.shape
    old.replace_all_uses_with(new, replace_graph_outputs=True)


def can_bypass(old: ir.Value, new: ir.Value) -> bool:
    """Whether readers of ``old`` may read ``new`` instead without losing a public name."""
    if not old.is_graph_output():
        return True
    return not (new.is_graph_output() or new.is_graph_input() or new.is_initializer()) and (
        new.producer() is not None and new.graph is old.graph
    )


def remove_dead(nodes: Iterable[ir.Node]) -> None:
    """Remove those of ``nodes`` that nobody reads, and then their producers likewise."""
    stack = list(nodes)
    while stack:
        node = stack.pop()
        if node.graph is None or any(out.uses() or out.is_graph_output() for out in node.outputs):
            continue
        stack.extend(p for p in (v.producer() for v in node.inputs if v is not None) if p)
        for inner in (n for sub in subgraphs_of(node) for n in nodes_in(sub)):
            stack.extend(_detach(inner))
        root_graph(node).remove(node, safe=True)


def remove_unused_initializers(model: ir.Model) -> bool:
    """Remove the initialisers that nobody reads; return whether there were any."""
    found = False
    for graph in all_graphs(model):
        for name, value in list(graph.initializers.items()):
            if not (value.uses() or value.is_graph_output() or value.is_graph_input()):
                del graph.initializers[name]
                found = True
    return found


def _detach(node: ir.Node) -> list[ir.Node]:
    """Let ``node`` read nothing; a removed sub-graph must not keep outer values in use."""
    producers = []
    for index, value in enumerate(node.inputs):
        producer = None if value is None else value.producer()
        if producer is not None:
            producers.append(producer)
        node.replace_input_with(index, None)
    return producers
