"""bfloat16 models in float32, for an engine that lacks bfloat16 kernels."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from bmopt.graph.nesting import graphs_in
from bmopt.optimizer.passes.infer_shapes import InferShapes

_HALF = ir.DataType.BFLOAT16
_TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype", "stash_type")


def has_bfloat16(model: ir.Model) -> bool:
    """Whether anything in ``model`` is bfloat16."""
    for graph in graphs_in(model.graph):
        if any(_is_half(value) for value in (*graph.inputs, *graph.initializers.values())):
            return True
        if any(_writes_half(node) for node in graph):
            return True
    return False


def emulate_bfloat16(model: ir.Model) -> ir.Model:
    """Return ``model``, changed in place, so that it computes in float32 and rounds to bfloat16.

    Every tensor that was bfloat16 is rounded to it where it is written, which is what a GPU does
    that accumulates in float32. Inputs and outputs of the model are float32 then too.
    """
    model = InferShapes()(model).model
    written = {
        graph: [out for node in graph for out in node.outputs if _is_half(out)]
        for graph in graphs_in(model.graph)
    }
    for graph, values in written.items():
        _widen_constants(graph)
        for node in graph:
            _widen_attributes(node)
        for value in graph.inputs:
            if not _is_half(value):
                continue
            if graph is model.graph:
                _round_input(graph, value)
            else:
                value.type = ir.TensorType(ir.DataType.FLOAT)
        for value in values:
            _round_behind(graph, value)
    return model


def _is_half(value: ir.Value) -> bool:
    if value.const_value is not None:
        return value.const_value.dtype == _HALF
    return value.dtype == _HALF


def _writes_half(node: ir.Node) -> bool:
    return any(_is_half(out) for out in node.outputs) or any(
        attribute.type == ir.AttributeType.INT and attribute.value == _HALF
        for name, attribute in node.attributes.items()
        if name in _TYPE_ATTRIBUTES
    )


def _widen_constants(graph: ir.Graph) -> None:
    for value in graph.initializers.values():
        if value.const_value is not None and _is_half(value):
            value.const_value = _wide(value.const_value)
            value.type = ir.TensorType(ir.DataType.FLOAT)


def _wide(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    return ir.tensor(tensor.numpy().astype(np.float32), name=tensor.name)


def _widen_attributes(node: ir.Node) -> None:
    for name, attribute in list(node.attributes.items()):
        if attribute.type == ir.AttributeType.TENSOR and attribute.as_tensor().dtype == _HALF:
            node.attributes[name] = ir.AttrTensor(name, _wide(attribute.as_tensor()))
        elif name in _TYPE_ATTRIBUTES and attribute.value == _HALF:
            node.attributes[name] = ir.AttrInt64(name, int(ir.DataType.FLOAT))


def _round_input(graph: ir.Graph, value: ir.Value) -> None:
    """Let the readers of an input that becomes float32 read it rounded."""
    value.type = ir.TensorType(ir.DataType.FLOAT)
    uses = list(value.uses())
    narrow = _cast(value, _HALF, f"{value.name}_rounded")
    wide = _cast(narrow.outputs[0], ir.DataType.FLOAT, f"{value.name}_wide")
    graph.insert_before(graph[0], [narrow, wide])
    for node, index in uses:
        node.replace_input_with(index, wide.outputs[0])


def _round_behind(graph: ir.Graph, value: ir.Value) -> None:
    """Round what a node writes, for all that read it."""
    producer = value.producer()
    assert producer is not None
    value.type = ir.TensorType(ir.DataType.FLOAT)
    narrow = _cast(value, _HALF, f"{value.name}_rounded")
    wide = _cast(narrow.outputs[0], ir.DataType.FLOAT, f"{value.name}_wide")
    is_output = value.is_graph_output()
    for node, index in list(value.uses()):
        if node is not narrow:
            node.replace_input_with(index, wide.outputs[0])
    graph.insert_after(producer, [narrow, wide])
    if is_output:
        _become_output(graph, value, wide.outputs[0])


def _become_output(graph: ir.Graph, value: ir.Value, rounded: ir.Value) -> None:
    name = value.name
    value.name = f"{name}_exact"
    rounded.name = name
    graph.outputs[:] = [rounded if out is value else out for out in graph.outputs]


def _cast(value: ir.Value, dtype: ir.DataType, name: str) -> ir.Node:
    node = ir.node("Cast", [value], attributes={"to": int(dtype)}, name=f"{name}_Cast")
    node.outputs[0].name = name
    node.outputs[0].type = ir.TensorType(dtype)
    node.outputs[0].shape = value.shape
    return node
