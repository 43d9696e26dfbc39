"""Op -> the sizes of the axes that it produces, from what is known of those that it reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx_ir as ir

from bmopt.graph.values import constant_array
from bmopt.optimizer.shapes.symbolic import (
    Item,
    Product,
    divide,
    is_named,
    is_size,
    multiply_all,
    symbol,
)
from bmopt.optimizer.shapes.values import ShapeValues

_BROADCAST = (
    "Add", "And", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Div", "Equal", "Greater",
    "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul", "Or", "Pow",
    "Sub", "Sum", "Where", "Xor",
)  # fmt: skip
_MATRIX_RANK = 2
_UNKNOWN = symbol("?")


def _constant_of_shape(node: ir.Node, values: ShapeValues) -> Sequence[Item] | None:
    target = values.of(node.inputs[0])
    return None if target is None or target.is_scalar else target.items


def _expand(node: ir.Node, values: ShapeValues) -> Sequence[Item] | None:
    data, target = values.dims(node.inputs[0]), values.of(node.inputs[1])
    if target is None or target.is_scalar or data is None:
        return None
    return _broadcast(data, target.items)


def _reshape(node: ir.Node, values: ShapeValues) -> Sequence[Item] | None:
    target = values.of(node.inputs[1]) if len(node.inputs) > 1 else None
    if target is None or target.is_scalar:
        return None
    copies = not node.attributes.get_int("allowzero", 0)
    return _reshaped(target.items, values.dims(node.inputs[0]), copies=copies)


def _reshaped(
    target: Sequence[Item], data: Sequence[Item] | None, *, copies: bool
) -> list[Item] | None:
    sizes: list[Item] = []
    for axis, item in enumerate(target):
        copied = copies and item == 0
        if copied and (data is None or axis >= len(data)):
            return None
        sizes.append(data[axis] if copied and data is not None else item)
    if -1 not in sizes:
        return sizes
    at = sizes.index(-1)
    rest = multiply_all([*sizes[:at], *sizes[at + 1 :]])
    found = None if data is None else divide(multiply_all(data), rest)
    sizes[at] = Product(1, (f"?{id(sizes)}",)) if found is None else found
    return sizes


def _elementwise(node: ir.Node, values: ShapeValues) -> Sequence[Item] | None:
    return _all_broadcast([values.dims(value) for value in node.inputs])


def _matmul(node: ir.Node, values: ShapeValues) -> Sequence[Item] | None:
    left, right = (values.dims(value) for value in node.inputs)
    if left is None or right is None or min(len(left), len(right)) < _MATRIX_RANK:
        return None
    return [*_broadcast(left[:-2], right[:-2]), left[-2], right[-1]]


def _pad(node: ir.Node, values: ShapeValues) -> Sequence[Item] | None:
    """What is not padded stays as long."""
    data = values.dims(node.inputs[0])
    pads = constant_array(node.inputs[1]) if len(node.inputs) in (2, 3) else None
    if data is None or pads is None or len(pads) != 2 * len(data):
        return None
    added = (pads[: len(data)] + pads[len(data) :]).tolist()
    return [
        size if more == 0 else size + more if isinstance(size, int) else _UNKNOWN
        for size, more in zip(data, added, strict=True)
    ]


def _concat(node: ir.Node, values: ShapeValues) -> Sequence[Item] | None:
    """All but the axis along which they are joined is as long in all."""
    sizes = [values.dims(value) for value in node.inputs]
    known = [one for one in sizes if one is not None]
    if len(known) != len(sizes) or len(set(map(len, known))) != 1 or not known[0]:
        return None
    found = [next((s for s in axis if is_named(s)), axis[0]) for axis in zip(*known, strict=True)]
    axis = node.attributes["axis"].as_int() % len(found)
    joined = [one[axis] for one in known]
    numbers = [size for size in joined if isinstance(size, int)]
    found[axis] = sum(numbers) if len(numbers) == len(joined) else _UNKNOWN
    return found


def _slice(node: ir.Node, values: ShapeValues) -> Sequence[Item] | None:
    """What is not sliced stays as long."""
    data = values.dims(node.inputs[0])
    axes = constant_array(node.inputs[3]) if len(node.inputs) > 3 else None
    if data is None or axes is None:
        return None
    sliced = {int(axis) % len(data) for axis in axes.reshape(-1)}
    return [_UNKNOWN if axis in sliced else size for axis, size in enumerate(data)]


def _range(node: ir.Node, values: ShapeValues) -> Sequence[Item] | None:
    """From nothing, one by one."""
    start, limit, step = (values.of(value) for value in node.inputs)
    if start is None or limit is None or step is None:
        return None
    is_plain = start.items == (0,) and step.items == (1,) and is_size(limit.items[0])
    return limit.items if is_plain else None


def _resize(node: ir.Node, values: ShapeValues) -> Sequence[Item] | None:
    target = values.of(node.inputs[3]) if len(node.inputs) > 3 else None
    is_plain = not {"axes", "keep_aspect_ratio_policy"} & set(node.attributes)
    return target.items if target is not None and not target.is_scalar and is_plain else None


def _as_data(node: ir.Node, values: ShapeValues) -> Sequence[Item] | None:
    return values.dims(node.inputs[0])


def _all_broadcast(sizes: Sequence[Sequence[Item] | None]) -> list[Item] | None:
    found: list[Item] = []
    for one in sizes:
        if one is None:
            return None
        found = _broadcast(found, one)
    return found


def _broadcast(left: Sequence[Item], right: Sequence[Item]) -> list[Item]:
    rank = max(len(left), len(right))
    padded = [[*[1] * (rank - len(side)), *side] for side in (left, right)]
    return [a if b in (1, a) else b if a == 1 else _UNKNOWN for a, b in zip(*padded, strict=True)]


SIZES: dict[str, Callable[[ir.Node, ShapeValues], Sequence[Item] | None]] = {
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "GroupNormalization": _as_data,
    "MatMul": _matmul,
    "Pad": _pad,
    "Range": _range,
    "Reshape": _reshape,
    "Resize": _resize,
    "Slice": _slice,
    **dict.fromkeys(_BROADCAST, _elementwise),
}
"""Rules; None where nothing is known, and symbols that start with ``?`` for unknown sizes."""
