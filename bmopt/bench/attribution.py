"""An engine's profile in terms of the original model's nodes.

The engine says which nodes of the graph it was given a kernel stands for, and those nodes carry in
their ``bmopt.origin`` which nodes of the original model they came from. Original nodes that share
a kernel cannot be told apart and make one row.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import onnx_ir as ir

from bmopt.bench.layer_table import KernelTime, LayerRow, LayerTable
from bmopt.core.profile import LayerProfile, LayerTime
from bmopt.graph.concrete_values import KnownValue, concrete_values
from bmopt.graph.nesting import nodes_in
from bmopt.graph.origin import origin_of
from bmopt.graph.work import work_of

_CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear", "Cast", "Constant"})
"""Ops whose origin is the node that they serve, not one that they are part of."""


def attribute(
    profile: LayerProfile,
    graph: ir.Model,
    *,
    source: ir.Model | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
) -> LayerTable:
    """Return where the time of ``profile`` goes.

    Args:
        profile: Of an engine that was given ``graph``.
        graph: Its nodes are unique by name; one without an origin is its own.
        source: The original model, for op types; ``graph`` if not given.
        shapes: Input name -> shape that was profiled; axes that stay dynamic count as 1.

    Raises:
        UsageError: ``shapes`` does not fit the model.
        ModelError: ONNX's shape inference fails on the model.
    """
    nodes = {str(node.name): node for node in nodes_in(graph.graph)}
    origins = [original_nodes(layer.nodes, nodes) for layer in profile.layers]
    known = concrete_values(graph, shapes)
    places = _places(graph if source is None else source)
    rows = [
        _row([profile.layers[i] for i in members], names, nodes, known, places)
        for names, members in _groups(origins)
    ]
    lost = [layer for layer, names in zip(profile.layers, origins, strict=True) if not names]
    return LayerTable(
        engine=profile.engine,
        threads=profile.threads,
        rows=tuple(rows),
        unmatched=tuple(map(_kernel, lost)),
        wall_ns=profile.wall_ns,
        profiled_wall_ns=profile.profiled_wall_ns,
        event_ns=profile.event_ns,
        inferences=profile.inferences,
    )


@dataclasses.dataclass(frozen=True)
class _Place:
    """Where a node stands in the original model, and what it is."""

    index: int
    op: str


def _places(model: ir.Model) -> dict[str, _Place]:
    return {
        str(node.name): _Place(index, node.op_type)
        for index, node in enumerate(nodes_in(model.graph))
    }


def original_nodes(names: Sequence[str], nodes: Mapping[str, ir.Node]) -> tuple[str, ...]:
    """Return the original nodes that a kernel stands for which is said to be these.

    A conversion that a kernel took over says nothing: it may serve a neighbour.

    Args:
        names: Names of nodes of the graph that the engine was given.
        nodes: That graph's nodes by name.
    """
    known = [nodes[name] for name in names if name in nodes]
    own = [node for node in known if node.op_type not in _CONVERSIONS]
    found = [name for node in own or known for name in origin_of(node) or (str(node.name),)]
    return tuple(dict.fromkeys(found))


def _groups(origins: Sequence[tuple[str, ...]]) -> Iterator[tuple[tuple[str, ...], list[int]]]:
    """Yield names that hang together and the kernels that they have, by the first kernel."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for names in origins:
        for name in names:
            parent[root(name)] = root(names[0])
    members: dict[str, list[int]] = {}
    for index, names in enumerate(origins):
        if names:
            members.setdefault(root(names[0]), []).append(index)
    for leader, kernels in members.items():
        yield tuple(name for name in parent if root(name) == leader), kernels


def _row(
    layers: Sequence[LayerTime],
    names: Sequence[str],
    nodes: Mapping[str, ir.Node],
    known: Mapping[str, KnownValue],
    places: Mapping[str, _Place],
) -> LayerRow:
    elsewhere = _Place(len(places), "")
    ordered = sorted(names, key=lambda name: places.get(name, elsewhere).index)
    covered = dict.fromkeys(name for layer in layers for name in layer.nodes if name in nodes)
    return LayerRow(
        nodes=tuple(ordered),
        ops=tuple(places.get(name, elsewhere).op for name in ordered),
        kernels=tuple(map(_kernel, layers)),
        work=work_of([nodes[name] for name in covered], known),
    )


def _kernel(layer: LayerTime) -> KernelTime:
    return KernelTime(layer.node, layer.op, layer.dtype, layer.ns, layer.schedule)
