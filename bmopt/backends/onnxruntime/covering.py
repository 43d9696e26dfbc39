"""Which nodes of a graph each node of the graph that ONNX Runtime made of it stands for.

ONNX Runtime keeps no record of that. But most tensors keep their names, and what the others are in
the graph given follows from who reads and writes them; a node then stands for whatever lies
between the tensors that it reads and those that it writes. So a convolution that took over an
activation, a batch normalisation or a Q/DQ pair counts for them too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import onnx_ir as ir

from bmopt.backends.onnxruntime.optimized_names import node_stems, value_stem
from bmopt.graph.nesting import graphs_in, nodes_in
from bmopt.graph.values import constant_tensor

_MOVERS = frozenset(
    {"Transpose", "ReorderInput", "ReorderOutput", "Reshape", "Squeeze", "Unsqueeze", "Cast"}
)
"""Ops that ONNX Runtime inserts to change a tensor's layout or type."""

_ABSORBED = ("DequantizeLinear", "Pad")
"""Ops in front of a node that its kernel takes over together with it."""

_SHARED = ("DequantizeLinear",)

_MAX_STEPS = 8


def covered_nodes(given: ir.Graph, optimised: ir.Graph) -> dict[str, tuple[str, ...]]:
    """Return node of ``optimised`` -> names of the nodes of ``given`` that it stands for.

    Nodes that ONNX Runtime inserted count for the node that wrote what they read where they give
    it back its name, else for their reader. Apart from those, and from DequantizeLinear that
    several kernels took over, no node of ``given`` is covered twice. Empty where nothing is known.
    """
    kernels = list(nodes_in(optimised))
    graph = _Given.of(given)
    aliases = _aliases(graph, kernels)
    cones = _cones(graph, kernels, aliases)
    for kernel in kernels:
        core = None if cones[kernel] else graph.core(kernel)
        if core is not None and not graph.is_inserted(kernel):
            cones[kernel] = (str(core.name),)
    for kernel in reversed(kernels):
        if not cones[kernel]:
            cones[kernel] = _neighbours(kernel, graph, cones)
    return {str(kernel.name): cones[kernel] for kernel in kernels}


@dataclasses.dataclass(frozen=True)
class _Given:
    """The graph given, by names.

    Attributes:
        nodes: Name -> node.
        writers: Output -> the node that writes it.
        inputs: Names of the inputs.
    """

    nodes: Mapping[str, ir.Node]
    writers: Mapping[str, ir.Node]
    inputs: frozenset[str]

    @classmethod
    def of(cls, graph: ir.Graph) -> _Given:
        nodes = list(nodes_in(graph))
        return cls(
            {str(node.name): node for node in nodes},
            {value.name: node for node in nodes for value in node.outputs if value.name},
            frozenset(str(value.name) for part in graphs_in(graph) for value in part.inputs),
        )

    def is_inserted(self, kernel: ir.Node) -> bool:
        """Whether ONNX Runtime added ``kernel`` to change a layout or a type."""
        return kernel.op_type in _MOVERS and str(kernel.name) not in self.nodes

    def core(self, kernel: ir.Node) -> ir.Node | None:
        """Return the node that ``kernel`` was made from, None where its name does not tell."""
        if self.is_inserted(kernel):
            return None
        name = str(kernel.name)
        for stem in node_stems(name):
            if stem in self.nodes:
                return self.nodes[stem]
        last = self.writers.get(value_stem(name) or "")
        return None if last is None else _upstream(last, kernel.op_type)


def _upstream(last: ir.Node, op_type: str) -> ir.Node:
    """Return the first ``op_type`` on the way up from ``last``, or ``last``."""
    node: ir.Node | None = last
    for _ in range(_MAX_STEPS):
        if node is None or node.op_type == op_type:
            break
        node = node.inputs[0].producer() if node.inputs and node.inputs[0] is not None else None
    return last if node is None or node.op_type != op_type else node


