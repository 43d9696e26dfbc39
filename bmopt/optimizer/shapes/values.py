"""What is known of the small integer tensors that compute shapes.

An abstract interpreter over scalars and vectors of integers whose elements are numbers or
products of axis sizes (``bmopt.optimizer.shapes.symbolic``). One sweep in topological order.
"""

from __future__ import annotations

import dataclasses
import math

import onnx_ir as ir

from bmopt.graph.nesting import subgraphs_of
from bmopt.graph.values import constant_tensor
from bmopt.optimizer.shapes.symbolic import Item, Product, symbol

MAX_ELEMENTS = 64
"""Longer vectors are data, not shapes."""

_INTEGERS = (ir.DataType.INT64, ir.DataType.INT32, ir.DataType.BOOL)


@dataclasses.dataclass(frozen=True)
class Elements:
    """The elements of a scalar (one item) or a vector; truth values are 0 and 1."""

    items: tuple[Item, ...]
    is_scalar: bool = False

    def numbers(self) -> tuple[int, ...] | None:
        """Return the elements if all are numbers, else None."""
        known = tuple(item for item in self.items if isinstance(item, int))
        return known if len(known) == len(self.items) else None


class ShapeValues:
    """Elements of the integer tensors of a model, by value.

    Attributes:
        sources: Symbol of an axis -> a value and the number of an axis that has it.
        meanings: Name that inference made up -> the size that it is.
    """

    def __init__(self) -> None:
        self.sources: dict[str, tuple[ir.Value, int]] = {}
        self.meanings: dict[str, Item] = {}
        self._known: dict[ir.Value, Elements | None] = {}

    def dims(self, value: ir.Value | None) -> tuple[Item, ...] | None:
        """Return the sizes of ``value``'s axes, None where its rank is unknown."""
        if value is None or value.shape is None:
            return None
        return tuple(self._dim(value, axis) for axis in range(value.shape.rank()))

    def _dim(self, value: ir.Value, axis: int) -> Item:
        assert value.shape is not None
        dim = value.shape[axis]
        if isinstance(dim, int):
            return dim
        if dim.value in self.meanings:
            return self.meanings[dim.value]
        item = symbol(dim.value if dim.value is not None else f"{id(value)}@{axis}")
        self.sources.setdefault(item.symbols[0], (value, axis))
        return item

    def of(self, value: ir.Value | None) -> Elements | None:
        """Return what is known of ``value``, None where it is no small integer tensor."""
        if value is None:
            return None
        if value not in self._known:
            self._known[value] = _constant_elements(value) or _unknown_elements(value)
        return self._known[value]

    def learn(self, value: ir.Value, elements: Elements | None) -> None:
        """Record what a rule found; unknown elements get symbols where the length is known."""
        self._known[value] = elements or _constant_elements(value) or _unknown_elements(value)


def unknown_item(value: ir.Value, index: int) -> Product:
    """Return the symbol of an element that nothing is known of."""
    return symbol(f"?{id(value)}[{index}]")


def holds_integers(value: ir.Value) -> bool:
    """Whether ``value`` is of a type that the interpreter follows."""
    return value.dtype in _INTEGERS


def _constant_elements(value: ir.Value) -> Elements | None:
    if value.const_value is None and value.producer() is None:
        return None
    tensor = constant_tensor(value)
    if tensor is None or tensor.dtype not in _INTEGERS or tensor.size > MAX_ELEMENTS:
        return None
    rank = len(tensor.shape)
    if rank > 1:
        return None
    return Elements(tuple(int(x) for x in tensor.numpy().reshape(-1)), is_scalar=rank == 0)


def _unknown_elements(value: ir.Value) -> Elements | None:
    shape = value.shape
    if not holds_integers(value) or shape is None or not shape.is_static() or shape.rank() > 1:
        return None
    count = math.prod(int(d) for d in shape.numpy())
    if count > MAX_ELEMENTS:
        return None
    return Elements(tuple(unknown_item(value, i) for i in range(count)), shape.rank() == 0)


def nodes_in_order(graph: ir.Graph) -> list[ir.Node]:
    """Return the nodes of ``graph``, those of sub-graphs before the node that holds them."""
    nodes: list[ir.Node] = []
    for node in graph:
        for sub in subgraphs_of(node):
            nodes.extend(nodes_in_order(sub))
        nodes.append(node)
    return nodes
