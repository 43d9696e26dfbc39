"""Where the operands of a product come from: back from a kernel's input to its DequantizeLinear.

The engine moves a DequantizeLinear behind ops that only move or select values, so those do not
keep a product from 8 bits. Which ops it sees through was observed in TensorRT-RTX's kernels.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

from bmopt.backends.nvinfer.linted import (
    Linted,
    Shape,
    constant_of,
    input_of,
    is_computed_from_constants,
)

MOVERS = frozenset(
    {
        "Cast",
        "DepthToSpace",
        "Expand",
        "Flatten",
        "Gather",
        "GlobalMaxPool",
        "Identity",
        "MaxPool",
        "Pad",
        "ReduceMax",
        "Reshape",
        "Slice",
        "SpaceToDepth",
        "Split",
        "Squeeze",
        "Transpose",
        "Unsqueeze",
    }
)
"""Ops that leave every value of their first input as it is, or drop it."""

LOST = -1
"""The channels of the scales no longer lie along one axis."""

_REGROUPING = frozenset({"Flatten", "Reshape", "Squeeze", "Unsqueeze"})
_ALIGNED = frozenset({"Cast", "Identity", "MaxPool", "Mul", "Pad"})


@dataclasses.dataclass(frozen=True)
class Operand:
    """An input of a product.

    Attributes:
        value: The input.
        dq: The DequantizeLinear that its values come from; None where they are float.
        dtype: Element type behind ``dq``.
        axis: Axis of ``value`` along which scales differ; None for one scale.
        constant: Whether it is a weight: known when the engine is built.
        fixed: Whether the scales are.
        blocker: What stands between an earlier DequantizeLinear and the product, if that is
            why the values are float.
    """

    value: ir.Value
    dq: ir.Node | None
    dtype: ir.DataType | None
    axis: int | None
    constant: bool
    fixed: bool
    blocker: ir.Node | None = None

    @property
    def eight_bits(self) -> bool:
        """Whether it is stored in 8 bits."""
        return self.dtype in (ir.DataType.INT8, ir.DataType.FLOAT8E4M3FN)

    @property
    def four_bits(self) -> bool:
        """Whether it is stored in 4 bits."""
        return self.dtype in (ir.DataType.INT4, ir.DataType.FLOAT4E2M1)

    @property
    def scale_rank(self) -> int:
        """Rank of the scales; 0 where it is not known."""
        tensor = None if self.dq is None else constant_of(self.dq.inputs[1])
        return 0 if tensor is None else len(tensor.shape)


def operand_of(facts: Linted, value: ir.Value) -> Operand:
    """Return what is known of the input ``value`` of a product."""
    constant = is_computed_from_constants(value)
    path, end, blocker = _back(value)
    if end is None:
        return Operand(value, None, None, None, constant, fixed=True, blocker=blocker)
    fixed = is_computed_from_constants(end.inputs[1])
    axis = _scale_axis(facts, end)
    for node in reversed(path):
        axis = _axis_behind(facts, node, axis)
    return Operand(value, end, stored_type(facts, end), axis, constant, fixed)


def stored_type(facts: Linted, dq: ir.Node) -> ir.DataType | None:
    """Return the 8-bit or 4-bit type that a DequantizeLinear reads, as the engine stores it."""
    dtype = facts.dtype(dq.inputs[0]) or facts.dtype(input_of(dq, 2))
    return ir.DataType.INT8 if dtype == ir.DataType.UINT8 else dtype


def _back(value: ir.Value) -> tuple[list[ir.Node], ir.Node | None, ir.Node | None]:
    """Return the movers behind ``value``, the DequantizeLinear behind them, or what is not one."""
    path: list[ir.Node] = []
    node = value.producer()
    while node is not None and node.op_type != "DequantizeLinear":
        source = None if _is_second_cast(node, path) else _moved_input(node)
        if source is None:
            behind = any(source is not None for source in _sources(node.inputs))
            return [], None, node if behind else None
        path.append(node)
        node = source.producer()
    return path, node, None


def _is_second_cast(node: ir.Node, path: list[ir.Node]) -> bool:
    """Whether two casts are on the way: rounding to half precision and back is no move."""
    return node.op_type == "Cast" and any(mover.op_type == "Cast" for mover in path)


def _moved_input(node: ir.Node) -> ir.Value | None:
    """Return the input whose values ``node`` hands on; None where it computes new ones."""
    moved = _moved_inputs(node)
    if not moved or (node.op_type == "Concat" and not concat_shares_scale(node)):
        return None
    return moved[0]


def _moved_inputs(node: ir.Node) -> list[ir.Value]:
    if node.op_type == "Concat":
        return [value for value in node.inputs if value is not None]
    moved = _scaled_input(node) if node.op_type == "Mul" else None
    if node.op_type in MOVERS:
        moved = node.inputs[0]
    return [] if moved is None else [moved]


def _sources(values: Iterable[ir.Value | None]) -> list[ir.Node | None]:
    """Return the DequantizeLinear nodes behind ``values``, None for each value from elsewhere."""
    found: list[ir.Node | None] = []
    stack, seen = list(values), set[int]()
    while stack:
        value = stack.pop()
        if value is None or id(value) in seen:
            continue
        seen.add(id(value))
        node = value.producer()
        moved = [] if node is None or node.op_type == "DequantizeLinear" else _moved_inputs(node)
        if not moved:
            is_dq = node is not None and node.op_type == "DequantizeLinear"
            found.append(node if is_dq else None)
        stack.extend(moved)
    return found


def _scaled_input(node: ir.Node) -> ir.Value | None:
    """Return what a Mul by a constant number multiplies, which changes the scale alone."""
    values = [value for value in node.inputs if constant_of(value) is None]
    numbers = [tensor for tensor in map(constant_of, node.inputs) if tensor is not None]
    return values[0] if len(values) == 1 and all(t.size == 1 for t in numbers) else None


def concat_shares_scale(node: ir.Node) -> bool:
    """Whether every input of a Concat comes from a DequantizeLinear of the same scale."""
    ends = _sources(node.inputs)
    scales = [None if end is None else constant_of(end.inputs[1]) for end in ends]
    first = scales[0]
    return first is not None and all(
        scale is not None and np.array_equal(scale.numpy(), first.numpy()) for scale in scales
    )


def _scale_axis(facts: Linted, dq: ir.Node) -> int | None:
    sizes = facts.shape(dq.inputs[1])
    if sizes is None or math.prod(sizes) == 1:
        return None
    shape = facts.shape(dq.inputs[0])
    axis = dq.attributes.get_int("axis", 1)
    return LOST if shape is None else axis % len(shape)


def _axis_behind(facts: Linted, node: ir.Node, axis: int | None) -> int | None:
    if axis is None or axis == LOST or node.op_type in _ALIGNED:
        return axis
    if node.op_type == "Transpose":
        return _transposed(facts, node, axis)
    if node.op_type in _REGROUPING:
        return _regrouped(facts.shape(node.inputs[0]), facts.shape(node.outputs[0]), axis)
    return LOST


def _transposed(facts: Linted, node: ir.Node, axis: int) -> int:
    shape = facts.shape(node.inputs[0])
    default = [] if shape is None else list(reversed(range(len(shape))))
    order = list(node.attributes.get_ints("perm", default))
    return order.index(axis) if axis in order else LOST


def _regrouped(before: Shape | None, after: Shape | None, axis: int) -> int:
    """Return where an axis is after a reshape: the one of equal size with as much in front."""
    if before is None or after is None:
        return LOST
    front = math.prod(before[:axis])
    places = [
        place
        for place, size in enumerate(after)
        if size == before[axis] and math.prod(after[:place]) == front
    ]
    return places[0] if places else LOST
