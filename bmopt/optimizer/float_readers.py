"""Keep float products in float where they read what integer kernels wrote.

ONNX Runtime takes a Conv, ConvTranspose or Gemm with float weights whose data comes out of a
DequantizeLinear for one that was forgotten, and rounds its weights to 8 bits with one scale for
the whole tensor (its WeightBiasQuantization). Where a QuantizeLinear follows, the product even
runs in integers, in a kernel slower than that of a product which was quantised. So a product that
a plan keeps in float, for speed or for accuracy, would get neither.

It does so only where the DequantizeLinear has one scale. One that has the same scale for every
channel computes the same, to the bit, and is left alone.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from bmopt.graph.products import Product, product_of
from bmopt.graph.values import constant_array, is_op
from bmopt.optimizer.rewrite import add_constant, new_node, remove_dead, share_names

_AXIS = 1
_FORGOTTEN = ("Conv", "ConvTranspose", "Gemm")


def keep_readers_in_float(model: ir.Model) -> bool:
    """Let float products read their data from a DequantizeLinear with a scale per channel.

    Return whether the main graph was changed. A second run changes nothing. Data of a single
    channel has a single scale either way: products that read it are left to ONNX Runtime.
    """
    made: dict[tuple[ir.Node, int], ir.Value] = {}
    share_names(model)
    for node in list(model.graph):
        source = _scalar_source(node)
        channels = _channels_read(node)
        if source is None or channels < 2:
            continue
        key = (source, channels)
        if key not in made:
            made[key] = _per_channel(model.graph, source, channels)
        node.replace_input_with(0, made[key])
    remove_dead(source for source, _ in made)
    return bool(made)


def _scalar_source(node: ir.Node) -> ir.Node | None:
    """Return the DequantizeLinear of one scale that ``node`` reads, None where there is none."""
    value = node.inputs[0] if is_op(node, *_FORGOTTEN) else None
    source = None if value is None else value.producer()
    if source is None or not is_op(source, "DequantizeLinear") or len(source.inputs) < 3:
        return None
    scale, zero_point = (constant_array(given) for given in source.inputs[1:3])
    return source if scale is not None and zero_point is not None and scale.size == 1 else None


def _channels_read(node: ir.Node) -> int:
    """Return how many channels lie along the second axis of a product's data; 0 if none is one."""
    product = product_of(node)
    if product is None or len(product.shape) < 2:
        return 0
    return _matrix_rows(product) if is_op(node, "Gemm") else _channels(product)


def _matrix_rows(product: Product) -> int:
    if product.node.attributes.get_int("transA", 0):
        return 0
    return product.shape[1 - product.axis]


def _channels(product: Product) -> int:
    if is_op(product.node, "ConvTranspose"):
        return product.shape[0]
    return product.shape[1] * product.groups


def _per_channel(graph: ir.Graph, source: ir.Node, channels: int) -> ir.Value:
    """Return what ``source`` dequantises, dequantised with a scale for each of the channels."""
    stem = source.outputs[0].name or "tensor"
    constants = []
    for value, what in zip(source.inputs[1:3], ("scales", "zero_points"), strict=True):
        array = constant_array(value)
        assert array is not None
        constants.append(
            add_constant(graph, f"{stem}_{what}", np.repeat(array.reshape(-1), channels))
        )
    node = new_node(
        "DequantizeLinear",
        [source.inputs[0], *constants],
        like=source,
        attributes={"axis": _AXIS},
    )
    node.outputs[0].type = source.outputs[0].type
    node.outputs[0].shape = source.outputs[0].shape
    return node.outputs[0]
