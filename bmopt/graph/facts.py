"""What ``bmopt inspect`` tells about a model: ops, parameters, MACs, bytes, dynamic axes."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

import onnx_ir as ir

from bmopt.graph.concrete_values import DEFAULT_SIZE, KnownValue, axis_sizes, concrete_values
from bmopt.graph.macs import Shape, macs_of
from bmopt.graph.nesting import graphs_in, nodes_in, subgraphs_of
from bmopt.graph.quantized import is_quantized
from bmopt.graph.values import constant_tensor


@dataclasses.dataclass(frozen=True)
class ValueFacts:
    """An input or output as declared.

    Attributes:
        name: Its name.
        dtype: Element type as ONNX calls it (``"FLOAT"``), or the type of what is no tensor.
        shape: A size, a symbol or None an axis; None where the rank is not known.
    """

    name: str
    dtype: str
    shape: tuple[int | str | None, ...] | None


@dataclasses.dataclass(frozen=True)
class NodeFacts:
    """One node, for one run of it at the sizes of ``ModelFacts.sizes``.

    Attributes:
        name: The node's name, unique in the model.
        op_type: Its op, with the domain in front where that is not the standard one.
        inside: Name of the control-flow node whose body holds it; empty in the main graph.
        shape: Shape of its first output, None where it is not known.
        parameters: Elements of the constants that it reads.
        weight_bytes: Bytes of those constants.
        activation_bytes: Bytes of its outputs, None where a shape is not known.
        macs: Multiply-accumulates without those of bodies, None where a shape is not known.
    """

    name: str
    op_type: str
    inside: str
    shape: Shape | None
    parameters: int
    weight_bytes: int
    activation_bytes: int | None
    macs: int | None


@dataclasses.dataclass(frozen=True)
class ModelFacts:
    """A model in numbers.

    Attributes:
        ir_version: Version of the file format.
        opsets: Domain -> version.
        inputs: What is fed; inputs with a default are left out.
        outputs: What comes out.
        dynamic_axes: ``input[axis]`` -> symbol, empty where it has none.
        sizes: Symbol -> size that shapes, bytes and MACs were computed with; symbols that are
            not there were taken as 1.
        ops: Op -> number of nodes, through sub-graphs, most frequent first.
        parameters: Elements of all constants.
        weight_bytes: Bytes of all constants.
        macs: MACs of one inference: of an If, the dearer branch; of a Loop without a constant
            trip count and of a Scan, one iteration.
        macs_unknown: Names of nodes whose MACs or iterations are not known and not in ``macs``.
        quantized: Whether the model computes in integers already.
        nodes: Every node, bodies after the node that holds them.
    """

    ir_version: int
    opsets: Mapping[str, int]
    inputs: tuple[ValueFacts, ...]
    outputs: tuple[ValueFacts, ...]
    dynamic_axes: Mapping[str, str]
    sizes: Mapping[str, int]
    ops: Mapping[str, int]
    parameters: int
    weight_bytes: int
    macs: int
    macs_unknown: tuple[str, ...]
    quantized: bool
    nodes: tuple[NodeFacts, ...]


def model_facts(model: ir.Model, shapes: Mapping[str, Sequence[int]] | None = None) -> ModelFacts:
    """Return the facts of ``model``, with dynamic axes sized by ``shapes`` or as 1.

    Raises:
        UsageError: ``shapes`` names no input, or does not fit its declared shape.
        ModelError: ONNX's shape inference fails on the model.
    """
    known = concrete_values(model, shapes)
    nodes = tuple(_nodes(model.graph, known, ""))
    fed = [value for value in model.graph.inputs if not value.is_initializer()]
    dynamic = _dynamic_axes(fed)
    given = axis_sizes(model, shapes or {})
    ops = collections.Counter(node.op_type for node in nodes)
    constants = _constants(model)
    macs_by_name = {node.name: node.macs for node in nodes}
    return ModelFacts(
        ir_version=model.ir_version,
        opsets=dict(sorted(model.opset_imports.items())),
        inputs=tuple(_value_facts(value) for value in fed),
        outputs=tuple(_value_facts(value) for value in model.graph.outputs),
        dynamic_axes=dynamic,
        sizes={s: given.get(s, DEFAULT_SIZE) for s in dict.fromkeys(dynamic.values()) if s},
        ops=dict(sorted(ops.items(), key=lambda item: (-item[1], item[0]))),
        parameters=sum(int(tensor.size) for tensor in constants),
        weight_bytes=sum(int(tensor.nbytes) for tensor in constants),
        macs=_total_macs(model.graph, macs_by_name),
        macs_unknown=tuple(_unknown_macs(model, macs_by_name)),
        quantized=is_quantized(model),
        nodes=nodes,
    )


def _nodes(graph: ir.Graph, known: Mapping[str, KnownValue], inside: str) -> Iterator[NodeFacts]:
    for node in graph:
        yield _node_facts(node, known, inside)
        for body in subgraphs_of(node):
            yield from _nodes(body, known, str(node.name))


def _node_facts(node: ir.Node, known: Mapping[str, KnownValue], inside: str) -> NodeFacts:
    def shape_of(value: ir.Value) -> Shape | None:
        tensor = constant_tensor(value)
        if tensor is not None:
            return tuple(int(size) for size in tensor.shape.numpy())
        found = known.get(value.name or "")
        return None if found is None else found.shape

    read = {id(t): t for t in map(constant_tensor, node.inputs) if t is not None}
    written = [value for value in node.outputs if value.name]
    return NodeFacts(
        name=str(node.name),
        op_type=f"{node.domain}.{node.op_type}" if node.domain else node.op_type,
        inside=inside,
        shape=shape_of(node.outputs[0]) if node.outputs else None,
        parameters=sum(int(tensor.size) for tensor in read.values()),
        weight_bytes=sum(int(tensor.nbytes) for tensor in read.values()),
        activation_bytes=_total([_bytes_of(known.get(str(v.name))) for v in written]),
        macs=macs_of(node, shape_of),
    )


def _bytes_of(value: KnownValue | None) -> int | None:
    if value is None or value.shape is None or value.dtype == ir.DataType.STRING:
        return None
    return math.ceil(math.prod(value.shape) * value.dtype.bitwidth / 8)


def _total(parts: Sequence[int | None]) -> int | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def _constants(model: ir.Model) -> list[ir.TensorProtocol]:
    """Return every tensor that is an initialiser or a Constant node's value, once."""
    found: dict[int, ir.TensorProtocol] = {}
    for graph in graphs_in(model.graph):
        for value in graph.initializers.values():
            if value.const_value is not None:
                found[id(value.const_value)] = value.const_value
        for node in graph:
            if node.op_type == "Constant" and (t := constant_tensor(node.outputs[0])) is not None:
                found[id(t)] = t
    return list(found.values())


