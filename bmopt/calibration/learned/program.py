"""Nodes of a graph run in torch, so that an error can be followed back to weights and biases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from bmopt.calibration.learned.call import Call
from bmopt.calibration.learned.ops import OPS
from bmopt.calibration.learned.ops_quantize import steps_of
from bmopt.calibration.learned.torch_access import Tensor, Torch
from bmopt.graph.values import constant_array

Place = tuple[str, int]
"""A node's name and the index of one of its inputs."""


def unsupported(nodes: Sequence[ir.Node]) -> tuple[str, ...]:
    """Return the ops among ``nodes`` that have no counterpart here, each once, in order."""
    found: dict[str, None] = {}
    for node in nodes:
        op = OPS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        several = sum(1 for value in node.outputs if value.name) != 1
        if op is None or several or not op.fits(node):
            found[node.op_type] = None
    return tuple(found)


class Program:
    """Nodes in graph order.

    Args:
        torch: The torch module.
        nodes: None that ``unsupported`` returns.
    """

    def __init__(self, torch: Torch, nodes: Sequence[ir.Node]) -> None:
        self._torch = torch
        self._nodes: list[ir.Node] = []
        self._constants: dict[str, Tensor] = {}
        for node in nodes:
            for value in node.inputs:
                array = constant_array(value)
                if array is not None and value is not None:
                    self._constants[value.name or ""] = steps_of(torch, array)
            if all(value is None or value.name in self._constants for value in node.inputs):
                self._compute(node, self._constants, {})
            else:
                self._nodes.append(node)

    def run(
        self,
        feeds: Mapping[str, Tensor],
        replaced: Mapping[Place, Tensor],
        wanted: Sequence[str],
    ) -> dict[str, Tensor]:
        """Return the values ``wanted``.

        Args:
            feeds: What the nodes read and none of them computes.
            replaced: Tensors that a node reads in the place of its own input.
            wanted: Names of outputs of the nodes.
        """
        known = {**self._constants, **feeds}
        for node in self._nodes:
            self._compute(node, known, replaced)
        return {name: known[name] for name in wanted}

    def _compute(
        self, node: ir.Node, known: dict[str, Tensor], replaced: Mapping[Place, Tensor]
    ) -> None:
        inputs = []
        for index, value in enumerate(node.inputs):
            instead = replaced.get((node.name or "", index))
            read = None if value is None else known[value.name or ""]
            inputs.append(read if instead is None else instead)
        op = OPS[node.op_type]
        known[node.outputs[0].name or ""] = op.run(Call(self._torch, node, inputs))
