"""Carry out a decided conversion on a model."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from bmopt.graph.nesting import nodes_in
from bmopt.graph.values import is_op
from bmopt.optimizer.casting.attributes import retype_attributes
from bmopt.optimizer.casting.borders import Borders
from bmopt.optimizer.casting.new_types import NewTypes
from bmopt.optimizer.casting.scales import Scales
from bmopt.optimizer.rewrite import (
    can_bypass,
    fresh_name,
    remove_dead,
    remove_unused_initializers,
    replace_output,
)


def convert(model: ir.Model, types: NewTypes) -> bool:
    """Give every tensor its new type and every reader the type it wants, in place.

    Returns:
        Whether anything was changed.
    """
    nodes = list(nodes_in(model.graph))
    borders = Borders(model.graph, types)
    modified = _retype(nodes, types)
    _convert_scales(model.graph, types)
    modified |= _convert_reads(types, borders)
    modified |= _convert_returns(model.graph, types, borders)
    if modified:
        _tidy(nodes, types)
        remove_unused_initializers(model)
    return modified


def _retype(nodes: Sequence[ir.Node], types: NewTypes) -> bool:
    half = types.ports.half
    changed = [node for node in nodes if any(out in types.half_values for out in node.outputs)]
    for value in types.half_values:
        value.type = ir.TensorType(half.dtype)
        if value.const_value is not None:
            value.const_value = ir.tensor(half.saturate(value.const_value.numpy()))
    for node in changed:
        retype_attributes(node, half)
    return bool(types.half_values)


def _convert_scales(graph: ir.Graph, types: NewTypes) -> None:
    scales = Scales(graph, types.ports.half)
    for (node, index), to in list(types.wanted.items()):
        quantizes = is_op(node, "QuantizeLinear", "DequantizeLinear")
        if quantizes and index == 1 and to != ir.DataType.FLOAT and scales.convert(node):
            del types.wanted[node, index]


def _convert_reads(types: NewTypes, borders: Borders) -> bool:
    modified = False
    for (node, index), to in types.wanted.items():
        value = node.inputs[index]
        assert value is not None
        if types.of(value) != to:
            node.replace_input_with(index, borders.converted(value, to, node))
            modified = True
    return modified


def _convert_returns(main: ir.Graph, types: NewTypes, borders: Borders) -> bool:
    returned = [(graph, i, graph.outputs[i], to) for (graph, i), to in types.returned.items()]
    others = [(*entry, entry[2].name) for entry in returned if types.of(entry[2]) != entry[3]]
    for graph, index, value, to, name in others:
        if graph is not main:
            graph.outputs[index] = borders.converted(value, to, value.producer())
            continue
        result = borders.converted(value, to)
        if result.is_graph_input() or result.is_initializer() or result.is_graph_output():
            result = borders.output(value, to)
        graph.outputs[index] = result
        result.type, result.shape = ir.TensorType(to), value.shape
        if result.name != name:
            value.name = fresh_name(graph, f"{name}_{types.ports.half.name}")
            result.name = name
    return bool(others)


def _tidy(nodes: Sequence[ir.Node], types: NewTypes) -> None:
    """Remove Casts that cast to the type of their input now, and what nobody reads any more."""
    ours = [node for node in nodes if not types.is_listed(node)]
    casts = [node for node in ours if is_op(node, "Cast")]
    for node in casts:
        source, result = node.inputs[0], node.outputs[0]
        if source in types.half_values and types.of(result) == types.ports.half.dtype:
            assert source is not None
            if can_bypass(result, source):
                replace_output(result, source)
    remove_dead([*casts, *(node for node in ours if is_op(node, "Constant"))])
