"""Put refined weights and biases in the place of a model's own."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from bmopt.core.corrections import Corrections, Replacement
from bmopt.errors import QuantizationError
from bmopt.graph.values import constant_array
from bmopt.optimizer.pass_base import Effect, Outcome, Pass
from bmopt.optimizer.rewrite import add_constant, remove_dead, remove_unused_initializers


@dataclasses.dataclass(frozen=True)
class CorrectWeights(Pass):
    """Have the nodes that ``corrections`` lists read the constants that it has for them.

    Other nodes that read the same constants keep them. No node is added. A model that reads them
    already is not modified.

    Attributes:
        corrections: What refinement found; from Python only.
    """

    name: ClassVar[str] = "correct-weights"
    effect: ClassVar[Effect] = "lossy"

    corrections: Corrections

    def call(self, model: ir.Model) -> Outcome:
        """Replace constants of the main graph's nodes in place.

        Raises:
            QuantizationError: The model has no such node.
        """
        nodes = {node.name or "": node for node in model.graph}
        modified = False
        for replacement in self.corrections.replacements:
            node = nodes.get(replacement.node)
            if node is None:
                raise QuantizationError(
                    f"the corrections name {replacement.node!r}, which the model has not; they "
                    "were made for another model"
                )
            modified |= _replace(model.graph, node, replacement)
        if modified:
            remove_unused_initializers(model)
        return Outcome(model, modified=modified)


def _replace(graph: ir.Graph, node: ir.Node, replacement: Replacement) -> bool:
    index = replacement.input
    if index >= len(node.inputs):
        node.resize_inputs(index + 1)
    old = node.inputs[index]
    present = constant_array(old)
    if present is not None and np.array_equal(present, replacement.array):
        return False
    stem = (old.name if old is not None else None) or f"{node.name}_bias"
    node.replace_input_with(index, add_constant(graph, stem, replacement.array))
    producer = None if old is None else old.producer()
    if producer is not None:
        remove_dead([producer])
    return True
