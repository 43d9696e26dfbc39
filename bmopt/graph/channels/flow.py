"""What is known of a model's channels while its nodes are walked in order."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np
import onnx_ir as ir

from bmopt.graph.channels.units import Ints, Units
from bmopt.graph.values import constant_tensor

Labels = tuple["Ints | None", ...]
"""For every axis of a tensor its channels by position; None where none of them can go."""

Role = Literal["writes", "reads", "follows"]
"""What a constant does along an axis: it makes channels, reads them, or has a number for each."""

Kept = Callable[[Ints], "np.ndarray[tuple[int], np.dtype[np.bool_]]"]
"""For a row of channels, which of them stay."""

Fix = Callable[[Kept], None]
"""Changes what a node says in numbers, once it is known which channels stay."""


@dataclasses.dataclass(frozen=True)
class Place:
    """An axis of a constant that channels lie along.

    Attributes:
        value: The constant.
        axis: Its axis.
        units: The channel of every position.
        role: What it does there.
        node: The node that reads it.
    """

    value: ir.Value
    axis: int
    units: Ints
    role: Role
    node: ir.Node


class Flow:
    """Channels of all tensors seen so far.

    Attributes:
        units: The channels.
        places: Where constants have them.
        made: Rows of channels that a node made anew, with its name.
        rows: Every row that a tensor has along some axis: none may lose all its channels.
        fixes: What else changes with them.
        chosen: Of those ``splits`` that are not guessed, the part.
        splits: Where a Reshape splits the axis of channels and either part may be the one that can
            go: the node's name -> the channels, and how many parts there are.
    """

    def __init__(self, chosen: Mapping[str, int] | None = None) -> None:
        """Begin.

        Args:
            chosen: A split's name -> the part that its channels lie along, where it is not to be
                guessed.
        """
        self.units = Units()
        self.places: list[Place] = []
        self.made: list[tuple[str, Ints]] = []
        self.rows: list[Ints] = []
        self.fixes: list[Fix] = []
        self.splits: dict[str, tuple[Ints, int]] = {}
        self.chosen = chosen or {}
        self._labels: dict[ir.Value, Labels] = {}
        self._accounted: set[tuple[ir.Node, int]] = set()

    def labels(self, value: ir.Value | None) -> Labels:
        """Return a tensor's channels; none where nothing is known of its rank."""
        if value is None or value.shape is None:
            return ()
        return self._labels.get(value, (None,) * len(value.shape))

    def at(self, value: ir.Value | None, axis: int) -> Ints | None:
        """Return the channels along one axis, negative ones from behind."""
        labels = self.labels(value)
        return labels[axis] if -len(labels) <= axis < len(labels) else None

    def write(self, value: ir.Value, labels: Sequence[Ints | None]) -> None:
        """Say what channels a node's output has; all stay where its shape says otherwise."""
        sizes = sizes_of(value)
        found: list[Ints | None] = []
        for axis, units in enumerate(labels):
            if units is None or (sizes and axis < len(sizes) and sizes[axis] == len(units)):
                found.append(units)
                continue
            self.keep(units, f"the size of {value.name!r} along axis {axis} is not known")
            found.append(None)
        self._labels[value] = tuple(found)
        self.rows.extend(units for units in found if units is not None)

    def make(self, node: ir.Node, count: int) -> Ints:
        """Return channels that ``node`` makes."""
        units = self.units.fresh(count)
        self.made.append((str(node.name), units))
        return units

    def split(self, node: ir.Node, units: Ints, guess: int) -> int:
        """Return the part that channels lie along which ``node`` splits into an array of them."""
        name = str(node.name)
        self.splits[name] = units.reshape(-1), units.ndim
        part = self.chosen.get(name, guess)
        return part if part < units.ndim else guess

    def free(self) -> set[int]:
        """Return the channels that may go: some weight reads each of them."""
        read = [one.units for one in self.places if one.role == "reads"]
        roots = {root for units in read for root in self.units.roots(units).tolist()}
        return {root for root in roots if not self.units.reason(root)}

    def count_free(self) -> int:
        """Return for how many of the channels that nodes make one that may go stands."""
        free = self.free()
        made = (self.units.roots(row).tolist() for _, row in self.made)
        return sum(root in free for row in made for root in row)

    def constant(self, node: ir.Node, index: int, axis: int, units: Ints, role: Role) -> None:
        """Say that the constant ``node`` reads as input ``index`` has channels along an axis."""
        value = node.inputs[index]
        assert value is not None
        self.places.append(Place(value, axis, units, role, node))
        for other in self.places:
            if other.value is value and other.axis == axis and other.units is not units:
                self.units.join(other.units, units)

    def account(self, node: ir.Node, *indices: int) -> None:
        """Say that all is known of the constants that ``node`` reads at ``indices``."""
        self._accounted.update((node, index) for index in indices)

    def keep(self, units: Ints | None, reason: str) -> None:
        """Have channels stay."""
        if units is not None:
            self.units.keep(units, reason)

    def keep_inputs(self, node: ir.Node, reason: str = "") -> None:
        """Have all channels stay that ``node`` reads."""
        reason = reason or f"{node.op_type} {node.name!r} is not one that channels pass"
        for value in node.inputs:
            for units in self.labels(value):
                self.keep(units, reason)

    def keep_shared(self) -> None:
        """Have channels stay whose constants are read by a node that was not understood."""
        for place in self.places:
            for use in place.value.uses():
                if (use.node, use.idx) not in self._accounted:
                    self.keep(place.units, f"{use.node.name!r} reads the same constant otherwise")


def sizes_of(value: ir.Value | None) -> tuple[int | None, ...]:
    """Return the sizes of a tensor's axes, None for those that are not known numbers."""
    if value is None:
        return ()
    if (tensor := constant_tensor(value)) is not None:
        return tuple(int(size) for size in tensor.shape.numpy())
    if value.shape is None:
        return ()
    return tuple(size if isinstance(size, int) else None for size in value.shape)


def is_constant(value: ir.Value | None) -> bool:
    """Whether a value can never change."""
    return constant_tensor(value) is not None
