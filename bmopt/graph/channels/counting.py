"""Multiply-accumulates and parameters of a model as functions of how many channels stay."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import onnx_ir as ir

from bmopt.graph.channels.branches import Branches
from bmopt.graph.channels.flow import is_constant
from bmopt.graph.channels.groups import Channels
from bmopt.graph.concrete_values import concrete_values
from bmopt.graph.macs import Shape, macs_of
from bmopt.graph.values import constant_tensor

Kept = Mapping[str, float]
"""Group -> how many of its channels stay; groups that are not there keep all."""


@dataclasses.dataclass(frozen=True)
class Share:
    """How much of an axis is left.

    Attributes:
        fixed: Part of the axis that no group has.
        groups: Group -> part of the axis for each of its channels.
    """

    fixed: float
    groups: Mapping[str, float]

    def left(self, kept: Kept, sizes: Mapping[str, int]) -> float:
        """Return which part of the axis is left, between 0 and 1."""
        parts = (part * kept.get(name, sizes[name]) for name, part in self.groups.items())
        return self.fixed + sum(parts)


@dataclasses.dataclass(frozen=True)
class Counted:
    """Something that shrinks with some axes: a node's work, or a constant.

    Attributes:
        name: Name of the node or constant.
        amount: MACs of one inference, or elements.
        shares: The axes that it shrinks with, each in proportion.
        branches: Groups that it goes with when all their channels go.
    """

    name: str
    amount: float
    shares: tuple[Share, ...]
    branches: tuple[str, ...] = ()

    def left(self, kept: Kept, sizes: Mapping[str, int]) -> float:
        """Return how much of the amount is left."""
        if any(kept.get(name) == 0 for name in self.branches):
            return 0.0
        return self.amount * math.prod(share.left(kept, sizes) for share in self.shares)


@dataclasses.dataclass(frozen=True)
class Counts:
    """A model's costs by how many channels stay.

    Attributes:
        nodes: Nodes with MACs, in graph order.
        constants: Constants.
        sizes: Group -> its channels.
        branches: Node, with MACs or without -> groups that it goes with when all their channels
            go.
    """

    nodes: tuple[Counted, ...]
    constants: tuple[Counted, ...]
    sizes: Mapping[str, int]
    branches: Mapping[str, tuple[str, ...]]

    def macs(self, kept: Kept) -> float:
        """Return the MACs of one inference."""
        return sum(node.left(kept, self.sizes) for node in self.nodes)

    def parameters(self, kept: Kept) -> float:
        """Return the elements of all constants."""
        return sum(one.left(kept, self.sizes) for one in self.constants)

    def node_macs(self, kept: Kept) -> dict[str, float]:
        """Return node -> its MACs."""
        return {node.name: node.left(kept, self.sizes) for node in self.nodes}


def counts_of(
    model: ir.Model, channels: Channels, shapes: Mapping[str, Sequence[int]] | None = None
) -> Counts:
    """Return what MACs and parameters depend on.

    Args:
        model: The model that ``channels`` are of.
        channels: Its dependency groups.
        shapes: Input name -> shape; dynamic axes that are not given count as 1.

    Raises:
        ModelError: ONNX's shape inference fails on the model.
    """
    known = concrete_values(model, shapes)

    def shape_of(value: ir.Value) -> Shape | None:
        tensor = constant_tensor(value)
        if tensor is not None:
            return tuple(int(size) for size in tensor.shape.numpy())
        found = known.get(value.name or "")
        return None if found is None else found.shape

    axes, gone = _axes(channels), _on_branches(model, channels)
    branches = {str(node.name): _all_of([node], gone) for node in model.graph}
    nodes = []
    for node in model.graph:
        macs = macs_of(node, shape_of)
        if macs:
            read = [one for one in node.inputs if one is not None and is_constant(one)]
            shares = max((axes.get(str(one.name), ()) for one in read), key=len, default=())
            name = str(node.name)
            nodes.append(Counted(name, float(macs), shares, branches[name]))
    constants = tuple(
        Counted(
            str(name),
            float(value.const_value.size),
            axes.get(str(name), ()),
            _all_of([use.node for use in value.uses()], gone),
        )
        for name, value in model.graph.initializers.items()
        if value.const_value is not None
    )
    sizes = {one.name: one.size for one in channels.groups}
    return Counts(tuple(nodes), constants, sizes, branches)


def _on_branches(model: ir.Model, channels: Channels) -> dict[str, set[ir.Node]]:
    """Return group -> the nodes that go if all of its channels go."""
    branches = Branches(model.graph)
    return {one.name: branches.gone(one.exits) for one in channels.groups if one.exits}


def _all_of(nodes: Sequence[ir.Node], gone: Mapping[str, set[ir.Node]]) -> tuple[str, ...]:
    """Return the groups with which all of some nodes go."""
    return tuple(name for name, of in gone.items() if nodes and of.issuperset(nodes))


def _axes(channels: Channels) -> dict[str, tuple[Share, ...]]:
    """Return constant -> what its axes consist of."""
    parts: dict[str, dict[int, dict[str, float]]] = {}
    for group in channels.groups:
        for place in group.slices:
            found = float((place.channels >= 0).mean()) / group.size
            parts.setdefault(place.value, {}).setdefault(place.axis, {})[group.name] = found
    sizes = {group.name: group.size for group in channels.groups}
    return {
        value: tuple(
            Share(max(0.0, 1.0 - sum(part * sizes[name] for name, part in of.items())), of)
            for _, of in sorted(axes.items())
        )
        for value, axes in parts.items()
    }
