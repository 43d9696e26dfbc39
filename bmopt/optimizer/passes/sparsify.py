"""The pass ``sparsify``."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from bmopt.core.sparsity_pattern import SparsityPattern
from bmopt.errors import PassError, PruningError
from bmopt.graph.nesting import nodes_in
from bmopt.graph.products import Product
from bmopt.graph.sparsity_rules import LEAST_INPUTS, SparsityRules, products_in
from bmopt.optimizer.pass_base import Effect, Outcome, Pass, Refusal
from bmopt.optimizer.rewrite import (
    add_constant,
    remove_dead,
    remove_unused_initializers,
    root_graph,
)


@dataclasses.dataclass(frozen=True)
class Sparsify(Pass):
    """Set the smallest weights of convolutions and matrix products to zero.

    1. ``2:4`` or any ``N:M``: at most N of every M weights that lie next to each other along the
       channels that a product sums over stay.
    2. ``4x4``, ``1x4``, ...: of blocks of output channels x input channels, ``ratio`` go.
    3. ``unstructured``: of single weights, ``ratio`` go.

    No data is needed, and nothing makes up for what goes: ``bmopt prune --sparsity`` fits the
    weights that stay, which loses far less. Few engines gain from zeros: see docs/pruning.md.

    Refused: depthwise convolutions, products that sum over fewer channels than
    ``least-inputs``, and with N:M those whose channels are no multiple of M.

    Attributes:
        pattern: ``N:M``, ``ROWSxCOLUMNS``, or ``unstructured``.
        ratio: Which part of the blocks or weights of a product goes, above 0 and below 1; not
            with N:M.
        nodes: Names of the products that are made sparse, with ``*`` and ``?``; none for all.
        exclude: Names of those that are not.
        least_inputs: Products that sum over fewer channels stay dense.
    """

    name: ClassVar[str] = "sparsify"
    effect: ClassVar[Effect] = "lossy"

    pattern: str = "2:4"
    ratio: float = 0.5
    nodes: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    least_inputs: int = LEAST_INPUTS

    def __post_init__(self) -> None:
        try:
            SparsityPattern.parse(self.pattern, self.ratio)
        except PruningError as error:
            raise PassError(f"{self.name}: {error}") from error

    def call(self, model: ir.Model) -> Outcome:
        """Replace weights, those inside bodies too; other readers of them keep theirs."""
        pattern = SparsityPattern.parse(self.pattern, self.ratio)
        rules = SparsityRules(pattern, self.nodes, self.exclude, self.least_inputs)
        found: dict[tuple[object, ...], ir.Value] = {}
        refusals = []
        for product in list(products_in(nodes_in(model.graph), rules)):
            reason = rules.refusal(product)
            if reason:
                refusals.append(Refusal(product.node.name or "", reason))
            else:
                _replace(product, rules, found)
        if found:
            remove_unused_initializers(model)
        return Outcome(model, modified=bool(found), refusals=tuple(refusals))


def _replace(
    product: Product, rules: SparsityRules, found: dict[tuple[object, ...], ir.Value]
) -> None:
    """Let a product read its weight with zeros, which others that read it alike share."""
    node, old = product.node, product.node.inputs[1]
    assert old is not None
    key = (old, root_graph(node), node.op_type, product.axis, product.groups)
    if key not in found:
        sparse = rules.magnitude(product)
        if np.array_equal(sparse, product.weight()):
            return
        found[key] = add_constant(root_graph(node), old.name or "weight", sparse)
    node.replace_input_with(1, found[key])
    producer = old.producer()
    if producer is not None:
        remove_dead([producer])
