"""Which activations can have their channels scaled without a node more, and by whom.

A scale spreads from a tensor to all that must have it too: through activations, pools and
reshapes, and over the operands of residual Adds. It ends at writers, whose constants multiply
it in, and at readers, whose constants divide it out.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import onnx_ir as ir

from bmopt.graph.channel_scales import (
    can_divide,
    can_multiply,
    data_axis,
    is_shift,
)
from bmopt.graph.scale_flow import (
    axis_before,
    axis_behind,
    carried_inputs,
    channels_at,
    upper_bound,
)
from bmopt.graph.values import constant_tensor


@dataclasses.dataclass(frozen=True)
class Port:
    """A node and the axis of its output (of a writer) or its data (of a reader)."""

    node: ir.Node
    axis: int


@dataclasses.dataclass(frozen=True)
class Clip:
    """A Clip on the way: it commutes with a scale only as far as nothing new is cut.

    Attributes:
        output: What it writes.
        axis: Channel axis of that.
        bound: What it cuts at.
    """

    output: ir.Value
    axis: int
    bound: float


@dataclasses.dataclass(frozen=True)
class ScalingChain:
    """Tensors that can only be scaled together.

    Attributes:
        tensor: The tensor that the first of the readers reads.
        axis: Its channel axis.
        channels: How many factors there are. A port of a multiple has each for a run of channels.
        writers: Nodes that multiply the scale in, in graph order; Adds of constants among them.
        readers: Nodes that divide it out, in graph order.
        clips: Bounds on the way.
    """

    tensor: ir.Value
    axis: int
    channels: int
    writers: tuple[Port, ...]
    readers: tuple[Port, ...]
    clips: tuple[Clip, ...]


@dataclasses.dataclass(frozen=True)
class Chains:
    """All chains of a graph.

    Attributes:
        found: Those that can be scaled, in graph order.
        refused: Data of a product that cannot be scaled -> reason.
    """

    found: tuple[ScalingChain, ...]
    refused: dict[str, str]


class _StuckError(Exception):
    """The scale cannot go on; the text is the reason."""


def scaling_chains(graph: ir.Graph) -> Chains:
    """Find the chains between products of the main graph; no tensor is in two of them."""
    order = {node: index for index, node in enumerate(graph)}
    found: list[ScalingChain] = []
    refused: dict[str, str] = {}
    visited: dict[ir.Value, str] = {}
    for node in graph:
        axis, value = data_axis(node), node.inputs[0] if node.inputs else None
        if axis is None or value is None or constant_tensor(value) is not None:
            continue
        if value not in visited:
            flood = _Flood(graph)
            reason = flood.run(value, axis)
            if not reason and any(visited.get(other) == "" for other in flood.axes):
                reason = "a part of it is scaled along another axis"
            for other in flood.axes:
                visited.setdefault(other, reason)
            if not reason:
                found.append(flood.chain(order))
        if visited[value] != "":
            refused[value.name or ""] = visited[value]
    return Chains(tuple(found), refused)


class _Flood:
    """Spreads a scale from one tensor until it ends everywhere or is stuck."""

    def __init__(self, graph: ir.Graph) -> None:
        self.axes: dict[ir.Value, int] = {}
        self._graph = graph
        self._channels = 1
        self._queue: list[ir.Value] = []
        self._writers: dict[ir.Node, int] = {}
        self._readers: dict[ir.Node, int] = {}
        self._clips: dict[ir.Node, Clip] = {}

    def run(self, value: ir.Value, axis: int) -> str:
        """Return why the tensor cannot be scaled along ``axis``, empty where it can."""
        try:
            self._reach(value, axis)
            while self._queue:
                self._spread(self._queue.pop())
            self._require_common_channels()
        except _StuckError as reason:
            return str(reason)
        return ""

    def chain(self, order: dict[ir.Node, int]) -> ScalingChain:
        readers = sorted(self._readers, key=order.__getitem__)
        writers = sorted(self._writers, key=order.__getitem__)
        tensor = _scaled_input(readers[0], self.axes)
        return ScalingChain(
            tensor=tensor,
            axis=self.axes[tensor],
            channels=self._channels,
            writers=tuple(Port(node, self._writers[node]) for node in writers),
            readers=tuple(Port(node, self._readers[node]) for node in readers),
            clips=tuple(self._clips[n] for n in sorted(self._clips, key=order.__getitem__)),
        )

    def _reach(self, value: ir.Value, axis: int) -> None:
        if value not in self.axes:
            self.axes[value] = axis
            self._queue.append(value)
        elif self.axes[value] != axis:
            raise _StuckError(f"{value.name!r} would be scaled along two axes")

    def _spread(self, value: ir.Value) -> None:
        axis = self.axes[value]
        producer = value.producer()
        if value.is_graph_output():
            raise _StuckError(f"{value.name!r} is a graph output")
        if producer is None or value.graph is not self._graph:
            raise _StuckError(f"{value.name!r} is a graph input")
        self._enter(producer, value, axis)
        for node, index in value.uses():
            if node.graph is not self._graph:
                raise _StuckError(f"{value.name!r} is read in a sub-graph")
            self._leave(node, index, axis)

    def _enter(self, node: ir.Node, value: ir.Value, axis: int) -> None:
        """Take the scale to where ``node``, which writes the value, gets it from."""
        if node.outputs[0] is value and can_multiply(node, axis):
            self._writers[node] = axis
        elif is_shift(node):
            self._through_shift(node, axis)
        else:
            before = axis_before(node, axis) if node.outputs[0] is value else None
            if before is None:
                raise _StuckError(
                    f"{_label(node)}, which computes {value.name!r}, cannot be scaled"
                )
            self._through(node, before, axis)

    def _leave(self, node: ir.Node, index: int, axis: int) -> None:
        """Take the scale to where ``node``, which reads it, leaves it."""
        if can_divide(node, index, axis):
            self._readers[node] = axis
        elif is_shift(node):
            self._through_shift(node, axis)
        else:
            carried = node.inputs[index] in carried_inputs(node)
            behind = axis_behind(node, axis) if carried else None
            if behind is None:
                raise _StuckError(
                    f"{_label(node)} reads {_name(node, index)!r} and cannot be scaled"
                )
            self._through(node, axis, behind)

    def _through(self, node: ir.Node, before: int, behind: int) -> None:
        output = node.outputs[0]
        if upper_bound(node) < math.inf:
            self._clips[node] = Clip(output, behind, upper_bound(node))
        for value in carried_inputs(node):
            self._reach(value, before)
        self._reach(output, behind)

    def _through_shift(self, node: ir.Node, axis: int) -> None:
        self._writers[node] = axis
        for value in (*node.inputs, node.outputs[0]):
            if value is not None and constant_tensor(value) is None:
                self._reach(value, axis)

    def _require_common_channels(self) -> None:
        sizes = [channels_at(value, axis) for value, axis in self.axes.items()]
        known = [size for size in sizes if size is not None]
        self._channels = min(known, default=1)
        if len(known) < len(sizes) or any(size % self._channels for size in known):
            raise _StuckError("the number of its channels is not known")
        if self._channels == 1:
            raise _StuckError("it has one channel")


def _scaled_input(node: ir.Node, axes: Mapping[ir.Value, int]) -> ir.Value:
    return next(value for value in node.inputs if value is not None and value in axes)


def _name(node: ir.Node, index: int) -> str | None:
    value = node.inputs[index]
    return None if value is None else value.name


def _label(node: ir.Node) -> str:
    return f"{node.op_type} {node.name!r}"
