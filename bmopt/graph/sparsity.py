"""2:4 sparsity: at most two of every four weights that lie next to each other are not zero."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from bmopt.core.runner import Array
from bmopt.graph.nesting import nodes_in
from bmopt.graph.products import Product, product_of

_GROUP = 4
_KEPT = 2


def has_two_four(model: ir.Model) -> bool:
    """Whether any product of ``model`` has weights that sparse kernels could run on."""
    products = (product_of(node) for node in nodes_in(model.graph))
    return any(is_two_four(product) for product in products if product is not None)


def is_two_four(product: Product) -> bool:
    """Whether the weight is 2:4 sparse along the axis that the product sums over.

    For a convolution that is the axis of input channels, for a matrix product the rows of the
    weight as it is multiplied. A weight of zeros only is not counted.
    """
    axis = _summed_axis(product)
    if product.is_depthwise or product.shape[axis] % _GROUP or len(product.shape) < 2:
        return False
    return _is_sparse_along(product.weight(), axis)


def _summed_axis(product: Product) -> int:
    if product.node.op_type == "Conv":
        return 1
    if product.node.op_type == "ConvTranspose":
        return 0
    return len(product.shape) - 2 if product.axis == len(product.shape) - 1 else 1


def _is_sparse_along(weight: Array, axis: int) -> bool:
    groups = np.moveaxis(weight, axis, -1).reshape(-1, _GROUP)
    kept = np.count_nonzero(groups, axis=1)
    return bool(kept.max(initial=0) <= _KEPT and kept.any())
