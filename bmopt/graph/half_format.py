"""What the two half-precision formats can hold."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir

from bmopt.core.cast_plan import HalfType
from bmopt.core.runner import Array


@dataclasses.dataclass(frozen=True)
class HalfFormat:
    """A 16-bit float format.

    Attributes:
        name: ``"float16"`` or ``"bfloat16"``.
        dtype: As an element type of the IR.
        largest: Largest finite number.
        smallest_normal: Below this, precision is lost.
        integers: Every integer up to this is exact.
    """

    name: HalfType
    dtype: ir.DataType
    largest: float
    smallest_normal: float
    integers: int

    @classmethod
    def of(cls, name: HalfType) -> HalfFormat:
        """Return the format ``name``."""
        if name == "float16":
            return cls(name, ir.DataType.FLOAT16, 65504.0, 2.0**-14, 2**11)
        return cls(name, ir.DataType.BFLOAT16, (2 - 2.0**-7) * 2.0**127, 2.0**-126, 2**8)

    def round(self, array: Array) -> Array:
        """Return ``array`` in this format; what is beyond becomes infinite."""
        with np.errstate(over="ignore"):
            rounded: Array = array.astype(self.dtype.numpy())
        return rounded

    def overflows(self, array: Array) -> Array:
        """Return where a finite number would become infinite."""
        beyond: Array = np.isfinite(array) & ~np.isfinite(self.round(array).astype(np.float32))
        return beyond

    def flushes(self, array: Array) -> Array:
        """Return where a number that is not zero would become zero."""
        flushed: Array = (array != 0) & (self.round(array).astype(np.float32) == 0)
        return flushed

    def saturate(self, array: Array) -> Array:
        """Return ``array`` in this format; finite numbers beyond it become half its largest.

        Such numbers mask something out. Half the largest, because scores are added to them, and
        a row in which all is masked must not end in infinity minus infinity.
        """
        rounded = self.round(array)
        bound = np.copysign(self.largest / 2, array)
        return np.where(self.overflows(array), bound.astype(rounded.dtype), rounded)

    def round_scale(self, array: Array) -> Array:
        """Return the positive ``array`` in this format, to nearest; subnormal numbers go up.

        Half precision has few digits for those, and none must become zero.
        """
        rounded = self.round(array)
        above = np.nextafter(rounded, rounded.dtype.type(np.inf))
        small = (array < self.smallest_normal) & (rounded.astype(np.float32) < array)
        return np.where(small, above, rounded)
