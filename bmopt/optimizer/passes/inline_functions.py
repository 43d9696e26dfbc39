"""Bodies of the model's local functions take the place of the nodes that call them."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import onnx_ir as ir
from onnx_ir.passes.common import InlinePass

from bmopt.errors import ModelError
from bmopt.optimizer.pass_base import Outcome, Pass, Refusal


@dataclasses.dataclass(frozen=True)
class InlineFunctions(Pass):
    """Inline every local function; its nodes stand for the node that called it.

    Refuses a function that was written for another opset than the model.

    Raises:
        ModelError: Functions that call each other in a circle.
    """

    name: ClassVar[str] = "inline-functions"

    def call(self, model: ir.Model) -> Outcome:
        """Inline all that can be."""
        if not model.functions:
            return Outcome(model, modified=False)
        refusals = tuple(
            Refusal(function.name, reason)
            for function in model.functions.values()
            if (reason := _obstacle(function, model)) is not None
        )
        kept = {refusal.node for refusal in refusals}
        try:
            result = InlinePass(lambda function: function.name not in kept)(model)
        except ir.passes.PreconditionError as error:
            raise ModelError(f"{error}; break the circle of functions") from error
        return Outcome(model, modified=result.modified, refusals=refusals)


def _obstacle(function: ir.Function, model: ir.Model) -> str | None:
    for domain, version in function.opset_imports.items():
        wanted = model.graph.opset_imports.get(domain, version)
        if wanted != version:
            return f"is written for version {version} of {domain or 'ai.onnx'}, not {wanted}"
    if any(attr.type in _GRAPHS for attr in function.attributes.values()):
        return "takes a graph as a parameter"
    return None


_GRAPHS = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
