"""Branches that can go as a whole: what they are added to stays.

Where all channels of a group go, each of its readers computes the same whatever the input. If all
that comes of it is added to another tensor, as at the end of a residual block, the sum without it
is that tensor, and everything on the branch goes. So a block of a residual network goes whole,
whose removal costs little in some places (A. Veit et al., "Residual Networks Behave Like Ensembles
of Relatively Shallow Networks", NeurIPS 2016).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Iterator, Sequence

import onnx_ir as ir

from bmopt.graph.nesting import subgraphs_of
from bmopt.graph.products import PRODUCT_OPS
from bmopt.graph.values import constant_tensor, is_op

_STEADY = (
    *("Abs", "Add", "BatchNormalization", "Clip", "Div", "Dropout", "Elu", "Erf", "Exp"),
    *("Flatten", "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Mish", "Mul"),
    *("Neg", "PRelu", "Relu", "Reshape", "Sigmoid", "Softplus", "Squeeze", "Sub", "Tanh"),
    *("Transpose", "Unsqueeze"),
)
"""Ops that make a constant of a constant, if their other inputs are constants."""


@dataclasses.dataclass(frozen=True)
class Exit:
    """Where a branch is added to another tensor.

    Attributes:
        node: Name of the Add.
        passed: Index of its other input.
    """

    node: str
    passed: int


class Branches:
    """The nodes of a model's main graph, to ask which branches can go.

    Args:
        graph: The graph, its shapes inferred.
    """

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._nodes = {node.name or "": node for node in graph}

    def exits(self, readers: Collection[str], others: Collection[str]) -> tuple[Exit, ...]:
        """Return where the branches end that start at some nodes; empty if they cannot go.

        Args:
            readers: Nodes that read channels of the group and nothing else.
            others: All nodes that have a constant with those channels; they have to go too.
        """
        found: dict[str, Exit] = {}
        for name in readers:
            node = self._nodes.get(name)
            if node is None or not is_op(node, *PRODUCT_OPS):
                return ()
            ends = _ends(node.outputs[0])
            if not ends:
                return ()
            found |= {one.node: one for one in ends}
        exits = tuple(found.values())
        gone = self.gone(exits)
        return exits if all(self._nodes.get(name) in gone for name in others) else ()

    def gone(self, exits: Sequence[Exit]) -> set[ir.Node]:
        """Return the nodes that nothing needs any more if branches go, the Adds among them."""
        if not exits:
            return set()
        return self._whole - self._needed({self._nodes[one.node]: one.passed for one in exits})

    @functools.cached_property
    def _whole(self) -> set[ir.Node]:
        return self._needed({})

    def _needed(self, passed: dict[ir.Node, int]) -> set[ir.Node]:
        """Return the nodes that outputs come from, where some nodes hand an input on."""
        seen: set[ir.Node] = set()
        todo = [value.producer() for value in self._graph.outputs]
        while todo:
            node = todo.pop()
            if node is not None and node not in seen and node.graph is self._graph:
                seen.add(node)
                todo += [value.producer() for value in _read(node, passed.get(node))]
        return seen - passed.keys()


def bypass(graph: ir.Graph, exits: Sequence[Exit]) -> None:
    """Take branches out of a graph, in place: each Add hands its other input on.

    What only they read goes with them.
    """
    gone = Branches(graph).gone(exits)
    nodes = {node.name or "": node for node in graph}
    for one in exits:
        add = nodes[one.node]
        other = add.inputs[one.passed]
        assert other is not None
        add.outputs[0].replace_all_uses_with(other)
    for node in reversed([node for node in graph if node in gone]):
        read = [value for value in node.inputs if value is not None]
        graph.remove(node, safe=True)
        for value in read:
            if value.is_initializer() and not value.uses():
                graph.initializers.pop(value.name or "", None)


def _ends(value: ir.Value) -> list[Exit]:
    """Return where all that comes of a constant value is added; empty if other things happen."""
    uses = list(value.uses())
    if value.is_graph_output() or not uses:
        return []
    found: list[Exit] = []
    for use in uses:
        ends = _ends_behind(use.node, use.idx)
        if not ends:
            return []
        found += ends
    return found


def _ends_behind(node: ir.Node, index: int) -> list[Exit]:
    others = [one for at, one in enumerate(node.inputs) if at != index and one is not None]
    if is_op(node, *_STEADY) and all(constant_tensor(one) is not None for one in others):
        return _ends(node.outputs[0])
    if not is_op(node, "Add") or not node.name or node.outputs[0].is_graph_output():
        return []
    return [Exit(node.name, 1 - index)] if _same_shape(others[0], node.outputs[0]) else []


def _same_shape(one: ir.Value, other: ir.Value) -> bool:
    if one.shape is None or other.shape is None or one.is_graph_output():
        return False
    sizes = [*one.shape]
    return sizes == [*other.shape] and all(
        isinstance(size, int) or size.value is not None for size in sizes
    )


def _read(node: ir.Node, only: int | None) -> Iterator[ir.Value]:
    """Yield what a node and its bodies read, or one input of it."""
    if only is not None:
        value = node.inputs[only]
        if value is not None:
            yield value
        return
    yield from (value for value in node.inputs if value is not None)
    for body in subgraphs_of(node):
        yield from body.outputs
        for inner in body.all_nodes():
            yield from (value for value in inner.inputs if value is not None)
