"""Models with Q/DQ before chosen inputs, as engines of this API want them, and their plans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import ml_dtypes
import numpy as np
import onnx_ir as ir

from bmopt.core.plan import QuantPlan
from bmopt.core.runner import Array
from tests.quantizing import named

_STORED = {
    "int8": (np.dtype(np.int8), 127.0),
    "float8e4m3fn": (np.dtype(ml_dtypes.float8_e4m3fn), 448.0),
}


def explicit(
    text: str,
    reads: Mapping[str, Sequence[int]],
    *,
    dtype: str = "int8",
    axes: Mapping[str, int | None] | None = None,
    opset: int = 19,
) -> tuple[ir.Model, QuantPlan]:
    """Put a Q/DQ pair before the inputs ``reads`` of nodes, and say so in a plan.

    Activations get the scale 1/32. Constants become ``dtype`` behind a DQ, with one scale per
    channel along the node's output axis, or along that of ``axes`` (None: one scale).
    """
    model = named(text, opset)
    for node in list(model.graph):
        axis = (axes or {}).get(node.name or "", _output_axis(node))
        for index in reads.get(node.name or "", ()):
            source = node.inputs[index]
            assert source is not None
            constant = source.const_value
            if constant is None:
                read = _pair(node, source, dtype)
            else:
                read = _constant(node, source, constant.numpy(), dtype, axis)
            node.replace_input_with(index, read)
    names = tuple(node.name or "" for node in model.graph if (node.name or "") in reads)
    return model, plan_of(names, reads)


def plan_of(names: Sequence[str], reads: Mapping[str, Sequence[int]] | None = None) -> QuantPlan:
    """Return a plan that wants ``names`` in 8 bits."""
    kept = {name: tuple((reads or {}).get(name, (0, 1))) for name in names}
    return QuantPlan("m" * 64, "test", "max", {}, {}, tuple(names), (), (), {}, kept)


def _output_axis(node: ir.Node) -> int:
    if node.op_type == "Gemm":
        return 1 - node.attributes.get_int("transB", 0)
    return {"Conv": 0}.get(node.op_type, 1)


def _scalar(graph: ir.Graph, name: str, array: Array) -> ir.Value:
    value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
    value.shape, value.type = (
        ir.Shape(array.shape),
        ir.TensorType(ir.DataType.from_numpy(array.dtype)),
    )
    graph.initializers[name] = value
    return value


def _node(
    before: ir.Node, op: str, inputs: Sequence[ir.Value], name: str, axis: int = 1
) -> ir.Value:
    made = ir.node(op, inputs, {"axis": axis} if inputs[1].shape else None, name=name)
    made.outputs[0].name = name
    graph = before.graph
    assert isinstance(graph, ir.Graph)
    graph.insert_before(before, made)
    return made.outputs[0]


def _pair(node: ir.Node, source: ir.Value, dtype: str) -> ir.Value:
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    known = {value.name: value for each in graph for value in each.outputs}
    name = f"{source.name}_DequantizeLinear"
    if name in known:
        return known[name]
    scale = _scalar(graph, f"{source.name}_scale", np.array(1 / 32, np.float32))
    zero = _scalar(graph, f"{source.name}_zero", np.zeros((), _STORED[dtype][0]))
    stored = _node(node, "QuantizeLinear", (source, scale, zero), f"{source.name}_QuantizeLinear")
    return _node(node, "DequantizeLinear", (stored, scale, zero), name)


def _constant(
    node: ir.Node, source: ir.Value, array: Array, dtype: str, axis: int | None
) -> ir.Value:
    graph = node.graph
    assert isinstance(graph, ir.Graph)
    stored, limit = _STORED[dtype]
    over = None if axis is None else tuple(i for i in range(array.ndim) if i != axis)
    scale = np.abs(array).max(axis=over, keepdims=True).astype(np.float32) / limit
    quotient = array / scale
    packed = (np.rint(quotient) if dtype == "int8" else quotient).astype(stored)
    scales = scale.reshape(()) if axis is None else scale.reshape(-1)
    values = (
        _scalar(graph, f"{source.name}_stored", packed),
        _scalar(graph, f"{source.name}_scale", scales),
        _scalar(graph, f"{source.name}_zero", np.zeros(scales.shape, stored)),
    )
    return _node(node, "DequantizeLinear", values, f"{source.name}_DequantizeLinear", axis or 0)


def half_floats(model: ir.Model) -> None:
    """Turn every float of a model into float16, its inputs and outputs too."""
    half = ir.TensorType(ir.DataType.FLOAT16)
    for value in model.graph.initializers.values():
        assert value.const_value is not None
        if value.const_value.dtype == ir.DataType.FLOAT:
            array = value.const_value.numpy().astype(np.float16)
            value.const_value, value.type = ir.tensor(array, name=value.name), half
    for node in model.graph:
        for output in node.outputs:
            output.type = None
    for value in (*model.graph.inputs, *model.graph.outputs):
        value.type = half
