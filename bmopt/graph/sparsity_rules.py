"""Which products are made sparse, and why others are not."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Iterable, Iterator

import numpy as np
import onnx_ir as ir

from bmopt.core.runner import Array
from bmopt.core.sparsity_pattern import SparsityPattern
from bmopt.graph.products import Product, product_of
from bmopt.graph.sparse_masks import kept_mask
from bmopt.graph.summed import by_sum, from_sum
from bmopt.graph.values import constant_tensor

LEAST_INPUTS = 16

_FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE)


@dataclasses.dataclass(frozen=True)
class SparsityRules:
    """What is to become sparse.

    Attributes:
        pattern: Where zeros may be.
        nodes: Names of the products that are, with ``*`` and ``?``; none for all.
        exclude: Names of those that are not.
        least_inputs: Products that sum over fewer channels are left dense.
    """

    pattern: SparsityPattern
    nodes: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    least_inputs: int = LEAST_INPUTS

    def names(self, name: str) -> bool:
        """Whether a product's name is among those that are to be sparse."""
        if self.nodes and not _matches(name, self.nodes):
            return False
        return not _matches(name, self.exclude)

    def refusal(self, product: Product) -> str:
        """Return why the product stays dense, as the end of a sentence; empty if it need not."""
        weight = constant_tensor(product.node.inputs[1])
        if len(product.shape) < 2 or 0 in product.shape:
            return "multiplies by a vector"
        if weight is None or weight.dtype not in _FLOATS:
            return "has no floats as weights"
        if product.is_depthwise:
            return "is depthwise: every output reads one channel"
        inputs = _inputs(product)
        if inputs < self.least_inputs:
            return f"sums over {inputs} channels, fewer than {self.least_inputs}"
        if self.pattern.of and inputs % self.pattern.of:
            return f"sums over {inputs} channels, which are no multiple of {self.pattern.of}"
        return ""

    def magnitude(self, product: Product) -> Array:
        """Return the weight with the smallest of its numbers set to zero."""
        weight = product.weight()
        split = by_sum(product, weight)
        kept = kept_mask(np.square(split.astype(np.float64)), self.pattern)
        return from_sum(product, np.where(kept, split, np.zeros(1, split.dtype)))


def products_in(nodes: Iterable[ir.Node], rules: SparsityRules) -> Iterator[Product]:
    """Yield the products that ``rules`` want, those they refuse among them."""
    for node in nodes:
        product = product_of(node)
        if product is not None and rules.names(product.node.name or ""):
            yield product


def _inputs(product: Product) -> int:
    """Return how many channels an output sums over."""
    shape = product.shape
    if product.node.op_type == "Conv":
        return shape[1]
    if product.node.op_type == "ConvTranspose":
        return shape[0] // product.groups
    return shape[1] if product.axis == 0 else shape[-2]


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
