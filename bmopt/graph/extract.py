"""Sub-graphs of a model as models of their own: any set of nodes, cut off from the rest.

A node with bodies is one node; what its bodies read from outside counts as read by it. What the
nodes read from others becomes an input; initialisers and Constant nodes come along.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import onnx_ir as ir

from bmopt.graph.concrete_values import KnownValue
from bmopt.graph.nesting import nodes_in, subgraphs_of


@dataclasses.dataclass(frozen=True)
class Region:
    """A part of a model's main graph.

    Attributes:
        nodes: Names of its nodes, in topological order, without Constant nodes.
        inputs: Names of what it reads: inputs of the model first, then outputs of other nodes.
        outputs: Names of what it shows: outputs of the model first, then what it alone computes.
    """

    nodes: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class Regions:
    """The regions of one model, whose names are unique and whose nodes are sorted.

    Attributes:
        nodes: Names of the main graph's nodes, in topological order, without Constant nodes.
        outputs: Names of the outputs that nodes compute; none is an input or a constant.
    """

    def __init__(self, model: ir.Model) -> None:
        graph = model.graph
        sources = [node for node in graph if not _is_constant(node)]
        own = {str(value.name) for value in graph.inputs}
        own.update(str(v.name) for node in sources for v in node.outputs if v.name)
        self._reads = {str(n.name): frozenset(own.intersection(_read_names(n))) for n in sources}
        self._makes = {
            str(node.name): tuple(str(v.name) for v in node.outputs if v.name) for node in sources
        }
        self._inputs = tuple(str(value.name) for value in graph.inputs)
        made = {value for values in self._makes.values() for value in values}
        named = dict.fromkeys(str(value.name) for value in graph.outputs)
        self.outputs: tuple[str, ...] = tuple(name for name in named if name in made)
        read = frozenset[str]().union(*self._reads.values())
        self._shown_by: dict[str, tuple[str, ...]] = {}
        for name, values in self._makes.items():
            useful = tuple(v for v in values if v in read or v in named)
            # What nobody reads is shown only where a node would have nothing to show else.
            self._shown_by[name] = useful or values[:1]
        self.nodes: tuple[str, ...] = tuple(self._makes)

    def whole(self) -> Region:
        """Return all nodes; those that no output depends on have outputs of their own."""
        return self._region(self.nodes, self._shown(self.nodes))

    def of(self, nodes: Collection[str], outputs: Sequence[str] | None = None) -> Region | None:
        """Return the region of ``nodes``, without those that none of its outputs depends on.

        Its outputs are ``outputs`` if they are given. Otherwise they are the model's outputs that
        ``nodes`` compute, and what no other of them reads. None where it would have no output, or
        lack one of ``outputs``.
        """
        chosen = set(nodes)
        kept = tuple(name for name in self.nodes if name in chosen)
        shown = self._shown(kept) if outputs is None else tuple(outputs)
        made = {value for name in kept for value in self._makes[name]}
        if not shown or not made.issuperset(shown):
            return None
        return self._region(self._live(kept, shown), shown)

    def above(self, node: str, among: Sequence[str]) -> list[str]:
        """Return ``node`` and the nodes among ``among`` that it depends on."""
        return list(self._live(tuple(among), self._makes[node]))

    def below(self, node: str, among: Sequence[str]) -> list[str]:
        """Return ``node`` and the nodes among ``among`` that depend on it."""
        reached = set(self._makes[node])
        found = []
        for name in among:
            if name == node or not reached.isdisjoint(self._reads[name]):
                found.append(name)
                reached.update(self._makes[name])
        return found

    def _shown(self, nodes: Sequence[str]) -> tuple[str, ...]:
        made = {value for name in nodes for value in self._makes[name]}
        read = frozenset[str]().union(*(self._reads[name] for name in nodes))
        ends = (value for name in nodes for value in self._shown_by[name] if value not in read)
        public = (value for value in self.outputs if value in made)
        return tuple(dict.fromkeys((*public, *ends)))

    def _live(self, nodes: Sequence[str], outputs: Sequence[str]) -> tuple[str, ...]:
        wanted = set(outputs)
        live = []
        for name in reversed(nodes):
            if not wanted.isdisjoint(self._makes[name]):
                live.append(name)
                wanted.update(self._reads[name])
        return tuple(reversed(live))

    def _region(self, nodes: tuple[str, ...], outputs: tuple[str, ...]) -> Region:
        made = {value for name in nodes for value in self._makes[name]}
        read = frozenset[str]().union(*(self._reads[name] for name in nodes)) - made
        order = (*self._inputs, *(value for makes in self._makes.values() for value in makes))
        return Region(nodes, tuple(value for value in order if value in read), outputs)


def extract(model: ir.Model, region: Region, known: Mapping[str, KnownValue]) -> ir.Model:
    """Return a model of ``region`` alone, which shares the weights of ``model``.

    Inputs that were outputs of other nodes have the type and shape in ``known``. Local functions
    that nothing calls any more are left out.
    """
    clone = model.clone()
    graph = clone.graph
    kept = set(region.nodes)
    values = {str(v.name): v for node in graph for v in node.outputs if v.name}
    values |= {str(v.name): v for v in graph.inputs}
    is_static = all(v.shape is not None and v.shape.is_static() for v in graph.inputs)
    graph.outputs[:] = [values[name] for name in region.outputs]
    for value in graph.outputs:
        _declare_output(value, known.get(str(value.name)), is_static=is_static)
    graph.inputs[:] = [_as_input(values[name], known) for name in region.inputs]
    _remove(graph, [n for n in graph if n.name not in kept and not _is_constant(n)])
    _drop_unread(clone)
    return clone


def with_outputs(model: ir.Model, names: Iterable[str]) -> ir.Model:
    """Return a model like ``model`` whose outputs are the main graph's values ``names``."""
    clone = model.clone()
    graph = clone.graph
    values = {str(v.name): v for v in graph.inputs}
    values |= {str(v.name): v for node in graph for v in node.outputs if v.name}
    graph.outputs[:] = [values[name] for name in names]
    return clone


