"""What a model gets back after a tool has rewritten it as bytes: its interface and origins."""

from __future__ import annotations

import onnx_ir as ir

from bmopt.graph.nesting import nodes_in
from bmopt.graph.origin import KEY, map_origins


def same_interface(source: ir.Model, rewritten: ir.Model) -> bool:
    """Whether inputs and outputs have the same names and element types in the same order."""
    return _interface(source) == _interface(rewritten)


def restore(source: ir.Model, rewritten: ir.Model) -> None:
    """Give ``rewritten`` the declared shapes, defaults of inputs, origins and meta of ``source``.

    The two have the same interface. Origins are found by the names of the nodes' outputs.
    """
    old, new = source.graph, rewritten.graph
    for node in nodes_in(new):
        node.metadata_props.pop(KEY, None)
    map_origins(old, new)
    for ours, theirs in zip((*old.inputs, *old.outputs), (*new.inputs, *new.outputs), strict=True):
        theirs.type, theirs.shape = ours.type, ours.shape
        if ours.is_graph_input() and ours.const_value is not None:
            theirs.const_value = ours.const_value
            new.initializers.add(theirs)
    rewritten.meta.update(source.meta)


def _interface(model: ir.Model) -> list[list[tuple[str | None, ir.DataType | None]]]:
    graph = model.graph
    return [[(v.name, v.dtype) for v in values] for values in (graph.inputs, graph.outputs)]
