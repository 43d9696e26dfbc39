"""ONNX's own shape inference, without copying weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import onnx
import onnx_ir as ir

from bmopt.optimizer.rewrite import all_graphs

_READ_BYTES = 1024
"""Larger initialisers never decide a shape: inference sees their type and shape only."""


def infer_proto(model: ir.Model) -> onnx.ModelProto:
    """Return ``model`` as a proto with inferred types and shapes, large weights left out.

    Raises:
        onnx.shape_inference.InferenceError: Inference gave up.
        ValueError: The model cannot be serialised.
    """
    with _weights_left_out(model):
        proto = ir.to_proto(model)
    return onnx.shape_inference.infer_shapes(proto, data_prop=True)


@contextlib.contextmanager
def _weights_left_out(model: ir.Model) -> Iterator[None]:
    taken: list[tuple[ir.Value, ir.TensorProtocol]] = []
    try:
        for graph in all_graphs(model):
            for value in graph.initializers.values():
                tensor = value.const_value
                if tensor is not None and tensor.nbytes > _READ_BYTES:
                    taken.append((value, tensor))
                    value.const_value = _placeholder(tensor)
        yield
    finally:
        for value, tensor in taken:
            value.const_value = tensor


def _placeholder(tensor: ir.TensorProtocol) -> ir.ExternalTensor:
    # A reference to a file that is never opened: what serialises without any contents.
    return ir.ExternalTensor(
        "left_out",
        0,
        tensor.nbytes,
        tensor.dtype,
        shape=ir.Shape(tensor.shape.numpy()),
        name=tensor.name or "",
    )


def graph_infos(proto: onnx.GraphProto) -> dict[str, onnx.ValueInfoProto]:
    """Return the types by value name of one graph, not of its sub-graphs."""
    infos = (*proto.value_info, *proto.output, *proto.input)
    return {info.name: info for info in infos}


def subgraph_protos(node: onnx.NodeProto) -> list[onnx.GraphProto]:
    """Return the graphs in the attributes of ``node``, in the order ``onnx_ir`` keeps them."""
    graphs: list[onnx.GraphProto] = []
    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.GRAPH:
            graphs.append(attribute.g)
        elif attribute.type == onnx.AttributeProto.GRAPHS:
            graphs.extend(attribute.graphs)
    return graphs
