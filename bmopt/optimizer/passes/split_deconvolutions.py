"""The pass ``split-deconvolutions``."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import onnx_ir as ir

from bmopt.graph.values import is_op
from bmopt.optimizer.decomposing.deconvolution import replace_deconvolution
from bmopt.optimizer.decomposing.emitter import Emitter
from bmopt.optimizer.pass_base import Outcome, Pass
from bmopt.optimizer.sweeps import sweep


@dataclasses.dataclass(frozen=True)
class SplitDeconvolutions(Pass):
    """Write ConvTranspose as a convolution whose channels are then put side by side.

    For engines whose convolutions are fast and whose ConvTranspose is not. Refused: weights that
    are computed, and inputs whose sizes, the batch aside, are not known.
    """

    name: ClassVar[str] = "split-deconvolutions"

    def call(self, model: ir.Model) -> Outcome:
        """Write out every ConvTranspose that can be."""

        def rule(node: ir.Node) -> bool:
            if not is_op(node, "ConvTranspose"):
                return False
            return replace_deconvolution(Emitter.of(model, node))

        return sweep(model, rule)
