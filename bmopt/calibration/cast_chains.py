"""Chains of nodes that half precision would break as a whole: masks, guards, indices, angles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import onnx_ir as ir

from bmopt.calibration.cast_constants import flushes
from bmopt.calibration.cast_ranges import CastRanges
from bmopt.graph.half_format import HalfFormat
from bmopt.graph.half_ports import HalfPorts
from bmopt.graph.values import constant_array, is_op

_SHAPING = (
    *("Concat", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split"),
    *("Squeeze", "Tile", "Transpose", "Unsqueeze"),
)
_MASKING = ("Add", "Mul", "Trilu", "Where", *_SHAPING)
_GUARDED = ("Div", "Log", "Pow", "Reciprocal")
_ON_THE_WAY = ("Sqrt", *_SHAPING)
_ARITHMETIC = (
    *("Abs", "Add", "Cast", "Ceil", "Clip", "Div", "Floor", "Max", "Min", "Mod", "Mul", "Neg"),
    *("Range", "Round", "Sqrt", "Sub", "Where", *_SHAPING),
)
_ANGLE_LIMIT = 16.0
"""Beyond this, float16 rounds an angle by more than a hundredth."""


def masks(nodes: Sequence[ir.Node], half: HalfFormat) -> frozenset[ir.Value]:
    """Return the tensors that carry a huge negative number to nothing but a Softmax.

    There any number far below the scores does, so the constant may be clamped.
    """
    found: set[ir.Value] = set()
    for value in _beyond(nodes, half):
        carried = _carried(value)
        if carried is not None:
            found |= carried
    return frozenset(found)


def guard_nodes(nodes: Sequence[ir.Node], ports: HalfPorts) -> dict[ir.Node, str]:
    """Return the nodes between a constant that would become zero and what it guards."""
    found: dict[ir.Node, str] = {}
    for node in nodes:
        if _adds_guard(node, ports.half):
            reason = f"it guards a division with a number that {ports.half.name} has not"
            found |= dict.fromkeys(_guarded(node), reason)
    return found


def exact_nodes(
    nodes: Sequence[ir.Node], ports: HalfPorts, ranges: CastRanges
) -> dict[ir.Node, str]:
    """Return the arithmetic behind floats that become integers, and behind large angles."""
    found: dict[ir.Node, str] = {}
    for node in nodes:
        if is_op(node, "Cast") and _makes_integers(node, ports):
            reason = "its result becomes an integer"
        elif is_op(node, "Sin", "Cos", "Tan") and _is_wide(node, ranges):
            reason = "it computes angles, which rounding would turn"
        elif is_op(node, "GridSample", "RoiAlign", "AffineGrid", "NonMaxSuppression"):
            reason = "it reads coordinates"
        else:
            continue
        found[node] = reason
        for index in _exact_inputs(node):
            found |= dict.fromkeys(_behind(node.inputs[index], ports), reason)
    return found


def _beyond(nodes: Iterable[ir.Node], half: HalfFormat) -> Iterable[ir.Value]:
    """Yield constants that are beyond the format downwards only."""
    values = {value for node in nodes for value in node.inputs if value is not None}
    for value in sorted(values, key=lambda v: v.name or ""):
        array = constant_array(value)
        if array is not None and _is_mask(array, half):
            yield value
    for node in nodes:
        attribute = node.attributes.get("value") if is_op(node, "ConstantOfShape") else None
        if attribute is not None and _is_mask(attribute.as_tensor().numpy(), half):
            yield node.outputs[0]


def _is_mask(array: object, half: HalfFormat) -> bool:
    if not isinstance(array, np.ndarray) or array.dtype != np.float32:
        return False
    beyond = half.overflows(array)
    return bool(beyond.any()) and not bool((beyond & (array > 0)).any())


def _carried(start: ir.Value) -> set[ir.Value] | None:
    """Return the tensors from ``start`` to the Softmax nodes, None if it goes elsewhere too."""
    found, stack, reached = {start}, [start], False
    while stack:
        value = stack.pop()
        if value.is_graph_output():
            return None
        for node, _ in value.uses():
            if is_op(node, "Softmax", "LogSoftmax"):
                reached = True
            elif is_op(node, *_MASKING):
                new = [out for out in node.outputs if out not in found]
                found.update(new)
                stack.extend(new)
            else:
                return None
    return found if reached else None


def _adds_guard(node: ir.Node, half: HalfFormat) -> bool:
    if not is_op(node, "Add", "Clip", "Max"):
        return False
    arrays = [(i, constant_array(value)) for i, value in enumerate(node.inputs)]
    return any(a is not None and flushes(node, i, a, half) for i, a in arrays)


def _guarded(guard: ir.Node) -> list[ir.Node]:
    """Return ``guard`` and the nodes up to those that divide by it, nothing without those."""
    found, stack, divides = {guard: None}, [guard], False
    while stack:
        for out in stack.pop().outputs:
            for node, index in out.uses():
                if is_op(node, *_GUARDED) and (index == 1 or not is_op(node, "Div")):
                    divides = True
                    found[node] = None
                elif is_op(node, *_ON_THE_WAY) and node not in found:
                    found[node] = None
                    stack.append(node)
    return list(found) if divides else []


def _makes_integers(node: ir.Node, ports: HalfPorts) -> bool:
    to = ir.DataType(node.attributes.get_int("to", 0))
    return to.is_integer() and ports.is_float(node.inputs[0])


def _is_wide(node: ir.Node, ranges: CastRanges) -> bool:
    size = ranges.magnitude(node.inputs[0])
    return size is None or size > _ANGLE_LIMIT


def _exact_inputs(node: ir.Node) -> Sequence[int]:
    """Return the inputs of a node that must be exact."""
    if is_op(node, "GridSample", "RoiAlign"):
        return (1,)
    if is_op(node, "NonMaxSuppression"):
        return (0,)
    return range(len(node.inputs))


def _behind(value: ir.Value | None, ports: HalfPorts) -> list[ir.Node]:
    """Return the float32 arithmetic that ``value`` comes from, up to what is no arithmetic."""
    found: dict[ir.Node, None] = {}
    stack = [value]
    while stack:
        current = stack.pop()
        node = None if current is None or not ports.is_float(current) else current.producer()
        if node is not None and node not in found and is_op(node, *_ARITHMETIC):
            found[node] = None
            stack.extend(node.inputs)
    return list(found)
