"""The scales of weights: which products can keep those that the source had."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir

from bmopt.core.runner import Array
from bmopt.graph.nesting import nodes_in
from bmopt.graph.products import PRODUCT_OPS, Product, product_of
from bmopt.graph.values import constant_tensor, is_op
from bmopt.optimizer.imported.encodings import FLOAT8, LIMITS, Encoding
from bmopt.optimizer.imported.ledger import Ledger
from bmopt.optimizer.rewrite import add_constant, remove_dead, root_graph

_RESHAPES = ("Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze")
_MOST_BITS = 8


@dataclasses.dataclass(frozen=True)
class WeightScales:
    """What the products of a float model keep of the source's quantisation.

    Attributes:
        scales: Product -> its scales, one per output channel or one in all.
        float_products: Products whose constant weight the source had in float.
    """

    scales: dict[str, tuple[float, ...]]
    float_products: tuple[str, ...]


def weight_scales(ledger: Ledger) -> WeightScales:
    """Collect the scales of all products; what moves their weights is folded.

    A weight's scales are kept if they are symmetric, of at most 8 bits, of integers where the
    target has integers, and one per channel of the product's output axis or one in all. What
    speaks against it is noted.
    """
    scales: dict[str, tuple[float, ...]] = {}
    in_float: list[str] = []
    for node in list(nodes_in(ledger.model.graph)):
        if not is_op(node, *PRODUCT_OPS) or len(node.inputs) < 2:
            continue
        _note_bias(ledger, node)
        source, movers = _source_of(ledger, node)
        folded = None if source is None else ledger.folded.get(source)
        if source is None or folded is None:
            if constant_tensor(source) is not None:
                in_float.append(node.name or "")
            continue
        spread = _spread(ledger, folded, source, movers)
        if movers:
            _fold(ledger, node)
        kept = _kept(ledger, node, folded, spread)
        if kept is not None:
            scales[node.name or ""] = kept
    return WeightScales(scales, tuple(in_float))


def _note_bias(ledger: Ledger, node: ir.Node) -> None:
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    folded = None if bias is None else ledger.folded.get(bias)
    if folded is not None:
        ledger.note(node, f"{folded.dtype} bias dequantised")


def _source_of(ledger: Ledger, node: ir.Node) -> tuple[ir.Value | None, list[ir.Node]]:
    """Return the tensor that a product's weight is moved from, and what moves it, in order."""
    value, movers = node.inputs[1], list[ir.Node]()
    if ledger.known(value) is None:
        return None, movers
    while value is not None and constant_tensor(value) is None:
        producer = value.producer()
        if producer is None or not is_op(producer, "Transpose", *_RESHAPES):
            break
        movers.insert(0, producer)
        value = producer.inputs[0]
    return value, movers


def _spread(ledger: Ledger, encoding: Encoding, source: ir.Value, movers: list[ir.Node]) -> Array:
    """Return the scale of every element of the weight, a scalar where there is one in all."""
    tensor = constant_tensor(source)
    assert tensor is not None
    if encoding.axis is None:
        return encoding.scale
    shape = tuple(int(size) for size in tensor.shape.numpy())
    spread: Array = np.broadcast_to(encoding.along(encoding.scale, len(shape)), shape)
    for mover in movers:
        if is_op(mover, "Transpose"):
            order = mover.attributes.get_ints("perm")
            spread = np.transpose(spread, order)
        else:
            moved = ledger.known(mover.outputs[0])
            assert moved is not None
            spread = spread.reshape(moved.shape)
    return spread


def _fold(ledger: Ledger, node: ir.Node) -> None:
    moved = node.inputs[1]
    array = ledger.known(moved)
    if moved is None or array is None:
        return
    constant = add_constant(root_graph(node), f"{moved.name}_constant", array)
    node.replace_input_with(1, constant)
    producer = moved.producer()
    assert producer is not None
    remove_dead([producer])


def _kept(
    ledger: Ledger, node: ir.Node, folded: Encoding, spread: Array
) -> tuple[float, ...] | None:
    """Return the scales that the product keeps; else note why it keeps none."""
    product = product_of(node)
    reason = _obstacle(ledger, folded)
    kept = None if product is None or reason else _per_channel(spread, product)
    if kept is None:
        reason = reason or "its scales do not lie along the output channels"
        ledger.note(node, f"weight re-encoded: {reason}")
    return kept


def _obstacle(ledger: Ledger, encoding: Encoding) -> str:
    if ledger.keeps(encoding) and _bits(encoding) <= _MOST_BITS:
        return ""
    if _bits(encoding) > _MOST_BITS or encoding.is_symmetric:
        return f"it is stored as {encoding.dtype}"
    zeros = sorted({int(zero) for zero in encoding.zero.reshape(-1)})
    return f"its {encoding.dtype} zero point is {zeros[0] if len(zeros) == 1 else 'not 0'}"


def _bits(encoding: Encoding) -> int:
    low, high = LIMITS[encoding.dtype]
    return _MOST_BITS if encoding.dtype == FLOAT8 else (high - low).bit_length()


def _per_channel(spread: Array, product: Product) -> tuple[float, ...] | None:
    if spread.ndim == 0:
        return (float(spread),)
    if spread.shape != product.shape:
        return None
    rows = np.moveaxis(spread, product.axis, 0).reshape(product.channels, -1)
    if not (rows == rows[:, :1]).all():
        return None
    return tuple(float(scale) for scale in rows[:, 0])
