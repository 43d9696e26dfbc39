"""Names that are unique in the whole model, so that a node or tensor can be told by its name."""

from __future__ import annotations

import json

import onnx_ir as ir

from bmopt.graph.nesting import graphs_in, nodes_in
from bmopt.graph.origin import KEY, stamp_origins


def make_names_unique(model: ir.Model) -> None:
    """Name every node, and rename what repeats a name; graph inputs and outputs keep theirs.

    An omitted optional output stays without a name.
    """
    _name_values(model.graph)
    taken = {node.name for node in nodes_in(model.graph) if node.name}
    seen: set[str] = set()
    for node in nodes_in(model.graph):
        if not node.name or node.name in seen:
            node.name = _fresh(node.name or node.op_type, taken)
        seen.add(node.name)


def stamp(model: ir.Model) -> None:
    """Record every node's origin; keep those of an earlier run where they can be read."""
    for node in nodes_in(model.graph):
        text = node.metadata_props.get(KEY)
        if text is not None and not _is_name_list(text):
            del node.metadata_props[KEY]
    stamp_origins(model)


def _name_values(graph: ir.Graph) -> None:
    public = {value.name for value in (*graph.inputs, *graph.outputs)}
    values = [value for part in graphs_in(graph) for value in _values(part)]
    taken = {value.name for value in values if value.name}
    owner: dict[str, ir.Value] = {}
    for value in values:
        if value.name and owner.setdefault(value.name, value) is not value:
            assert value.graph is not graph or value.name not in public
            value.name = _fresh(value.name, taken)


def _values(graph: ir.Graph) -> list[ir.Value]:
    outputs = [out for node in graph for out in node.outputs]
    return [*graph.inputs, *graph.initializers.values(), *outputs]


def _fresh(stem: str, taken: set[str]) -> str:
    name, number = stem, 0
    while name in taken:
        number += 1
        name = f"{stem}_{number}"
    taken.add(name)
    return name


def _is_name_list(text: str) -> bool:
    try:
        names = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(names, list) and all(isinstance(name, str) for name in names)
