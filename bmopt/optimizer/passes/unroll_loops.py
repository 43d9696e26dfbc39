"""The pass ``unroll-loops``."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import onnx_ir as ir

from bmopt.graph.values import is_op
from bmopt.optimizer.decomposing.emitter import Emitter
from bmopt.optimizer.decomposing.loops import LOOPS, Limits
from bmopt.optimizer.pass_base import Outcome, Pass
from bmopt.optimizer.sweeps import sweep


@dataclasses.dataclass(frozen=True)
class UnrollLoops(Pass):
    """Write Loop and Scan out, one turn after the other.

    For engines that have no loops. Refused: a number of turns that is not constant or above
    ``turns``, more than ``nodes`` nodes in all turns, and loops that may end before their last
    turn.

    Attributes:
        turns: The most turns of a loop.
        nodes: The most nodes that are written for one.
    """

    name: ClassVar[str] = "unroll-loops"

    turns: int = 128
    nodes: int = 4096

    def call(self, model: ir.Model) -> Outcome:
        """Write out every loop that can be, an outer one before those in it."""
        limits = Limits(self.turns, self.nodes)

        def rule(node: ir.Node) -> bool:
            if not is_op(node, *LOOPS):
                return False
            return LOOPS[node.op_type](Emitter.of(model, node), limits)

        return sweep(model, rule)
