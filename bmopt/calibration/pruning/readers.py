"""The weights that sum over a group's channels, and where."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from bmopt.calibration.sequence.bias_home import BiasHome, bias_home
from bmopt.calibration.sequence.layer import is_matrix
from bmopt.calibration.sequence.rows import Window, spread, weight_from_matrix, weight_matrix
from bmopt.core.corrections import Replacement
from bmopt.core.runner import Array
from bmopt.graph.channels.groups import Group
from bmopt.graph.channels.units import Ints
from bmopt.graph.products import Product, product_of
from bmopt.graph.values import constant_array

Floats = npt.NDArray[np.float64]
Float32 = npt.NDArray[np.float32]

MOST_INPUTS = 4096
"""Moments of this many inputs take 128 MB, and four times that of twice as many."""
_ROWS_PER_INPUT = 48
_FEWEST_ROWS = 32768
_MOST_ROWS = 65536


@dataclasses.dataclass(frozen=True)
class Reader:
    """A node whose weight sums over channels of a group.

    Attributes:
        node: The node.
        input: Index of the weight among its inputs.
        axis: The weight's axis that channels lie along.
        channels: The group's channel at every position of it, -1 where it is another's.
        product: The node as rows times a matrix whose columns the channels are; None where it is
            none, or too large.
        columns: The group's channel of every input of that matrix, ``[K]``.
    """

    node: ir.Node
    input: int
    axis: int
    channels: Ints
    product: Product | None
    columns: Ints

    @property
    def name(self) -> str:
        """Name of the node."""
        return self.node.name or ""

    @property
    def home(self) -> BiasHome | None:
        """Where its bias is or can be."""
        return None if self.product is None else bias_home(self.product)

    def matrix(self) -> Floats:
        """Return the weight as ``[groups, outputs, K]``; only of a product."""
        assert self.product is not None
        return weight_matrix(self.product, self.product.weight()).astype(np.float64)

    def masked(self, kept: npt.NDArray[np.bool_]) -> Replacement:
        """Return the weight with zeroes where channels go.

        Args:
            kept: Whether each of the group's channels stays, ``[size]``.
        """
        array = constant_array(self.node.inputs[self.input])
        assert array is not None
        stays = (self.channels < 0) | kept[self.channels]
        shape = [-1 if axis == self.axis else 1 for axis in range(array.ndim)]
        return Replacement(self.name, self.input, array * stays.reshape(shape).astype(array.dtype))

    def refitted(self, matrix: Floats) -> Replacement:
        """Return another weight, given as ``matrix`` returns it."""
        assert self.product is not None
        array = weight_from_matrix(self.product, matrix.astype(self.product.weight().dtype))
        return Replacement(self.name, self.input, array)


def readers_of(model: ir.Model, group: Group) -> list[Reader]:
    """Return the readers of a group in graph order.

    A node that reads its weight through another has no name in ``model``'s main graph and is left
    out; so is nothing else.
    """
    nodes = {node.name or "": (at, node) for at, node in enumerate(model.graph)}
    found = []
    for place in group.slices:
        if place.role != "reads" or place.node not in nodes:
            continue
        at, node = nodes[place.node]
        index = [None if value is None else value.name for value in node.inputs].index(place.value)
        product = fittable(node) if index == 1 else None
        columns = _columns(product, place.channels) if product is not None else None
        if columns is None:
            product = None
        empty = np.zeros(0, np.int64)
        reader = Reader(
            node, index, place.axis, place.channels, product, empty if columns is None else columns
        )
        found.append((at, reader))
    return [reader for _, reader in sorted(found, key=lambda pair: pair[0])]


def fittable(node: ir.Node) -> Product | None:
    """Return the node as a product whose weight can be fitted, else None."""
    product = product_of(node)
    if product is None or len(product.shape) < 2 or not is_matrix(product):
        return None
    return product if math.prod(product.shape) // product.channels <= MOST_INPUTS else None


def _columns(product: Product, channels: Ints) -> Ints | None:
    """Return the channel of every input of the weight's matrix; None where they do not fit."""
    _, _, size = weight_matrix(product, product.weight()).shape
    taps, left = divmod(size, len(channels))
    return None if left else np.repeat(channels, taps)


class RowPicker:
    """Picks rows of what a product reads, and of what it is to compute, at the same places.

    Args:
        product: As ``fittable`` returns it.
        batches: How many batches there will be.
        share: Part of the usual number of rows.
    """

    def __init__(self, product: Product, batches: int, share: float = 1.0) -> None:
        groups, self.outputs, self.size = weight_matrix(product, product.weight()).shape
        self.groups = groups
        self._product = product
        wanted = min(max(_ROWS_PER_INPUT * self.size, _FEWEST_ROWS), _MOST_ROWS)
        self._per_batch = math.ceil(share * wanted / max(batches, 1))

    def pick(self, read: Array, rng: np.random.Generator, *others: Array) -> tuple[Float32, ...]:
        """Return ``x [groups, rows, K]``, and ``[groups, rows, outputs]`` of each other array.

        Args:
            read: What the product reads.
            rng: Chooses the rows; they are spread evenly over the samples.
            others: Arrays of the shape of what it computes.
        """
        if self._product.node.op_type == "Conv":
            window = Window.of(self._product, read.shape)
            places = math.prod(window.outputs)
            chosen = spread(read.shape[0] * places, self._per_batch, rng)
            x = window.rows(read, chosen, self.groups)
            sample, place = np.divmod(chosen, places)
            found = [_flat(other, places)[sample, :, place] for other in others]
        else:
            rows = read.reshape(-1, read.shape[-1])
            chosen = spread(len(rows), self._per_batch, rng)
            x = rows[chosen][None].astype(np.float32, copy=False)
            found = [other.reshape(-1, other.shape[-1])[chosen] for other in others]
        split = (one.reshape(len(one), self.groups, -1).swapaxes(0, 1) for one in found)
        return x, *(one.astype(np.float32, copy=False) for one in split)


def _flat(array: Array, places: int) -> Array:
    return array.reshape(array.shape[0], -1, places)
