"""Runs of nodes as models of their own, built from nothing else than what they read.

Unlike ``bmopt.graph.extract``, which cuts a copy of the whole model, a piece costs what it holds:
cutting a graph into as many pieces as it has layers stays linear in its size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import onnx
import onnx_ir as ir

from bmopt.core.runner import Array
from bmopt.graph.nesting import nodes_in, subgraphs_of
from bmopt.graph.values import constant_tensor


def piece_of(
    model: ir.Model,
    nodes: Sequence[ir.Node],
    inputs: Mapping[str, np.dtype[np.generic]],
    outputs: Sequence[str],
    constants: Mapping[str, Array] | None = None,
) -> ir.Model:
    """Return a model that computes ``outputs`` with those of ``nodes`` that they depend on.

    Weights are shared with ``model``, not copied.

    Args:
        model: Where the nodes are; is not changed. Its opset imports and local functions are
            taken over.
        nodes: Nodes of its main graph, sorted.
        inputs: What the piece is fed -> its element type; the shapes are left open. Those that it
            does not read are no inputs of it.
        outputs: What it shows, each the output of one of the nodes.
        constants: Values to take instead of the model's initialisers of that name.
    """
    live = live_nodes(nodes, outputs)
    read = list(dict.fromkeys(name for node in live for name in names_read(node)))
    tensors = _constants_read(model, [n for n in read if n not in inputs], constants or {})
    proto = onnx.ModelProto(ir_version=max(model.ir_version or 10, 4))
    for domain, version in model.opset_imports.items():
        proto.opset_import.add(domain=domain, version=version)
    proto.functions.extend(ir.serde.serialize_function(f) for f in model.functions.values())
    graph = proto.graph
    graph.name = "piece"
    graph.node.extend(ir.serde.serialize_node(node) for node in live)
    for name in read:
        if name in inputs:
            value = graph.input.add(name=name)
            value.type.tensor_type.elem_type = int(ir.DataType.from_numpy(inputs[name]))
    for name, tensor in tensors.items():  # Without their values, which need not be written.
        graph.initializer.add(name=name, data_type=int(tensor.dtype), dims=[0])
    for name in outputs:
        graph.output.add(name=name)
    piece = ir.serde.deserialize_model(proto)
    for name, tensor in tensors.items():
        _set_constant(piece.graph.initializers[name], tensor)
    return piece


def live_nodes(nodes: Sequence[ir.Node], outputs: Iterable[str]) -> list[ir.Node]:
    """Return those of ``nodes`` that one of ``outputs`` depends on."""
    wanted = set(outputs)
    live = []
    for node in reversed(nodes):
        if any(value.name in wanted for value in node.outputs):
            live.append(node)
            wanted.update(names_read(node))
    return live[::-1]


def names_read(node: ir.Node) -> Iterator[str]:
    """Yield the names of what ``node``, and the nodes in its bodies, read."""
    yield from (value.name for value in node.inputs if value is not None and value.name)
    for body in subgraphs_of(node):
        yield from (value.name for value in body.outputs if value.name)
        for inner in nodes_in(body):
            yield from (v.name for v in inner.inputs if v is not None and v.name)
            for nested in subgraphs_of(inner):
                yield from (value.name for value in nested.outputs if value.name)


def is_constant_node(node: ir.Node) -> bool:
    """Whether all that ``node`` computes is known without any input."""
    return bool(node.outputs) and all(constant_tensor(value) is not None for value in node.outputs)


def with_inputs(node: ir.Node, names: Mapping[int, str]) -> ir.Node:
    """Return a node outside of any graph that is like ``node`` but reads others at some inputs.

    Args:
        node: Has no bodies; is not changed.
        names: Index of an input, which may be one behind the last -> name of what it reads.
    """
    count = max([len(node.inputs), *(index + 1 for index in names)])
    old = [None if value is None else value.name for value in node.inputs]
    read = [names.get(i) or (old[i] if i < len(old) else None) for i in range(count)]
    values = {name: ir.Value(name=name) for name in read if name is not None}
    copy = ir.node(
        node.op_type,
        [None if name is None else values[name] for name in read],
        dict(node.attributes),
        domain=node.domain,
        num_outputs=len(node.outputs),
        name=node.name,
    )
    for mine, theirs in zip(copy.outputs, node.outputs, strict=True):
        mine.name = theirs.name
    return copy


def _constants_read(
    model: ir.Model, names: Sequence[str], others: Mapping[str, Array]
) -> dict[str, ir.TensorProtocol]:
    """Return the constants among ``names``; in memory, so that the piece needs no other file."""
    found: dict[str, ir.TensorProtocol] = {}
    for name in names:
        if name in others:
            found[name] = ir.Tensor(others[name], name=name)
        elif name in model.graph.initializers:
            tensor = model.graph.initializers[name].const_value
            assert tensor is not None
            if isinstance(tensor, ir.ExternalTensor):
                tensor = ir.Tensor(tensor.numpy(), dtype=tensor.dtype, name=name)
            found[name] = tensor
    return found


def _set_constant(value: ir.Value, tensor: ir.TensorProtocol) -> None:
    value.const_value = tensor
    value.shape = ir.Shape(tensor.shape.numpy())
    value.type = ir.TensorType(tensor.dtype)
