"""Tensors that have to share one scale so that integers pass between them unchanged.

The integers of a Concat's inputs are its output's only at one scale; where a tensor is read by
one product as it is and by another after a MaxPool, one scale saves a second copy of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import onnx_ir as ir

from bmopt.calibration.placement_inputs import InputPlacement, passes_on
from bmopt.core.ranges import Interval
from bmopt.core.scheme import Scheme
from bmopt.graph.values import is_op


def share_intervals(
    graph: ir.Graph,
    placement: InputPlacement,
    scheme: Scheme,
    interval_of: Callable[[ir.Value], Interval],
) -> dict[str, Interval]:
    """Return the interval of every tensor that ``placement`` reads in 8 bits.

    Tensors that share a scale get the interval that holds those of all of them.
    """
    groups = _Groups()
    for node in graph:
        if passes_on(node, scheme):
            groups.join([node.inputs[0], node.outputs[0]])
        elif node in placement.reads and is_op(node, "Concat"):
            groups.join([*node.inputs, node.outputs[0]])
    read = [node.inputs[index] for node, reads in placement.reads.items() for index in reads]
    values = [value for value in dict.fromkeys(read) if value is not None]
    widest: dict[ir.Value, Interval] = {}
    for value in values:
        own, key = interval_of(value), groups.of(value)
        other = widest.get(key, own)
        widest[key] = Interval(min(own.low, other.low), max(own.high, other.high))
    return {value.name or "": widest[groups.of(value)] for value in values}


class _Groups:
    """Disjoint sets of values, each named by one of its members."""

    def __init__(self) -> None:
        self._above: dict[ir.Value, ir.Value] = {}

    def of(self, value: ir.Value) -> ir.Value:
        top = value
        while top in self._above:
            top = self._above[top]
        while value is not top:
            self._above[value], value = top, self._above[value]
        return top

    def join(self, values: Iterable[ir.Value | None]) -> None:
        tops = dict.fromkeys(self.of(value) for value in values if value is not None)
        first, *others = tops
        self._above.update(dict.fromkeys(others, first))