def _total_macs(graph: ir.Graph, macs: Mapping[str, int | None]) -> int:
    total = 0
    for node in graph:
        bodies = [_total_macs(body, macs) for body in subgraphs_of(node)]
        inner = max(bodies, default=0) if node.op_type == "If" else sum(bodies)
        total += (macs[str(node.name)] or 0) + inner * (_iterations(node) or 1)
    return total


def _iterations(node: ir.Node) -> int | None:
    """Return how often the body of ``node`` runs, None where that is not known."""
    if node.op_type not in ("Loop", "Scan"):
        return 1
    trips = constant_tensor(node.inputs[0]) if node.op_type == "Loop" and node.inputs else None
    return None if trips is None or trips.size != 1 else int(trips.numpy().reshape(-1)[0])


def _unknown_macs(model: ir.Model, macs: Mapping[str, int | None]) -> Iterator[str]:
    for node in nodes_in(model.graph):
        if macs[str(node.name)] is None or (subgraphs_of(node) and _iterations(node) is None):
            yield str(node.name)


def _dynamic_axes(inputs: Sequence[ir.Value]) -> dict[str, str]:
    return {
        f"{value.name}[{index}]": axis.value or ""
        for value in inputs
        for index, axis in enumerate(value.shape or ())
        if not isinstance(axis, int)
    }


def _value_facts(value: ir.Value) -> ValueFacts:
    is_tensor = isinstance(value.type, ir.TensorType)
    dtype = value.dtype.name if is_tensor and value.dtype is not None else str(value.type)
    shape = value.shape
    axes = None if shape is None else tuple(a if isinstance(a, int) else a.value for a in shape)
    return ValueFacts(str(value.name), dtype, axes)
