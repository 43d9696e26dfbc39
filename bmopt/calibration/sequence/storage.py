"""How a product's constants are stored, and what that asks of the scales of its weight."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from bmopt.calibration.plan_inputs import held_by_float16
from bmopt.core.plan import QuantPlan, WeightQuant
from bmopt.graph.products import Product

Floats = npt.NDArray[np.float64]

_LARGEST_BIAS = float(1 << 30)


@dataclasses.dataclass(frozen=True)
class Storage:
    """How a product's weight and bias are stored.

    Attributes:
        weight: The weight's encoding.
        input_scale: Scale of the activation that it reads; a bias may be stored in steps of it
            times the weight's scale.
        in_float16: A float16 number is to hold every scale.
    """

    weight: WeightQuant
    input_scale: float
    in_float16: bool

    @classmethod
    def of(cls, product: Product, plan: QuantPlan) -> Storage:
        """Return what ``plan`` says of a product of the float model."""
        data = product.node.inputs[0]
        assert data is not None
        return cls(
            weight=plan.weights[product.node.name or ""],
            input_scale=plan.activations[data.name or ""].scale,
            in_float16=plan.reads is not None,
        )

    def scales(self, wanted: Floats, bias: Floats) -> Floats:
        """Return float32 numbers near ``wanted``, of which a bias takes at most 2^30 steps.

        Args:
            wanted: One, or one per channel.
            bias: That the product is to add, ``[channels]``.
        """
        least = np.abs(bias) / (self.input_scale * _LARGEST_BIAS)
        if self.weight.axis is None:
            least = least.max(initial=0.0, keepdims=True)
        found = np.maximum(wanted, least).astype(np.float32).astype(np.float64)
        if not self.in_float16:
            return found
        return np.array([held_by_float16(float(scale)) for scale in found])
