"""ONNX's own shape inference, run on what is not settled yet and without copying weights."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator

import onnx
import onnx_ir as ir
from onnx_ir import serde

from bmopt.graph.nesting import graphs_in, subgraphs_of

GENERATED = "unk__"
"""Prefix of the names that ONNX's inference gives to sizes it does not know."""

_READ_BYTES = 1024
"""Larger initialisers never decide a shape: inference sees their type and shape only."""


@dataclasses.dataclass(frozen=True)
class OpenPart:
    """The nodes of a main graph whose outputs are not settled, as a model to infer.

    Attributes:
        nodes: The nodes, in the order of the proto's nodes.
        proto: The model; what its nodes read from elsewhere are inputs and initialisers.
    """

    nodes: tuple[ir.Node, ...]
    proto: onnx.ModelProto


def open_part(model: ir.Model, *, everything: bool) -> OpenPart:
    """Return the part of ``model`` that inference can still add to.

    A node is settled when the types and sizes of its outputs are known, as numbers or by a
    declared name, and none of them is a small integer tensor whose contents may decide a shape.

    Args:
        model: The model.
        everything: Take settled nodes too, to see whether what is declared can be.
    """
    nodes = tuple(node for node in model.graph if everything or not _is_settled(node))
    proto = onnx.ModelProto(ir_version=max(model.ir_version, 4))
    for domain, version in model.graph.opset_imports.items():
        proto.opset_import.add(domain=domain, version=version)
    proto.graph.name = "open"
    proto.functions.extend(
        serde.serialize_function(function) for function in model.functions.values()
    )
    with _inner_weights_left_out(nodes):
        proto.graph.node.extend(node_proto(node) for node in nodes)
    made = {out for node in nodes for out in node.outputs}
    for value in dict.fromkeys(_reads(nodes)):
        if value not in made:
            _declare_input(proto.graph, value)
    known = (out for out in made if out.name and out.type is not None)
    proto.graph.value_info.extend(serde.serialize_value(out) for out in known)
    return OpenPart(nodes, proto)


def infer(part: OpenPart, *, strict: bool) -> onnx.ModelProto:
    """Return the part's proto with inferred types and shapes.

    Raises:
        onnx.shape_inference.InferenceError: Inference gave up; with ``strict``, on the first
            contradiction.
    """
    return onnx.shape_inference.infer_shapes(part.proto, strict_mode=strict, data_prop=True)


def _is_settled(node: ir.Node) -> bool:
    if subgraphs_of(node):
        return False
    return all(not out.name or _is_known(out) for out in node.outputs)


def _is_known(value: ir.Value) -> bool:
    if value.type is None or value.shape is None:
        return False
    if value.dtype == ir.DataType.INT64 and value.shape.rank() <= 1:
        return False
    return all(isinstance(dim, int) or _is_declared(dim.value) for dim in value.shape)


def _is_declared(name: str | None) -> bool:
    return name is not None and not name.startswith(GENERATED)


def node_proto(node: ir.Node) -> onnx.NodeProto:
    """Return ``node`` without its documentation and metadata."""
    proto = onnx.NodeProto(
        name=node.name or "",
        op_type=node.op_type,
        domain=node.domain,
        overload=node.overload,
        input=[(value.name or "") if value is not None else "" for value in node.inputs],
        output=[value.name or "" for value in node.outputs],
    )
    proto.attribute.extend(
        serde.serialize_attribute(attribute) for attribute in node.attributes.values()
    )
    return proto


def _reads(nodes: Iterable[ir.Node]) -> Iterator[ir.Value]:
    """Yield what ``nodes`` read, and what their sub-graphs read from outside."""
    for node in nodes:
        yield from (value for value in node.inputs if value is not None)
        for sub in subgraphs_of(node):
            inside = set(sub.inputs) | set(sub.initializers.values())
            inside.update(out for inner in sub for out in inner.outputs)
            yield from (value for value in _reads(sub) if value not in inside)


def _declare_input(graph: onnx.GraphProto, value: ir.Value) -> None:
    tensor = value.const_value
    if tensor is None:
        graph.input.append(serde.serialize_value(value))
        return
    if tensor.nbytes <= _READ_BYTES and not value.is_graph_input():
        stored = serde.serialize_tensor(tensor)
        stored.name = value.name or ""
        graph.initializer.append(stored)
        return
    info = graph.input.add(name=value.name or "")
    info.type.tensor_type.elem_type = int(tensor.dtype)
    info.type.tensor_type.shape.SetInParent()
    for size in tensor.shape.numpy():
        info.type.tensor_type.shape.dim.add(dim_value=int(size))


@contextlib.contextmanager
def _inner_weights_left_out(nodes: Iterable[ir.Node]) -> Iterator[None]:
    taken: list[tuple[ir.Value, ir.TensorProtocol]] = []
    inner = [sub for node in nodes for sub in subgraphs_of(node)]
    try:
        for graph in [nested for sub in inner for nested in graphs_in(sub)]:
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
