"""Compute the small constants of a graph that shapes hang on: pads, sizes, axes.

ONNX's shape inference follows few integer operators. Exporters write pads and target shapes as
chains of Slice, Transpose and Cast over constants; those are run here.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import onnx.numpy_helper

from bmopt.core.runner import Array
from bmopt.graph.macs import Shape

MAX_ELEMENTS = 256
"""Constants with more elements than this are left alone."""

_NUMPY_TYPES = frozenset(
    f"tensor({name})"
    for name in (
        *("bool", "double", "float", "float16"),
        *("int8", "int16", "int32", "int64"),
        *("uint8", "uint16", "uint32", "uint64"),
    )
)
"""What ONNX Runtime returns as arrays of the same type; float8 for one comes back as uint8."""

_RANDOM = frozenset({"Bernoulli", "Multinomial"})


def fold_small(model: onnx.ModelProto, shapes: Mapping[str, Shape]) -> bool:
    """Replace nodes of the main graph that compute small constants by those, in place.

    Args:
        model: The model; after this its small constants are initialisers.
        shapes: Shapes that are known, for ``Shape`` nodes.

    Returns:
        Whether any node was replaced.
    """
    graph = model.graph
    fed = {value.name for value in graph.input}
    small = {
        tensor.name: onnx.numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if tensor.name not in fed and _is_small(tuple(tensor.dims))
    }
    for node in graph.node:
        shape = shapes.get(node.input[0]) if node.op_type == "Shape" and node.input else None
        if shape is not None and not node.attribute:
            small[node.output[0]] = np.array(shape, np.int64)
    closed = _closed_nodes(graph, set(small))
    values = small | _run(model, closed, small)
    done = [node for node in graph.node if all(name in values for name in node.output)]
    for node in done:
        graph.node.remove(node)
        graph.initializer.extend(
            onnx.numpy_helper.from_array(values[name], name) for name in node.output
        )
    return bool(done)


def _closed_nodes(graph: onnx.GraphProto, known: set[str]) -> list[onnx.NodeProto]:
    """Return the nodes that read nothing but ``known`` and each other."""
    closed: list[onnx.NodeProto] = []
    for node in graph.node:
        if node.output and node.output[0] in known:
            continue
        random = node.op_type.startswith("Random") or node.op_type in _RANDOM
        bodies = any(a.HasField("g") or a.graphs for a in node.attribute)
        reads_known = all(not name or name in known for name in node.input)
        if reads_known and not random and not bodies and not _holds_big_tensor(node):
            closed.append(node)
            known.update(node.output)
    return closed


def _run(
    model: onnx.ModelProto, nodes: list[onnx.NodeProto], known: Mapping[str, Array]
) -> dict[str, Array]:
    """Return what ``nodes`` compute and is small; nothing where ONNX Runtime refuses them."""
    if not nodes:
        return {}
    import onnxruntime as ort
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    part = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    part.graph.name = "constants"
    part.graph.node.extend(nodes)
    part.graph.initializer.extend(
        onnx.numpy_helper.from_array(array, name) for name, array in known.items()
    )
    names = [name for node in nodes for name in node.output if name]
    part.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = ort.InferenceSession(part.SerializeToString(), options)
        names = [out.name for out in session.get_outputs() if out.type in _NUMPY_TYPES]
        results = session.run(names, {}) if names else []
    except (state.Fail, state.InvalidArgument, state.InvalidGraph, state.NotImplemented):
        return {}
    found = zip(names, results, strict=True)
    return {n: a for n, a in found if isinstance(a, np.ndarray) and _is_small(a.shape)}


def _is_small(shape: tuple[int, ...]) -> bool:
    return int(np.prod(shape, dtype=np.int64)) <= MAX_ELEMENTS


def _holds_big_tensor(node: onnx.NodeProto) -> bool:
    return any(not _is_small(tuple(a.t.dims)) for a in node.attribute if a.HasField("t"))
