"""The pass ``raise-opset``."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import onnx_ir as ir

from bmopt.errors import ModelError
from bmopt.graph.opset import raise_opset
from bmopt.optimizer.opset_wish import wanted_opset
from bmopt.optimizer.pass_base import Outcome, Pass, Refusal
from bmopt.optimizer.rewrite import opset


@dataclasses.dataclass(frozen=True)
class RaiseOpset(Pass):
    """Raise the standard opset as far as the fusions in the model need, and no further.

    Refuses where ONNX's version converter does.

    Attributes:
        to: The opset to raise to instead; a model that is as new is left alone.
    """

    name: ClassVar[str] = "raise-opset"

    to: int | None = None

    def call(self, model: ir.Model) -> Outcome:
        """Put the converted graph in the place of the graph."""
        wanted = wanted_opset(model) if self.to is None else self.to
        if wanted <= opset(model):
            return Outcome(model, False)
        try:
            raised = raise_opset(model, wanted)
        except ModelError as error:
            return Outcome(model, False, (Refusal("the model", str(error)),))
        model.graph = raised.graph
        return Outcome(model, True)
