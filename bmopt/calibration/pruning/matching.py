"""Where a pruned model has what the original has."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from bmopt.errors import PruningError
from bmopt.graph.channels.groups import Group
from bmopt.graph.pieces import names_read

Bools = npt.NDArray[np.bool_]


class Matching:
    """The constants of a model, and which of their positions are left in a pruned one.

    Args:
        groups: The groups of the original.
        removed: What went: group -> its channels.
    """

    def __init__(self, groups: Sequence[Group], removed: Mapping[str, Collection[int]]) -> None:
        self._stays: dict[tuple[str, int], Bools] = {}
        for group in groups:
            gone = list(removed.get(group.name, ()))
            for place in group.slices if gone else ():
                key = place.value, place.axis
                stays = ~np.isin(place.channels, gone)
                self._stays[key] = self._stays.get(key, np.ones(len(stays), np.bool_)) & stays

    def left(self, value: ir.Value | None, axis: int) -> Bools | None:
        """Return which positions of a constant of the original are left; None for all."""
        if value is None:
            return None
        return self._stays.get((value.name or "", axis))

    def is_changed(self, node: ir.Node) -> bool:
        """Whether a node of the original reads a constant of which something went."""
        names = {value.name for value in node.inputs if value is not None}
        return any(name in names for name, _ in self._stays)


def touched_values(model: ir.Model, is_changed: Callable[[ir.Node], bool]) -> set[str]:
    """Return the tensors of a model that differ where some of its nodes are changed, by name."""
    found: set[str] = set()
    for node in model.graph:
        if is_changed(node) or not found.isdisjoint(names_read(node)):
            found.update(value.name for value in node.outputs if value.name)
    return found


def pairs_of(original: ir.Model, pruned: ir.Model) -> list[tuple[ir.Node, ir.Node]]:
    """Return the nodes that both models have, in the order of the pruned one.

    Raises:
        PruningError: One of them has another op.
    """
    known = {node.name or "": node for node in original.graph}
    found = []
    for node in pruned.graph:
        other = known.get(node.name or "")
        if other is None:
            continue
        if other.op_type != node.op_type:
            raise PruningError(
                f"node {node.name!r} is a {node.op_type} in the pruned model and a "
                f"{other.op_type} in the original; give the model that the plan was made for"
            )
        found.append((other, node))
    return found
