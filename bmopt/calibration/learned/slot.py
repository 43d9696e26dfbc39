"""Where a quantised model keeps a constant, and in what form."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from bmopt.core.runner import Array
from bmopt.graph.values import constant_array, is_op


@dataclasses.dataclass(frozen=True)
class Slot:
    """An initialiser that one node alone reads, directly or through a DQ.

    Attributes:
        name: The initialiser's name.
        stored: What it holds.
        scales: Of the DQ, to be broadcast against ``stored``; None without one.
        middle: The DQ's zero point.
    """

    name: str
    stored: Array
    scales: Array | None = None
    middle: int = 0

    def real(self) -> npt.NDArray[np.float64]:
        """Return the values that the node reads."""
        whole = self.whole()
        return whole if self.scales is None else whole * self.scales

    def whole(self) -> npt.NDArray[np.float64]:
        """Return the stored values less the zero point."""
        return self.stored.astype(np.float64) - self.middle

    def of_whole(self, whole: Array) -> Array:
        """Return what is stored for whole numbers."""
        found: Array = (whole + self.middle).astype(self.stored.dtype)
        return found

    def of_real(self, real: Array) -> Array:
        """Return what is stored for real values of any shape of that size."""
        shaped = real.reshape(self.stored.shape)
        if self.scales is None:
            return shaped.astype(self.stored.dtype)
        bounds = np.iinfo(self.stored.dtype)
        return self.of_whole(np.rint(shaped / self.scales).clip(bounds.min, bounds.max))


def slot_of(node: ir.Node, index: int) -> Slot | None:
    """Return where the node's constant input lies; None where other nodes read it too."""
    value = node.inputs[index] if index < len(node.inputs) else None
    if value is None or len(tuple(value.uses())) != 1:
        return None
    reader = value.producer()
    if reader is None:
        array = constant_array(value)
        return None if array is None else Slot(value.name or "", array)
    source = reader.inputs[0]
    if not is_op(reader, "DequantizeLinear") or source is None or source.producer() is not None:
        return None
    stored, scales = constant_array(source), constant_array(reader.inputs[1])
    if stored is None or scales is None or len(tuple(source.uses())) != 1:
        return None
    zero = constant_array(reader.inputs[2]) if len(reader.inputs) > 2 else None
    shape = [1] * stored.ndim
    if scales.size > 1:
        shape[reader.attributes.get_int("axis", 1)] = -1
    middle = 0 if zero is None else int(zero.reshape(-1)[0])
    return Slot(source.name or "", stored, scales.reshape(shape).astype(np.float64), middle)
