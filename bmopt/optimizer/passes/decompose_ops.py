"""The pass ``decompose-ops``."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import onnx_ir as ir

from bmopt.optimizer.decomposing.definitions import DEFINED, expand_definition
from bmopt.optimizer.decomposing.emitter import Emitter
from bmopt.optimizer.decomposing.rules import rule_for
from bmopt.optimizer.pass_base import Outcome, Pass
from bmopt.optimizer.rewrite import opset
from bmopt.optimizer.sweeps import sweep

_STANDARD = ("", "ai.onnx")


@dataclasses.dataclass(frozen=True)
class DecomposeOps(Pass):
    """Write ops that few engines have in ops that all have.

    Those are fused ops of ONNX Runtime's domain (``FusedMatMul``, ``SkipLayerNormalization``,
    ``QuickGelu``, ``QLinearAdd`` and the like), ops on integers, as Q/DQ nodes around the float op
    where they round, and newer standard ops (``Swish``, ``Attention``). Refused: forms without a
    counterpart, each with the reason.
    """

    name: ClassVar[str] = "decompose-ops"

    def call(self, model: ir.Model) -> Outcome:
        """Write out every op that can be."""
        version = opset(model)

        def rule(node: ir.Node) -> bool:
            found = rule_for(node)
            if found is not None:
                return found(Emitter(node, version))
            if node.domain in _STANDARD and node.op_type in DEFINED:
                return expand_definition(model, node, version)
            return False

        return sweep(model, rule)
