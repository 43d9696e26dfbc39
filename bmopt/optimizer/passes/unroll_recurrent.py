"""The pass ``unroll-recurrent``."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import onnx_ir as ir

from bmopt.graph.values import is_op
from bmopt.optimizer.decomposing.emitter import Emitter
from bmopt.optimizer.decomposing.recurrent import RECURRENT, unroll_recurrent
from bmopt.optimizer.pass_base import Outcome, Pass
from bmopt.optimizer.sweeps import sweep


@dataclasses.dataclass(frozen=True)
class UnrollRecurrent(Pass):
    """Write LSTM, GRU and RNN out as products and activations, one step after the other.

    For engines that have no recurrent ops. Refused: a number of steps that is unknown or above
    ``steps``, sequences of several lengths in a batch, cells that clip, that couple their gates or
    whose activation functions have parameters.

    Attributes:
        steps: The most steps of an op, its directions counted apart.
    """

    name: ClassVar[str] = "unroll-recurrent"

    steps: int = 128

    def call(self, model: ir.Model) -> Outcome:
        """Write out every op that can be."""

        def rule(node: ir.Node) -> bool:
            if not is_op(node, *RECURRENT):
                return False
            return unroll_recurrent(Emitter.of(model, node), self.steps)

        return sweep(model, rule)