def _is_constant(node: ir.Node) -> bool:
    return node.op_type == "Constant" and node.domain in ("", "ai.onnx")


def _read_names(node: ir.Node) -> Iterator[str]:
    """Yield the names of what ``node`` and the nodes in its bodies read."""
    yield from (str(value.name) for value in node.inputs if value is not None)
    for body in subgraphs_of(node):
        yield from (str(value.name) for value in body.outputs)
        for inner in nodes_in(body):
            yield from (str(value.name) for value in inner.inputs if value is not None)
            for nested in subgraphs_of(inner):
                yield from (str(value.name) for value in nested.outputs)


def _as_input(value: ir.Value, known: Mapping[str, KnownValue]) -> ir.Value:
    """Return an input that takes the place of ``value``; itself where it is one."""
    if value.producer() is None:
        return value
    kind = known[str(value.name)]
    shape = None if kind.shape is None else ir.Shape(kind.shape)
    fresh = ir.Value(name=value.name, type=ir.TensorType(kind.dtype), shape=shape)
    value.replace_all_uses_with(fresh)
    return fresh


def _declare_output(value: ir.Value, kind: KnownValue | None, *, is_static: bool) -> None:
    """Give an output its type and rank, which a valid model has; sizes only where none varies."""
    if kind is None:
        return
    if value.type is None:
        value.type = ir.TensorType(kind.dtype)
    if value.shape is None and kind.shape is not None:
        value.shape = ir.Shape(kind.shape if is_static else [None] * len(kind.shape))


def _remove(graph: ir.Graph, nodes: Sequence[ir.Node]) -> None:
    """Remove nodes; what their bodies read from outside is not read by them any more."""
    for node in nodes:
        for inner in (n for body in subgraphs_of(node) for n in nodes_in(body)):
            for index in range(len(inner.inputs)):
                inner.replace_input_with(index, None)
    graph.remove(nodes, safe=True)


def _drop_unread(model: ir.Model) -> None:
    graph = model.graph
    unread = [n for n in graph if _is_constant(n) and not any(_is_read(v) for v in n.outputs)]
    _remove(graph, unread)
    for name, value in list(graph.initializers.items()):
        if not _is_read(value) and not value.is_graph_input():
            graph.initializers.pop(name)
    called = _called(model)
    for identifier in list(model.functions):
        if identifier not in called:
            del model.functions[identifier]


def _is_read(value: ir.Value) -> bool:
    return bool(value.uses()) or value.is_graph_output()


def _called(model: ir.Model) -> set[ir.OperatorIdentifier]:
    """Return the local functions that the main graph calls, and those that these call."""
    found: set[ir.OperatorIdentifier] = set()
    pending: list[ir.Graph | ir.Function] = [model.graph]
    while pending:
        for node in nodes_in(pending.pop()):
            function = model.functions.get(node.op_identifier())
            if function is not None and node.op_identifier() not in found:
                found.add(node.op_identifier())
                pending.append(function)
    return found