def _aliases(graph: _Given, kernels: Sequence[ir.Node]) -> dict[str, str]:
    """Return tensor of the optimised graph -> what it is in the graph given.

    Those that lost their names are, in this order: what their reader's namesake reads, the same as
    what an inserted node makes of them, what their writer is named after.
    """
    written = [str(value.name) for kernel in kernels for value in kernel.outputs if value.name]
    active = {*graph.inputs, *written}
    found = {name: name for name in active if name in graph.inputs or name in graph.writers}
    for kernel in kernels:
        for name, value in _paired(graph, kernel, active):
            if name not in found:
                found[name] = _unabsorbed(value, found)
    _spread(graph, kernels, found)
    for kernel in kernels:
        core = graph.core(kernel)
        if core is not None and kernel.outputs[0].name:
            stem = value_stem(str(kernel.name)) or ""
            end = stem if stem in graph.writers else str(core.outputs[0].name)
            found.setdefault(kernel.outputs[0].name, end)
    _spread(graph, kernels, found)
    return found


def _paired(graph: _Given, kernel: ir.Node, active: set[str]) -> Iterator[tuple[str, ir.Value]]:
    """Yield the activations that ``kernel`` reads, each with the one that its namesake reads."""
    core = graph.core(kernel)
    if core is None:
        return
    read = [value.name for value in kernel.inputs if value is not None and value.name in active]
    values = [value for value in core.inputs if value is not None and not _is_constant(value)]
    for name, value in zip(read, values, strict=False):
        yield str(name), value


def _is_constant(value: ir.Value) -> bool:
    """Whether ``value`` is a constant, or one that is dequantised."""
    writer = value.producer()
    if writer is not None and writer.op_type == "DequantizeLinear":
        return constant_tensor(writer.inputs[0]) is not None
    return constant_tensor(value) is not None


def _unabsorbed(value: ir.Value, found: Mapping[str, str]) -> str:
    """Return what a kernel reads that takes over what stands in front of its node."""
    while value.name not in found:
        writer = value.producer()
        if writer is None or writer.op_type not in _ABSORBED or writer.inputs[0] is None:
            break
        value = writer.inputs[0]
    return str(value.name)


def _spread(graph: _Given, kernels: Sequence[ir.Node], found: dict[str, str]) -> None:
    """Give what an inserted node reads and what it writes the same meaning, in place."""
    inserted = [kernel for kernel in kernels if graph.is_inserted(kernel) and kernel.inputs]
    for kernel in (*inserted, *reversed(inserted)):
        source, result = kernel.inputs[0], kernel.outputs[0]
        if source is None or source.name is None or result.name is None:
            continue
        if result.name in found:
            found.setdefault(source.name, found[result.name])
        elif source.name in found:
            found[result.name] = found[source.name]


def _cones(
    graph: _Given, kernels: Sequence[ir.Node], aliases: Mapping[str, str]
) -> dict[ir.Node, tuple[str, ...]]:
    """Return what lies between the tensors of every node; the first one to reach a node has it.

    All who read integers have the node that dequantises them.
    """
    stops = set(aliases.values())
    seen: set[str] = set()
    cones: dict[ir.Node, tuple[str, ...]] = {}
    for kernel in kernels:
        ends = [aliases[str(value.name)] for value in kernel.outputs if value.name in aliases]
        cone = list(_between(graph, ends, stops))
        fresh = set(cone) - seen
        shared = {name for name in cone if graph.nodes[name].op_type in _SHARED}
        cones[kernel] = tuple(name for name in cone if name in fresh | shared) if fresh else ()
        seen |= fresh
    return cones


def _between(graph: _Given, ends: Sequence[str], stops: set[str]) -> Iterator[str]:
    stack = list(ends)
    seen: set[str] = set()
    while stack:
        node = graph.writers.get(stack.pop())
        if node is None or str(node.name) in seen:
            continue
        seen.add(str(node.name))
        yield str(node.name)
        stack.extend(
            value.name
            for value in node.inputs
            if value is not None and value.name and value.name not in stops
        )


def _neighbours(
    kernel: ir.Node, graph: _Given, cones: Mapping[ir.Node, tuple[str, ...]]
) -> tuple[str, ...]:
    """Return what the writer or the reader of an inserted node stands for."""
    writers = [value.producer() for value in kernel.inputs if value is not None]
    readers = [node for value in kernel.outputs for node in value.consumers()]
    restores = any(value.name in graph.writers for value in kernel.outputs)
    ordered = (*writers, *readers) if restores else (*readers, *writers)
    return next((cones[node] for node in ordered if node is not None and cones.get(node)), ())
