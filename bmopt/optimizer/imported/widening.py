"""float16 and bfloat16 parts of a quantised model, in float32.

Every number of a narrow format is one of float32, so constants and scales stay what they are;
only arithmetic becomes more exact. It is the compilation that decides on half precision anew.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from bmopt.graph.nesting import graphs_in, nodes_in
from bmopt.graph.origin import merge_origin
from bmopt.graph.values import is_op
from bmopt.optimizer.passes.infer_shapes import InferShapes
from bmopt.optimizer.rewrite import can_bypass, fresh_name, remove_dead, replace_output

_HALVES = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
_TYPE_ATTRIBUTES = ("dtype", "output_dtype", "precision", "softmax_precision", "stash_type", "to")


def widen_halves(model: ir.Model) -> None:
    """Turn all that ``model`` computes in float16 or bfloat16 to float32, in place.

    Inputs and outputs of the model keep their types: a Cast stands behind or before them. Casts
    that have nothing left to do go. Within a pass: ``share_names`` has run on the model.
    """
    if not _has_halves(model):
        return
    InferShapes()(model)
    graphs = graphs_in(model.graph)
    fed = [value for value in model.graph.inputs if _is_half(value)]
    returned = [value for value in model.graph.outputs if _is_half(value)]
    nodes = [*nodes_in(model.graph), *(n for f in model.functions.values() for n in nodes_in(f))]
    for node in nodes:
        _widen_attributes(node)
    types = {value: value.dtype for value in (*fed, *returned)}
    for graph in graphs:
        _widen_values(graph)
    for value in fed:
        _read_wide(model.graph, value, types[value])
    for value in dict.fromkeys(returned):
        _return_narrow(model.graph, value, types[value])
    _drop_casts(model)


def _has_halves(model: ir.Model) -> bool:
    """Whether a declared input or output, a constant or an attribute is in a half format."""
    for graph in graphs_in(model.graph):
        if any(map(_is_half, (*graph.inputs, *graph.outputs, *graph.initializers.values()))):
            return True
    functions = (node for function in model.functions.values() for node in nodes_in(function))
    return any(map(_names_half, (*nodes_in(model.graph), *functions)))


def _names_half(node: ir.Node) -> bool:
    return any(
        _is_half_tensor(attribute) or _is_half_type(name, attribute)
        for name, attribute in node.attributes.items()
    )


def _is_half_tensor(attribute: ir.Attr) -> bool:
    return (
        attribute.type == ir.AttributeType.TENSOR
        and not attribute.is_ref()
        and attribute.as_tensor().dtype in _HALVES
    )


def _is_half_type(name: str, attribute: ir.Attr) -> bool:
    return (
        name in _TYPE_ATTRIBUTES
        and attribute.type == ir.AttributeType.INT
        and not attribute.is_ref()
        and attribute.as_int() in _HALVES
    )


def _is_half(value: ir.Value) -> bool:
    if value.const_value is not None:
        return value.const_value.dtype in _HALVES
    return value.dtype in _HALVES


def _widen_attributes(node: ir.Node) -> None:
    for name, attribute in list(node.attributes.items()):
        if _is_half_tensor(attribute):
            node.attributes[name] = ir.AttrTensor(name, _wide(attribute.as_tensor()))
        elif _is_half_type(name, attribute):
            node.attributes[name] = ir.AttrInt64(name, int(ir.DataType.FLOAT))


def _wide(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    return ir.tensor(tensor.numpy().astype(np.float32), name=tensor.name)


def _widen_values(graph: ir.Graph) -> None:
    made = (out for node in graph for out in node.outputs)
    for value in (*graph.inputs, *graph.initializers.values(), *made):
        if not _is_half(value):
            continue
        if value.const_value is not None:
            value.const_value = _wide(value.const_value)
        if value.type is None or isinstance(value.type, ir.TensorType):
            value.type = ir.TensorType(ir.DataType.FLOAT)


def _read_wide(graph: ir.Graph, value: ir.Value, dtype: ir.DataType | None) -> None:
    """Give an input its type back; its readers get it from a Cast."""
    assert dtype is not None
    uses = list(value.uses())
    value.type = ir.TensorType(dtype)
    if not uses:
        return
    cast = _cast(graph, value, ir.DataType.FLOAT, f"{value.name}_wide")
    merge_origin(cast, [uses[0].node])
    graph.insert_before(graph[0], cast)
    for node, index in uses:
        node.replace_input_with(index, cast.outputs[0])


def _return_narrow(graph: ir.Graph, value: ir.Value, dtype: ir.DataType | None) -> None:
    """Let a Cast return what an output was, under its name."""
    assert dtype is not None
    if value.is_graph_input():
        return
    name = value.name
    value.name = fresh_name(graph, f"{name}_wide")
    producer = value.producer()
    cast = _cast(graph, value, dtype, f"{name}_narrow")
    if producer is not None:
        merge_origin(cast, [producer])
    graph.append(cast)
    result = cast.outputs[0]
    graph.outputs[:] = [result if out is value else out for out in graph.outputs]
    result.name = name


def _cast(graph: ir.Graph, value: ir.Value, dtype: ir.DataType, name: str) -> ir.Node:
    node = ir.node(
        "Cast", [value], attributes={"to": int(dtype)}, name=fresh_name(graph, f"{name}_cast")
    )
    result = node.outputs[0]
    result.name = fresh_name(graph, name)
    result.type, result.shape = ir.TensorType(dtype), value.shape
    return node


def _drop_casts(model: ir.Model) -> None:
    """Remove Casts of float32 to float32."""
    casts = [node for node in nodes_in(model.graph) if is_op(node, "Cast")]
    for node in casts:
        source, result = node.inputs[0], node.outputs[0]
        if source is None or source.dtype != ir.DataType.FLOAT:
            continue
        if node.attributes.get_int("to", 0) == ir.DataType.FLOAT and can_bypass(result, source):
            replace_output(result, source)
    remove_dead(casts)
