"""What a product of the pruned model is to compute: what makes the original's sum behind it.

Where a product's output is added to another branch, as at the end of a residual block, that
branch has errors of its own by then. The product is fitted to make up for them, too.
"""

from __future__ import annotations

from collections.abc import Collection

import onnx_ir as ir

from bmopt.calibration.sequence.bias_home import bias_home
from bmopt.graph.products import Product
from bmopt.graph.values import constant_tensor, is_op, only_consumer


def branch_beside(product: Product, done: Collection[ir.Node]) -> str | None:
    """Return the tensor that a product's output is added to, if it is there before the product.

    Args:
        product: The product.
        done: Nodes that ran before it.
    """
    home = bias_home(product)
    end = product.node if home is None else home.node
    reader = only_consumer(end.outputs[0])
    if reader is None or not is_op(reader, "Add") or reader.graph is not product.node.graph:
        return None
    other = reader.inputs[1 if reader.inputs[0] is end.outputs[0] else 0]
    if other is None or other is end.outputs[0] or constant_tensor(other) is not None:
        return None
    maker = other.producer()
    if maker is not None and maker not in done:
        return None
    same_rank = other.shape is not None and end.outputs[0].shape is not None
    if not same_rank or list(other.shape or ()) != list(end.outputs[0].shape or ()):
        return None
    return other.name or None
