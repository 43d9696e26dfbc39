"""A product's weight by what each output is a sum of, whatever the op and its attributes."""

from __future__ import annotations

import numpy as np

from bmopt.core.runner import Array
from bmopt.graph.products import Product


def by_sum(product: Product, weight: Array) -> Array:
    """Return a weight as ``[groups, outputs, inputs, taps]``.

    ``inputs`` are the channels of a group that an output sums over, ``taps`` the places of a
    convolution's filter. A MatMul by a stack of matrices has as many groups.

    Args:
        product: Its weight has two axes or more.
        weight: In the shape of the product's weight.
    """
    op, groups = product.node.op_type, product.groups
    if op == "Conv":
        return weight.reshape(groups, -1, weight.shape[1], _taps(product))
    if op == "ConvTranspose":
        split = weight.reshape(groups, -1, weight.shape[1], _taps(product))
        return split.swapaxes(1, 2)
    if op == "Gemm" and product.axis == 0:
        return weight[None, :, :, None]
    stack = weight.reshape(-1, *weight.shape[-2:])
    return stack.swapaxes(1, 2)[..., None]


def from_sum(product: Product, weight: Array) -> Array:
    """Return a weight in the product's own shape; the opposite of ``by_sum``."""
    op = product.node.op_type
    if op == "Conv" or (op == "Gemm" and product.axis == 0):
        return np.ascontiguousarray(weight).reshape(product.shape)
    return np.ascontiguousarray(weight.swapaxes(1, 2)).reshape(product.shape)


def _taps(product: Product) -> int:
    size = 1
    for extent in product.shape[2:]:
        size *= extent
    return size
