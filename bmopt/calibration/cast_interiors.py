"""Ops that square or sum up inside, where half precision overflows before their output does.

Engines may accumulate in half precision unless the op says otherwise. LayerNormalization,
RMSNormalization and GroupNormalization do say (``stash_type`` is float32 by default), products
accumulate in float32 in every engine.
"""

from __future__ import annotations

import math

import onnx_ir as ir

from bmopt.calibration.cast_ranges import CastRanges
from bmopt.graph.half_ports import HalfPorts
from bmopt.graph.values import constant_array, is_op

_SQUARING = frozenset(
    {
        *("InstanceNormalization", "LRN", "LpNormalization", "LpPool", "GlobalLpPool"),
        *("MeanVarianceNormalization", "ReduceL2", "ReduceSumSquare"),
    }
)
_STASHING = frozenset({"GroupNormalization", "LayerNormalization", "RMSNormalization"})
_AVERAGING = frozenset({"AveragePool", "GlobalAveragePool", "ReduceMean"})
_ACCUMULATING = frozenset({"CumSum", "CumProd"})


def interior_reason(node: ir.Node, ports: HalfPorts, ranges: CastRanges) -> str | None:
    """Say what would overflow inside the node, or how it loses count."""
    if node.op_type in _ACCUMULATING:
        return f"it adds up in order, and counts to {ports.half.integers} only"
    if node.op_type in _SQUARING or (
        node.op_type in _STASHING and node.attributes.get_int("stash_type", 1) != 1
    ):
        size = ranges.magnitude(node.inputs[0])
        if size is not None and size * size > ranges.limit:
            return f"it squares values up to {size:.4g}"
    if node.op_type in _AVERAGING:
        return _sum_reason(node, ports, ranges)
    return None


def _sum_reason(node: ir.Node, ports: HalfPorts, ranges: CastRanges) -> str | None:
    """Say whether a mean, before the division, is beyond."""
    size, count = ranges.magnitude(node.outputs[0]), _averaged(node, ports)
    if size is not None and count is not None and size * count > ranges.limit:
        return f"it sums {count} values to {size * count:.4g} before it divides"
    return None


def _averaged(node: ir.Node, ports: HalfPorts) -> int | None:
    """Return how many values each mean is of, at size 1 of dynamic axes; None if not known."""
    if is_op(node, "AveragePool"):
        return math.prod(node.attributes.get_ints("kernel_shape", ()))
    shape = ports.shape(node.inputs[0])
    if shape is None:
        return None
    if is_op(node, "GlobalAveragePool"):
        return math.prod(shape[2:])
    axes = node.attributes.get_ints("axes") or _axes_input(node)
    if axes is None:
        return math.prod(shape)
    return math.prod(shape[axis] for axis in axes)


def _axes_input(node: ir.Node) -> tuple[int, ...] | None:
    array = constant_array(node.inputs[1]) if len(node.inputs) > 1 else None
    return None if array is None else tuple(int(axis) for axis in array.reshape(-1))
