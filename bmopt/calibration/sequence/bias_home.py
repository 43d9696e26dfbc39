"""Where a constant per output channel of a product can be added without a new op."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from bmopt.core.runner import Array
from bmopt.graph.products import Product
from bmopt.graph.values import constant_array, is_op, only_consumer

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class BiasHome:
    """A constant input that is added to a product's output channel by channel.

    Attributes:
        node: The node that adds it: the product, or the Add that alone reads its output.
        input: Index of the constant among the node's inputs.
        bias: Its present values, ``float64 [channels]``.
        shape: The shape in which it is stored.
    """

    node: ir.Node
    input: int
    bias: Array
    shape: tuple[int, ...]

    @property
    def in_product(self) -> bool:
        """Whether the product itself adds it."""
        return self.node.op_type != "Add"


def bias_home(product: Product) -> BiasHome | None:
    """Return where the product's bias is or can be; None where there is no such place."""
    node = product.node
    if node.op_type in ("Conv", "ConvTranspose", "Gemm"):
        return _own_home(product)
    reader = only_consumer(node.outputs[0])
    if reader is None or not is_op(reader, "Add") or reader.graph is not node.graph:
        return None
    index = 1 if reader.inputs[0] is node.outputs[0] else 0
    found = constant_array(reader.inputs[index])
    if found is None or found.size != product.channels or found.shape[-1:] != (found.size,):
        return None
    return BiasHome(reader, index, found.reshape(-1).astype(np.float64), found.shape)


def _own_home(product: Product) -> BiasHome | None:
    channels = product.channels
    if product.node.op_type == "ConvTranspose" and product.groups != 1:
        return None
    if product.node.attributes.get_float("beta", 1.0) != 1.0:
        return None
    bias = own_bias(product)
    if bias is None:
        return None
    return BiasHome(product.node, 2, bias, (channels,))


def own_bias(product: Product) -> Floats | None:
    """Return what the product itself adds to its channels, zeros where that is nothing.

    None where it adds something else than a constant per channel.
    """
    zeros = np.zeros(product.channels)
    if product.bias is None:
        return zeros
    found = constant_array(product.node.inputs[product.bias])
    if found is None or found.size not in (1, product.channels):
        return None
    if found.shape[-1:] != (found.size,) and found.size > 1:
        return None  # a Gemm whose C differs between rows
    return found.reshape(-1).astype(np.float64) + zeros
