"""What a product of the pruned model is to compute: what makes the original's sum behind it.

Where a product's output is added to another branch, as at the end of a residual block, that
branch has errors of its own by then. The product is fitted to make up for them, too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import onnx_ir as ir

from bmopt.calibration.sequence.bias_home import bias_home
from bmopt.graph.products import Product
from bmopt.graph.values import constant_tensor, is_op, only_consumer


@dataclasses.dataclass(frozen=True)
class Beside:
    """What a product's output is added to.

    Attributes:
        original: Tensor of the original; None for nothing that is there before the product.
        pruned: The same of the pruned model; None where nothing is, or the branch went as a whole.
    """

    original: str | None = None
    pruned: str | None = None

    @property
    def is_alone(self) -> bool:
        """Whether the product has to do what a branch did that went as a whole."""
        return self.original is not None and self.pruned is None


class Sums:
    """The sums behind products of a model before and after pruning.

    Args:
        original: The main graph before.
        pruned: The main graph after, node names kept.
    """

    def __init__(self, original: ir.Graph, pruned: ir.Graph) -> None:
        self._original, self._pruned = _places(original), _places(pruned)
        self._names = {node.name for node in pruned}

    def beside(self, product: Product, small: Product) -> Beside:
        """Return what a product and the same one of the pruned model are added to."""
        theirs = branch_beside(product, self._original)
        mine = branch_beside(small, self._pruned)
        add = _sum_behind(product)
        if theirs is None or add is None or (mine is None and add.name in self._names):
            return Beside()
        return Beside(theirs, mine)


def branch_beside(product: Product, places: Mapping[ir.Node, int]) -> str | None:
    """Return the tensor that a product's output is added to, if it is there before the product.

    Args:
        product: The product.
        places: Where each node is in the graph.
    """
    end, reader = _end(product), _sum_behind(product)
    if reader is None:
        return None
    other = reader.inputs[1 if reader.inputs[0] is end.outputs[0] else 0]
    if other is None or other is end.outputs[0] or constant_tensor(other) is not None:
        return None
    maker = other.producer()
    if maker is not None and places[maker] > places[product.node]:
        return None
    same_rank = other.shape is not None and end.outputs[0].shape is not None
    if not same_rank or list(other.shape or ()) != list(end.outputs[0].shape or ()):
        return None
    return other.name or None


def _places(graph: ir.Graph) -> dict[ir.Node, int]:
    return {node: at for at, node in enumerate(graph)}


def _end(product: Product) -> ir.Node:
    """Return the node that writes the product with its bias."""
    home = bias_home(product)
    return product.node if home is None else home.node


def _sum_behind(product: Product) -> ir.Node | None:
    """Return the Add that alone reads the product with its bias."""
    reader = only_consumer(_end(product).outputs[0])
    if reader is None or not is_op(reader, "Add") or reader.graph is not product.node.graph:
        return None
    return reader
