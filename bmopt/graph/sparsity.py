"""Which patterns the zeros of a model's weights have."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from bmopt.core.sparsity_pattern import SparsityPattern
from bmopt.graph.nesting import nodes_in
from bmopt.graph.products import PRODUCT_OPS, Product, product_by
from bmopt.graph.sparse_masks import Mask, fulfils, zero_blocks
from bmopt.graph.summed import by_sum
from bmopt.graph.values import constant_array, is_op, producer_of

PATTERNS = ("1:4", "2:4", "1:2", "2:8", "4:8", "8:16")
"""N:M that are looked for."""

BLOCKS = ((1, 4), (4, 1), (4, 4), (8, 8))
"""Output channels x input channels of the blocks that are looked for."""

_TWO_FOUR = SparsityPattern.parse("2:4")
_SHARE = 0.05
"""Blocks of zeros are told where they are more than this part of all."""


@dataclasses.dataclass(frozen=True)
class BlockShare:
    """How many blocks of a weight are all zeros.

    Attributes:
        block: Output channels x input channels, as ``"4x4"``.
        share: Which part of all blocks.
    """

    block: str
    share: float


@dataclasses.dataclass(frozen=True)
class WeightSparsity:
    """The zeros of one product's weight.

    Attributes:
        node: The product's name.
        op_type: Its op.
        shape: Of its weight.
        weights: How many numbers that has.
        zeros: How many of them are zero.
        patterns: The N:M that hold along the channels that it sums over; none for a dense weight,
            a depthwise one, or one of zeros only.
        blocks: Blocks of zeros, where there are more than a few.
    """

    node: str
    op_type: str
    shape: tuple[int, ...]
    weights: int
    zeros: int
    patterns: tuple[str, ...]
    blocks: tuple[BlockShare, ...]


def sparsity_of(model: ir.Model) -> tuple[WeightSparsity, ...]:
    """Return the zeros of every product's weight, in graph order, bodies included."""
    found = (_stored(node) for node in nodes_in(model.graph))
    return tuple(_zeros_of(*one) for one in found if one is not None)


def has_two_four(model: ir.Model) -> bool:
    """Whether any product of ``model`` has weights that sparse kernels could run on."""
    found = (_stored(node) for node in nodes_in(model.graph))
    return any(_is_two_four(*one) for one in found if one is not None)


def is_two_four(product: Product) -> bool:
    """Whether the weight is 2:4 sparse along the axis that the product sums over.

    For a convolution that is the axis of input channels, for a matrix product the rows of the
    weight as it is multiplied. A weight of zeros only is not counted.
    """
    return _is_two_four(product, product.weight() == 0)


def _is_two_four(product: Product, zero: Mask) -> bool:
    if product.is_depthwise or len(product.shape) < 2:
        return False
    return fulfils(by_sum(product, zero), _TWO_FOUR) and not bool(zero.all())


def _stored(node: ir.Node) -> tuple[Product, Mask] | None:
    """Return a node as a product, and where its weight is zero; quantised weights too."""
    if not is_op(node, *PRODUCT_OPS):
        return None
    zero = _zero_mask(node.inputs[1])
    return None if zero is None else (product_by(node, zero.shape), zero)


def _zero_mask(value: ir.Value | None) -> Mask | None:
    """Return where a constant is zero, seen through Q/DQ nodes; None where it is no constant."""
    array = constant_array(value)
    if array is not None:
        return np.asarray(array == 0)
    node = producer_of(value, "DequantizeLinear", "QuantizeLinear")
    if node is None:
        return None
    stored = constant_array(node.inputs[0])
    if node.op_type == "QuantizeLinear" or stored is None:
        return _zero_mask(node.inputs[0])
    point = constant_array(node.inputs[2]) if len(node.inputs) > 2 else None
    if point is None or not point.any():
        return np.asarray(stored == 0)
    return np.asarray(stored == point) if point.size == 1 else None


def _zeros_of(product: Product, zero: Mask) -> WeightSparsity:
    zeros = int(np.count_nonzero(zero))
    plain = len(product.shape) < 2 or product.is_depthwise or zeros in (0, zero.size)
    split = None if plain else by_sum(product, zero)
    return WeightSparsity(
        node=product.node.name or "",
        op_type=product.node.op_type,
        shape=product.shape,
        weights=math.prod(product.shape),
        zeros=zeros,
        patterns=() if split is None else _patterns(split),
        blocks=() if split is None else tuple(_blocks(split)),
    )


def _patterns(zero: Mask) -> tuple[str, ...]:
    return tuple(text for text in PATTERNS if fulfils(zero, SparsityPattern.parse(text)))


def _blocks(zero: Mask) -> Sequence[BlockShare]:
    groups, outputs, inputs, taps = zero.shape
    found = []
    for rows, columns in BLOCKS:
        count = groups * -(-outputs // rows) * -(-inputs // columns) * taps
        share = zero_blocks(zero, rows, columns) / count
        if share > _SHARE:
            found.append(BlockShare(f"{rows}x{columns}", share))
    return found
