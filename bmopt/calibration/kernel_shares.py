"""A profile's kernels, shared out among the groups and borders of a model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import onnx_ir as ir

from bmopt.calibration.toggles import Toggles
from bmopt.core.profile import LayerTime

_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
_BEFORE = "ReorderInput"
_AFTER = "ReorderOutput"
_LAYOUTS = frozenset({_BEFORE, _AFTER, "Transpose"})
"""Ops that an engine inserts to change a tensor's layout."""


@dataclasses.dataclass
class Shares:
    """Nanoseconds of one inference, by what they are spent on.

    Attributes:
        own: Group -> its kernels.
        before: Group -> changes of layout of what it reads.
        after: Group -> changes of layout of what it writes.
        quantize: Tensor -> its quantisation.
        dequantize: Tensor -> its dequantisation.
        rest: Everything else.
    """

    own: dict[str, float] = dataclasses.field(default_factory=dict)
    before: dict[str, float] = dataclasses.field(default_factory=dict)
    after: dict[str, float] = dataclasses.field(default_factory=dict)
    quantize: dict[str, float] = dataclasses.field(default_factory=dict)
    dequantize: dict[str, float] = dataclasses.field(default_factory=dict)
    rest: float = 0.0


def share_kernels(layers: Sequence[LayerTime], graph: ir.Graph, toggles: Toggles) -> Shares:
    """Return what the kernels of a profile are spent on.

    A kernel that stands for several groups counts for the products among them, by their
    multiply-adds, else for all alike.

    Args:
        layers: The kernels in the order they run.
        graph: What the engine was given: the float model's or a quantised copy's, whose nodes
            keep their names.
        toggles: The float model's groups and borders.
    """
    sharing = _Sharing(graph, toggles)
    for layer in layers:
        sharing.add(layer)
    return sharing.shares


class _Sharing:
    def __init__(self, graph: ir.Graph, toggles: Toggles) -> None:
        self.shares = Shares()
        self._toggles = toggles
        self._owners = toggles.owners()
        self._names = {node.name or "" for node in graph}
        self._conversions = dict(self._located(graph))

    def add(self, layer: LayerTime) -> None:
        """Count a kernel where it belongs."""
        shares = self.shares
        groups = self._groups(layer)
        if layer.op in (_QUANTIZE, _DEQUANTIZE):
            where = shares.quantize if layer.op == _QUANTIZE else shares.dequantize
            tensor = self._tensor(layer, groups)
            if tensor is not None:
                where[tensor] = where.get(tensor, 0.0) + layer.ns
                return
        elif layer.op in _LAYOUTS and layer.node not in self._names and groups:
            self._add_layout(layer, groups[0])
            return
        self._add_own(layer, groups)

    def _groups(self, layer: LayerTime) -> list[str]:
        """Return the groups that a kernel stands for: products alone where there are any."""
        owned = (self._owners[name] for name in layer.nodes if name in self._owners)
        found = list(dict.fromkeys(owned))
        products = [name for name in found if self._toggles.groups[name].work]
        return products or found

    def _add_layout(self, layer: LayerTime, group: str) -> None:
        comes_after = layer.op == _AFTER or (layer.op != _BEFORE and group in self.shares.own)
        where = self.shares.after if comes_after else self.shares.before
        where[group] = where.get(group, 0.0) + layer.ns

    def _add_own(self, layer: LayerTime, groups: Sequence[str]) -> None:
        if not groups:
            self.shares.rest += layer.ns
            return
        work = [self._toggles.groups[name].work for name in groups]
        total = sum(work)
        for name, part in zip(groups, work, strict=True):
            share = part / total if total else 1.0 / len(groups)
            self.shares.own[name] = self.shares.own.get(name, 0.0) + layer.ns * share

    def _tensor(self, layer: LayerTime, groups: Sequence[str]) -> str | None:
        """Return the tensor that a conversion is of."""
        for name in (layer.node, *layer.nodes):
            op, tensor = self._conversions.get(name, ("", ""))
            if op == layer.op:
                return tensor
        if not groups:
            return None
        group = self._toggles.groups[groups[0]]
        # The engine moved it past a node that only moves values: up to its input, or down.
        return group.inputs[0] if layer.op == _QUANTIZE and group.inputs else group.output

    def _located(self, graph: ir.Graph) -> Iterator[tuple[str, tuple[str, str]]]:
        """Yield conversions of activations: name -> (op, tensor of the float model)."""
        for node in graph:
            if node.op_type in (_QUANTIZE, _DEQUANTIZE):
                yield node.name or "", (node.op_type, self._source(node))

    def _source(self, node: ir.Node) -> str:
        """Return the tensor that what ``node`` converts is, or was before it was quantised."""
        value = node.inputs[0]
        producer = None if value is None else value.producer()
        while producer is not None and producer.op_type in (_QUANTIZE, _DEQUANTIZE):
            value = producer.inputs[0]
            producer = None if value is None else value.producer()
        name = "" if value is None else value.name or ""
        owner = None if producer is None else self._owners.get(producer.name or "")
        return name if owner is None else self._toggles.groups[owner].output
