"""Weights rounded to a quantisation plan's grid while they are trained.

The straight-through estimator: a rounded weight passes its gradient on as it is, and a clipped
one does not (Y. Bengio et al., "Estimating or Propagating Gradients Through Stochastic Neurons",
2013; B. Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", 2018).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from bmopt.core.plan import QuantPlan
from bmopt.differentiable.program import Place
from bmopt.differentiable.torch_access import Tensor, Torch
from bmopt.training.parameters import Parameter


@dataclasses.dataclass(frozen=True)
class Grid:
    """A product's weight and the numbers it may hold.

    Attributes:
        node: The product.
        input: Index of the weight among its inputs.
        weight: The parameter.
        scales: Steps, shaped to be broadcast against the weight: an array, or a tensor once it
            is on a device.
        limit: Largest number of steps.
        bias: Index and parameter of a bias that the quantised graph holds in integers, which are
            so fine that it is trained as it is.
    """

    node: str
    input: int
    weight: str
    scales: Tensor
    limit: int
    bias: tuple[int, str] | None = None

    def on(self, torch: Torch, device: str) -> Grid:
        """Return the grid on a device."""
        return dataclasses.replace(self, scales=torch.from_numpy(self.scales).to(device))

    def replaced(self, variables: Mapping[str, Tensor]) -> dict[Place, Tensor]:
        """Return what the product reads."""
        found = {(self.node, self.input): self._steps(variables[self.weight]) * self.scales}
        if self.bias is not None:
            index, name = self.bias
            found[(self.node, index)] = variables[name]
        return found

    def rounded(self, variables: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the weight by its name, on the grid."""
        return {self.weight: (self._steps(variables[self.weight]) * self.scales).detach()}

    def _steps(self, weight: Tensor) -> Tensor:
        steps = (weight / self.scales).clamp(-self.limit, self.limit)
        return steps + (steps.round() - steps).detach()


def grids_of(
    model: ir.Model, plan: QuantPlan, parameters: tuple[Parameter, ...]
) -> tuple[Grid, ...]:
    """Return the grids of a plan for the products of the float model ``model``.

    Products whose weight is not trained, or is stored in float8, are left out: what they read is
    rounded once and for all in the quantised graph.
    """
    arrays = {each.name: each.array for each in parameters}
    nodes = {node.name or "": node for node in model.graph}
    found = []
    for name, quant in plan.weights.items():
        inputs = nodes[name].inputs
        weight = _name(inputs[quant.input])
        if weight not in arrays or quant.dtype not in ("int8", "uint8"):
            continue
        shape = [1] * arrays[weight].ndim
        if quant.axis is not None:
            shape[quant.axis] = -1
        scales = np.array(quant.scales, np.float32).reshape(shape)
        bias = None if quant.bias is None else _name(inputs[quant.bias])
        held = None if quant.bias is None or bias not in arrays else (quant.bias, bias or "")
        found.append(Grid(name, quant.input, weight, scales, quant.limit, held))
    return tuple(found)


def _name(value: ir.Value | None) -> str:
    return "" if value is None else value.name or ""
