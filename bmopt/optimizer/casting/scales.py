"""Scales of Q/DQ nodes in half precision.

TensorRT-RTX writes half precision from its integer matrix kernels only if the scales are half
precision; with float32 scales and a Cast, or with ``output_dtype``, they write float32.

A scale that half precision has few digits for is rounded up, so that it does not become zero,
and stored integers are rounded anew for their new scale. Their error stays half a step of it.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from bmopt.core.runner import Array
from bmopt.graph.half_format import HalfFormat
from bmopt.graph.values import constant_array, constant_tensor, is_op
from bmopt.optimizer.rewrite import add_constant

_RESTORED = (
    *(ir.DataType.INT8, ir.DataType.UINT8, ir.DataType.INT32),
    ir.DataType.FLOAT8E4M3FN,
)

_LARGEST_FLOAT8 = 448.0


class Scales:
    """Converts the scales of Q/DQ nodes, each constant once."""

    def __init__(self, graph: ir.Graph, half: HalfFormat) -> None:
        self._graph = graph
        self._half = half
        self._scales: dict[ir.Value, ir.Value] = {}
        self._stored: dict[tuple[ir.Value, ir.Value, int], ir.Value] = {}

    def convert(self, node: ir.Node) -> bool:
        """Give a Q or DQ node its scale in half precision; False where it is not constant."""
        scale = node.inputs[1]
        exact = constant_array(scale)
        if scale is None or exact is None:
            return False
        if scale not in self._scales:
            rounded = self._half.round_scale(np.asarray(exact))
            name = f"{scale.name}_{self._half.name}"
            self._scales[scale] = add_constant(self._graph, name, rounded)
        node.replace_input_with(1, self._scales[scale])
        if is_op(node, "DequantizeLinear") and not node.attributes.get_int("block_size", 0):
            self._restore(node, scale, np.asarray(exact))
        return True

    def _restore(self, node: ir.Node, scale: ir.Value, exact: Array) -> None:
        """Round the integers that ``node`` reads for its new scale, if they are constant."""
        stored = node.inputs[0]
        tensor = constant_tensor(stored)
        if stored is None or tensor is None or tensor.dtype not in _RESTORED:
            return
        axis = node.attributes.get_int("axis", 1)
        key = (stored, scale, axis)
        if key not in self._stored:
            rounded = constant_array(self._scales[scale])
            assert rounded is not None
            zero = constant_array(node.inputs[2]) if len(node.inputs) > 2 else None
            ratio = exact.astype(np.float64) / rounded.astype(np.float64)
            again = _restored(tensor.numpy(), ratio, zero, axis)
            if np.array_equal(again, tensor.numpy()):
                self._stored[key] = stored
            else:
                self._stored[key] = add_constant(self._graph, f"{stored.name}_restored", again)
        node.replace_input_with(0, self._stored[key])


def _restored(stored: Array, ratio: Array, zero: Array | None, axis: int) -> Array:
    """Return ``stored`` times ``ratio`` around the zero point, in the same type."""
    shape = [1] * stored.ndim
    if ratio.size > 1:
        shape[axis] = -1
    middle = np.zeros(()) if zero is None else zero.astype(np.float64)
    middle = middle.reshape(shape if middle.size > 1 else ())
    ratio = ratio.reshape(shape if ratio.size > 1 else ())
    scaled = (stored.astype(np.float64) - middle) * ratio + middle
    if stored.dtype.kind in "iu":
        bounds = np.iinfo(stored.dtype)
        again: Array = np.rint(scaled).clip(bounds.min, bounds.max).astype(stored.dtype)
        return again
    float8: Array = scaled.clip(-_LARGEST_FLOAT8, _LARGEST_FLOAT8).astype(stored.dtype)
    return float8
