"""What of a product can be learned: its whole numbers, and its bias."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from bmopt.calibration.learned.slot import Slot, slot_of
from bmopt.calibration.sequence.bias_home import BiasHome, bias_home
from bmopt.calibration.sequence.layer import is_matrix
from bmopt.core.corrections import Replacement
from bmopt.core.plan import WeightQuant
from bmopt.core.runner import Array
from bmopt.graph.products import Product, product_of

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Learnable:
    """A product of a quantised model.

    Attributes:
        product: The same in the float model.
        quant: How its weight is stored.
        weight: Where its weight lies.
        home: Where its bias is added, None where it cannot be changed.
        bias: Where that bias lies.
        read: Name of what the quantised product reads.
        output: Name of what it computes.
    """

    product: Product
    quant: WeightQuant
    weight: Slot
    home: BiasHome | None
    bias: Slot | None
    read: str
    output: str

    @property
    def name(self) -> str:
        """The product's name."""
        return self.product.node.name or ""

    @property
    def channel_axis(self) -> int:
        """The output's axis along which the output channels lie."""
        return 1 if self.product.node.op_type == "Conv" else -1

    @property
    def scales(self) -> Array:
        """Scales of the weight, to be broadcast against it, ``float32``."""
        scales = np.array(self.quant.scales, np.float32)
        shape = [1] * len(self.product.shape)
        if self.quant.axis is not None:
            shape[self.quant.axis] = -1
        return scales.reshape(shape)

    def spread_inputs(self, channels: Array) -> Array:
        """Return values of the channels that it reads, to be broadcast against the weight."""
        shape, groups = self.product.shape, self.product.groups
        if self.product.node.op_type != "Conv":
            return channels.reshape((1, -1) if self.product.axis == 0 else (-1, 1))
        by_group = channels.reshape(groups, -1).repeat(shape[0] // groups, axis=0)
        return by_group.reshape(shape[0], -1, *(1 for _ in shape[2:]))

    def ideal(self) -> Floats:
        """Return the float weight in steps of the stored one's scale.

        Refinement may have scaled channels: the whole numbers tell by how much.
        """
        weight, whole = self.product.weight().astype(np.float64), self.weight.whole()
        axes = tuple(i for i in range(weight.ndim) if i != self.product.axis)
        along = (weight * whole).sum(axis=axes, keepdims=True)
        power = (whole * whole).sum(axis=axes, keepdims=True)
        factor = np.where(along > 0, power / np.where(along > 0, along, 1.0), 0.0)
        return np.where(along > 0, weight * factor, whole)

    def replacements(self, learned: Learned) -> list[Replacement]:
        """Return the constants that the float model is to have."""
        weight = (learned.whole * self.scales).astype(np.float32)
        found = [Replacement(self.name, self.quant.input, weight)]
        if learned.bias is not None and self.home is not None:
            stored = learned.bias.astype(np.float32).reshape(self.home.shape)
            found.append(Replacement(self.home.node.name or "", self.home.input, stored))
        return found

    def stored(self, learned: Learned) -> dict[str, Array]:
        """Return the initialisers of the quantised model."""
        found = {self.weight.name: self.weight.of_whole(learned.whole)}
        if learned.bias is not None and self.bias is not None:
            found[self.bias.name] = self.bias.of_real(learned.bias)
        return found


@dataclasses.dataclass(frozen=True)
class Learned:
    """What was learned of a product.

    Attributes:
        whole: Whole numbers, in the weight's shape.
        bias: ``[channels]``, None where it has none that can be changed.
    """

    whole: Array
    bias: Floats | None


def learnable(
    node: ir.Node, quant: WeightQuant, stored: Mapping[str, ir.Node], within: frozenset[str]
) -> Learnable | None:
    """Return what of a product of the float model can be learned; None for nothing.

    Args:
        node: The product.
        quant: How its weight is stored.
        stored: The quantised model's nodes by name.
        within: Nodes that are run when it is learned: the bias has to be in one of them.
    """
    product = product_of(node)
    if product is None or quant.dtype not in ("int8", "uint8"):
        return None
    if not is_matrix(product):
        return None
    mine = stored[node.name or ""]
    weight = slot_of(mine, quant.input)
    if weight is None or weight.scales is None:
        return None
    home = bias_home(product)
    slot = None
    if home is not None and (home.node.name or "") in within:
        slot = slot_of(stored[home.node.name or ""], home.input)
    if slot is None or slot.stored.size != product.channels:
        home, slot = None, None
    data = mine.inputs[0]
    assert data is not None
    names = (data.name or "", mine.outputs[0].name or "")
    return Learnable(product, quant, weight, home, slot, *names)
