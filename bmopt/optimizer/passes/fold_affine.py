"""The pass ``fold-affine``."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import onnx_ir as ir

from bmopt.graph.values import only_consumer
from bmopt.optimizer.arithmetic.affine_chains import chain_to, merge
from bmopt.optimizer.arithmetic.affine_ops import (
    affine_of,
    affine_operands,
    fold_either_way,
    is_beside_linear,
)
from bmopt.optimizer.arithmetic.written_out import nodes_of_functions
from bmopt.optimizer.pass_base import Outcome, Pass
from bmopt.optimizer.sweeps import RefusedError, sweep


@dataclasses.dataclass(frozen=True)
class FoldAffine(Pass):
    """Fold Add, Sub, Mul and Div by constants, and Neg, into weights and into each other.

    1. After a Conv, ConvTranspose, Gemm or MatMul: into its weight and bias, if the constant is
       a scalar or has one item per channel. A MatMul takes factors; a rank-2 one becomes a Gemm
       to take a sum.
    2. Before such nodes, if no other node reads it: into all their weights, a sum only where
       nothing is padded.
    3. Chains become at most one Mul and one Add, with constants no larger than before.

    Constants inside a GELU, hard-swish or layer normalisation that is written out stay: run
    ``fuse-activations`` and ``fuse-layer-norm`` before.

    Refused: constants of any other shape, weights or biases that are computed, a value in
    between that is read elsewhere or is a graph output, constants that are not finite, sums with
    constants so large that they round their input (a known trick to round), and results that the
    weights' type cannot hold.
    """

    name: ClassVar[str] = "fold-affine"

    def call(self, model: ir.Model) -> Outcome:
        """Fold until nothing is left to fold."""
        whole = nodes_of_functions(model)
        return sweep(model, lambda node: _fold(node, whole))


def _fold(node: ir.Node, whole: frozenset[ir.Node]) -> bool:
    operands = affine_operands(node)
    if operands is None or node in whole:
        return False
    refused: RefusedError | None = None
    if is_beside_linear(node, operands[0]):
        affine = affine_of(node)
        assert affine is not None
        try:
            if fold_either_way(affine):
                return True
        except RefusedError as reason:
            refused = reason
    chain = None if _continues(node, whole) else chain_to(node, whole)
    if chain is not None and merge(chain):
        return True
    if refused is not None:
        raise refused
    return False


def _continues(node: ir.Node, whole: frozenset[ir.Node]) -> bool:
    """Whether the chain through ``node`` goes on, so that a later node ends it."""
    reader = only_consumer(node.outputs[0])
    if reader is None or reader in whole or reader.graph is not node.graph:
        return False
    return affine_operands(reader) is not None
