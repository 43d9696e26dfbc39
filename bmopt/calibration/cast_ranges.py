"""What is known about the values of a tensor, and whether half precision holds them."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from bmopt.core.ranges import Interval, RangeTable
from bmopt.graph.half_ports import HalfPorts
from bmopt.graph.values import constant_array, is_op

HEADROOM = 0.5
"""Share of a format's largest number that calibrated values may take: samples that calibration
has not seen go further, and engines round sums on their way."""

_STORED = {ir.DataType.INT8: 128.0, ir.DataType.UINT8: 255.0, ir.DataType.FLOAT8E4M3FN: 448.0}


class CastRanges:
    """The ranges of a model's tensors, from calibration or from what makes them."""

    def __init__(
        self, table: RangeTable | None, ports: HalfPorts, masks: Collection[ir.Value]
    ) -> None:
        self._table = {} if table is None else table.tensors
        self._ports = ports
        self._masks = masks
        self._limit = HEADROOM * ports.half.largest

    @property
    def limit(self) -> float:
        """The largest magnitude that values may have."""
        return self._limit

    def interval(self, value: ir.Value | None) -> Interval | None:
        """Return the finite range of a tensor, None where it is not known.

        Infinities are left out: half precision has them too.
        """
        if value is None:
            return None
        entry = self._table.get(value.name or "")
        if entry is not None:
            return Interval(entry.low, entry.high)
        return self._dequantized(value)

    def magnitude(self, value: ir.Value | None) -> float | None:
        """Return the largest magnitude of a tensor that is no mask, None where not known."""
        found = self.interval(value)
        if found is None:
            return None
        return abs(found.high) if value in self._masks else max(-found.low, found.high)

    def reason(self, node: ir.Node) -> str | None:
        """Say which tensor of the node half precision does not hold."""
        for value in (*node.inputs, *node.outputs):
            is_float = value is not None and self._ports.is_float(value)
            if value is not None and is_float and (reason := self._value_reason(value)):
                return reason
        if self._counts_beyond(node):
            integers = self._ports.half.integers
            return f"it reads integers beyond {integers}, which are not exact"
        return None

    def _value_reason(self, value: ir.Value) -> str | None:
        size = self.magnitude(value)
        if size is None or size == 0.0:
            return None
        if size > self._limit:
            return f"tensor {value.name!r} reaches {size:.4g}, the limit is {self._limit:.4g}"
        if size < self._ports.half.smallest_normal and value not in self._masks:
            return f"tensor {value.name!r} stays below {size:.2g}, where precision is lost"
        return None

    def _counts_beyond(self, node: ir.Node) -> bool:
        """Whether the node makes floats of large integers, or reads those."""
        return any(
            cast is not None
            and is_op(cast, "Cast")
            and self._ports.is_float(cast.outputs[0])
            and _is_integer(self._ports.dtype(cast.inputs[0]))
            and (self.magnitude(cast.outputs[0]) or 0.0) > self._ports.half.integers
            for cast in (node, *(v.producer() for v in node.inputs if v is not None))
        )

    def _dequantized(self, value: ir.Value) -> Interval | None:
        """Return what the stored type of a DequantizeLinear can hold at most."""
        node = value.producer()
        if node is None or not is_op(node, "DequantizeLinear"):
            return None
        bound = _STORED.get(self._ports.dtype(node.inputs[0]) or ir.DataType.UNDEFINED)
        scale = constant_array(node.inputs[1])
        if bound is None or scale is None or constant_array(node.inputs[0]) is not None:
            return None
        size = bound * float(np.abs(scale).max(initial=0.0))
        return Interval(-size, size)


def _is_integer(dtype: ir.DataType | None) -> bool:
    return dtype is not None and dtype.is_integer()
