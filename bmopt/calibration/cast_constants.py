"""Constants that half precision does not hold, and whether that matters."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx_ir as ir

from bmopt.core.runner import Array
from bmopt.graph.half_format import HalfFormat
from bmopt.graph.half_ports import HalfPorts
from bmopt.graph.values import constant_array, is_op

_ELEMENTWISE = frozenset({"Add", "Clip", "Div", "Max", "Min", "Mul", "Pow", "Sub", "Where"})
"""Ops for which a constant that becomes zero makes a difference; in a weight or bias it is lost
in the sum."""

_NORMS = ("BatchNormalization", "InstanceNormalization", "MeanVarianceNormalization")


def constant_reason(node: ir.Node, ports: HalfPorts, masks: Collection[ir.Value]) -> str | None:
    """Say which constant of the node half precision does not hold."""
    for index in ports.ports(node).inputs:
        value = node.inputs[index]
        array = constant_array(value)
        if value is None or array is None or array.size == 0 or _is_scale(node, index):
            continue
        if value not in masks and bool(ports.half.overflows(array).any()):
            return f"constant {value.name!r} holds {_largest(array):.4g}, beyond {ports.half.name}"
        if flushes(node, index, array, ports.half):
            return f"constant {value.name!r} would become zero"
    return _filled_reason(node, ports, masks) or _variance_reason(node, ports)


def flushes(node: ir.Node, index: int, array: Array, half: HalfFormat) -> bool:
    """Whether constant input ``index`` becomes zero in half precision, and that matters."""
    if node.op_type not in _ELEMENTWISE:
        return False
    flushed = half.flushes(array)
    if is_op(node, "Div") and index == 1:
        return bool(flushed.any())
    return bool(flushed.any()) and bool((flushed | (array == 0)).all())


def _is_scale(node: ir.Node, index: int) -> bool:
    return is_op(node, "QuantizeLinear", "DequantizeLinear") and index == 1


def _largest(array: Array) -> float:
    finite = array[np.isfinite(array)].astype(np.float64)
    return float(finite[np.abs(finite).argmax()])


def _filled_reason(node: ir.Node, ports: HalfPorts, masks: Collection[ir.Value]) -> str | None:
    """Say what is wrong with the number that a ConstantOfShape fills in."""
    attribute = node.attributes.get("value")
    if not is_op(node, "ConstantOfShape") or attribute is None or node.outputs[0] in masks:
        return None
    array = attribute.as_tensor().numpy()
    if bool((ports.half.overflows(array) | ports.half.flushes(array)).any()):
        return f"it fills in {float(array.reshape(-1)[0]):.4g}, which {ports.half.name} has not"
    return None


def _variance_reason(node: ir.Node, ports: HalfPorts) -> str | None:
    """Say whether the variance of a BatchNormalization, or its epsilon, loses its precision."""
    half, folded = (
        ports.half,
        is_op(node, "BatchNormalization") and 4 not in ports.ports(node).inputs,
    )
    if folded or not is_op(node, *_NORMS):
        return None
    epsilon = np.array(node.attributes.get_float("epsilon", 1e-5), np.float32)
    if bool(half.flushes(epsilon)):
        return f"its epsilon {float(epsilon):.2g} would become zero"
    variance = constant_array(node.inputs[4]) if is_op(node, "BatchNormalization") else None
    if variance is None:
        return None
    lost = np.abs(half.round(variance).astype(np.float32) - variance)
    if bool((lost > 2 / half.integers * np.abs(variance + epsilon)).any()):
        return f"its variance falls to {float(variance.min()):.2g}, where precision is lost"
    return None
