"""Evaluate nodes whose inputs are all known, in one ONNX Runtime session."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
from onnx_ir import serde
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from bmopt.core.runner import Array
from bmopt.graph.values import constant_tensor

_INLINE_BYTES = 1024
"""Larger constants are fed, so that they are not serialised."""

_FAILURES = (
    ort_errors.EPFail,
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)


def evaluate(
    nodes: Sequence[ir.Node], outputs: Sequence[ir.Value], model: ir.Model
) -> dict[ir.Value, Array]:
    """Return the arrays of ``outputs``, computed by ``nodes`` from constants alone.

    Args:
        nodes: In topological order, without sub-graphs; all their inputs are constants or
            outputs of nodes before them.
        outputs: Values that ``nodes`` produce.
        model: Where the nodes are from; gives the opset.

    Where the engine refuses the whole, each node is tried alone and those that fail are left
    out of the result, with what depends on them.
    """
    try:
        return _run(nodes, outputs, model, {})
    except _FAILURES:
        return _run_each(nodes, outputs, model)


def _run_each(
    nodes: Sequence[ir.Node], outputs: Sequence[ir.Value], model: ir.Model
) -> dict[ir.Value, Array]:
    known: dict[ir.Value, Array] = {}
    for node in nodes:
        inputs = [value for value in node.inputs if value is not None]
        if any(value not in known and constant_tensor(value) is None for value in inputs):
            continue
        made = [out for out in node.outputs if out.name]
        try:
            known.update(_run([node], made, model, known))
        except _FAILURES:
            continue
    return {value: known[value] for value in outputs if value in known}


def _run(
    nodes: Sequence[ir.Node],
    outputs: Sequence[ir.Value],
    model: ir.Model,
    known: dict[ir.Value, Array],
) -> dict[ir.Value, Array]:
    proto = onnx.ModelProto(ir_version=min(model.ir_version, 10), producer_name="bmopt")
    for domain, version in model.graph.opset_imports.items():
        proto.opset_import.add(domain=domain, version=version)
    proto.graph.name = "constants"
    feeds = _add_inputs(proto.graph, nodes, known)
    proto.graph.node.extend(serde.serialize_node(node) for node in nodes)
    proto.graph.output.extend(onnx.ValueInfoProto(name=value.name) for value in outputs)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    arrays = session.run([value.name for value in outputs], feeds)
    return dict(zip(outputs, map(np.asarray, arrays), strict=True))


def _add_inputs(
    graph: onnx.GraphProto, nodes: Iterable[ir.Node], known: dict[ir.Value, Array]
) -> dict[str, Array]:
    """Add the constants that ``nodes`` read to ``graph``; return those to be fed."""
    feeds: dict[str, Array] = {}
    made = {out for node in nodes for out in node.outputs}
    read = dict.fromkeys(v for node in nodes for v in node.inputs if v is not None)
    for value in (v for v in read if v not in made):
        tensor = ir.tensor(known[value]) if value in known else constant_tensor(value)
        assert tensor is not None
        if tensor.nbytes <= _INLINE_BYTES or tensor.dtype in _NOT_FED:
            stored = serde.serialize_tensor(tensor)
            stored.name = value.name or ""
            graph.initializer.append(stored)
            continue
        feeds[value.name or ""] = tensor.numpy()
        info = graph.input.add(name=value.name)
        info.type.tensor_type.elem_type = int(tensor.dtype)
        for size in tensor.shape.numpy():
            info.type.tensor_type.shape.dim.add(dim_value=int(size))
    return feeds


_NOT_FED = frozenset(ir.DataType) - {
    ir.DataType.FLOAT,
    ir.DataType.DOUBLE,
    ir.DataType.FLOAT16,
    ir.DataType.INT8,
    ir.DataType.INT16,
    ir.DataType.INT32,
    ir.DataType.INT64,
    ir.DataType.UINT8,
    ir.DataType.UINT16,
    ir.DataType.UINT32,
    ir.DataType.UINT64,
    ir.DataType.BOOL,
}
"""Types that NumPy has no name for; they travel inside the model."""
