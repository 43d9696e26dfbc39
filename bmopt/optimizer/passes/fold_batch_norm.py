"""The pass ``fold-batch-norm``."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import onnx_ir as ir

from bmopt.graph.values import is_op
from bmopt.optimizer.arithmetic.affine_ops import batch_norm_of, fold_either_way
from bmopt.optimizer.pass_base import Outcome, Pass
from bmopt.optimizer.sweeps import sweep


@dataclasses.dataclass(frozen=True)
class FoldBatchNorm(Pass):
    """Fold BatchNormalization into the weights beside it.

    At inference ``y = gamma (x - mean) / sqrt(var + eps) + beta`` is affine per channel
    (Ioffe and Szegedy, 2015).

    1. Into the Conv, ConvTranspose, Gemm or rank-2 MatMul before it, which gets a bias where it
       had none (a MatMul becomes a Gemm).
    2. Otherwise into all those after it: a Conv only if it does not pad, because the padding
       would be shifted too.

    Refused: training mode, read statistics, ``spatial=0``, parameters, weights or biases that
    are not constant, a value in between that is read elsewhere or is a graph output, and results
    that the weights' type cannot hold.
    """

    name: ClassVar[str] = "fold-batch-norm"

    def call(self, model: ir.Model) -> Outcome:
        """Fold every BatchNormalization that can be."""
        return sweep(model, _fold)


def _fold(node: ir.Node) -> bool:
    if not is_op(node, "BatchNormalization"):
        return False
    return fold_either_way(batch_norm_of(node))
