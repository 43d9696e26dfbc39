"""How each op computes shape elements: one small rule an op, in a table."""

from __future__ import annotations

from collections.abc import Callable

import onnx_ir as ir

from bmopt.optimizer.shapes.symbolic import Item, add, divide, is_equal, multiply, multiply_all
from bmopt.optimizer.shapes.values import (
    MAX_ELEMENTS,
    Elements,
    ShapeValues,
    holds_integers,
    nodes_in_order,
    unknown_item,
)

Rule = Callable[[ir.Node, ShapeValues], Elements | None]


def read_shape_values(
    model: ir.Model, visit: Callable[[ir.Node, ShapeValues], None] | None = None
) -> ShapeValues:
    """Return what is known of every small integer tensor of ``model``.

    Args:
        model: The model, with shapes as far as they are known.
        visit: Called with every node, in order, when the values of its inputs are known.
    """
    values = ShapeValues()
    for node in nodes_in_order(model.graph):
        if visit is not None:
            visit(node, values)
        rule = RULES.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        if (rule is not None and node.op_type in _SIZES) or (
            rule is not None and holds_integers(node.outputs[0])
        ):
            values.learn(node.outputs[0], rule(node, values))
    return values


def _shape(node: ir.Node, values: ShapeValues) -> Elements | None:
    dims = values.dims(node.inputs[0])
    if dims is None:
        return None
    start, end = node.attributes.get_int("start", 0), node.attributes.get_int("end", len(dims))
    return Elements(dims[slice(start, end)])


def _size(node: ir.Node, values: ShapeValues) -> Elements | None:
    dims = values.dims(node.inputs[0])
    return None if dims is None else Elements((multiply_all(dims),), is_scalar=True)


def _same(node: ir.Node, values: ShapeValues) -> Elements | None:
    return values.of(node.inputs[0])


def _cast(node: ir.Node, values: ShapeValues) -> Elements | None:
    source = values.of(node.inputs[0])
    if source is None or not holds_integers(node.outputs[0]):
        return None
    if node.outputs[0].dtype == ir.DataType.BOOL:
        numbers = source.numbers()
        known = None if numbers is None else tuple(int(n != 0) for n in numbers)
        return None if known is None else Elements(known, source.is_scalar)
    return source


def _gather(node: ir.Node, values: ShapeValues) -> Elements | None:
    data, indices = values.of(node.inputs[0]), values.of(node.inputs[1])
    numbers = None if indices is None else indices.numbers()
    if data is None or data.is_scalar or indices is None or numbers is None:
        return None
    size = len(data.items)
    if any(not -size <= n < size for n in numbers):
        return None
    return Elements(tuple(data.items[n] for n in numbers), indices.is_scalar)


def slice_inputs(node: ir.Node, values: ShapeValues) -> list[Elements | None]:
    """Return starts, ends, axes and steps; as attributes before opset 10."""
    if "starts" not in node.attributes:
        return [values.of(v) for v in [*node.inputs[1:], *[None] * 4][:4]]
    names = ("starts", "ends", "axes")
    lists = [node.attributes.get_ints(name) for name in names]
    return [*(None if ints is None else Elements(tuple(ints)) for ints in lists), None]


def _slice(node: ir.Node, values: ShapeValues) -> Elements | None:
    data = values.of(node.inputs[0])
    starts, ends, _, steps = slice_inputs(node, values)
    if data is None or data.is_scalar or starts is None or ends is None:
        return None
    if len(node.inputs) > 4 and node.inputs[4] is not None and steps is None:
        return None
    bounds = (starts.numbers(), ends.numbers(), (1,) if steps is None else steps.numbers())
    if any(b is None or len(b) != 1 for b in bounds):
        return None
    start, end, step = (b[0] for b in bounds if b is not None)
    if step < 0 and end < -len(data.items):
        return Elements(data.items[start::step])
    return Elements(data.items[start:end:step])


def _concat(node: ir.Node, values: ShapeValues) -> Elements | None:
    items: list[Item] = []
    for value in node.inputs:
        part = values.of(value)
        if part is None or part.is_scalar:
            return None
        items.extend(part.items)
    return Elements(tuple(items)) if len(items) <= MAX_ELEMENTS else None


def _to_vector(node: ir.Node, values: ShapeValues) -> Elements | None:
    source = values.of(node.inputs[0])
    return Elements(source.items) if source is not None and source.is_scalar else None


def _squeeze(node: ir.Node, values: ShapeValues) -> Elements | None:
    source = values.of(node.inputs[0])
    if source is None or source.is_scalar or len(source.items) != 1:
        return None
    return Elements(source.items, is_scalar=True)


def _reshape(node: ir.Node, values: ShapeValues) -> Elements | None:
    source, target = values.of(node.inputs[0]), values.of(node.inputs[1])
    if source is None or target is None or len(target.items) > 1:
        return None
    return Elements(source.items, is_scalar=not target.items)


def _fill(node: ir.Node, values: ShapeValues) -> Elements | None:
    shape = values.of(node.inputs[0])
    numbers = None if shape is None else shape.numbers()
    if numbers is None or len(numbers) > 1 or (numbers and not 0 <= numbers[0] <= MAX_ELEMENTS):
        return None
    tensor = node.attributes.get_tensor("value")
    fill = 0 if tensor is None else int(tensor.numpy().reshape(-1)[0])
    return Elements((fill,) * (numbers[0] if numbers else 1), is_scalar=not numbers)


def _range(node: ir.Node, values: ShapeValues) -> Elements | None:
    bounds: list[int] = []
    for value in node.inputs:
        part = values.of(value)
        bounds.extend(() if part is None else part.numbers() or ())
    if len(bounds) != 3 or bounds[2] == 0:
        return None
    items = range(*bounds)
    return Elements(tuple(items)) if len(items) <= MAX_ELEMENTS else None


def _product(node: ir.Node, values: ShapeValues) -> Elements | None:
    source = values.of(node.inputs[0])
    if source is None or source.is_scalar or len(node.inputs) > 1:
        return None
    keeps = node.attributes.get_int("keepdims", 1)
    return Elements((multiply_all(source.items),), is_scalar=not keeps)


def _expand(node: ir.Node, values: ShapeValues) -> Elements | None:
    source, target = values.of(node.inputs[0]), values.of(node.inputs[1])
    numbers = None if target is None else target.numbers()
    if source is None or numbers is None or len(numbers) != 1 or len(source.items) != 1:
        return None
    return Elements(source.items * numbers[0]) if 0 < numbers[0] <= MAX_ELEMENTS else None


def _where(node: ir.Node, values: ShapeValues) -> Elements | None:
    parts = _aligned([values.of(v) for v in node.inputs])
    if parts is None:
        return None
    rows = []
    for index, (choice, left, right) in enumerate(zip(*(p.items for p in parts), strict=True)):
        known = left if choice == 1 else right
        rows.append(known if isinstance(choice, int) else unknown_item(node.outputs[0], index))
    return Elements(tuple(rows), parts[0].is_scalar)


def _binary(combine: Callable[[Item, Item], Item | None]) -> Rule:
    def rule(node: ir.Node, values: ShapeValues) -> Elements | None:
        parts = _aligned([values.of(v) for v in node.inputs])
        if parts is None or len(parts) != 2:
            return None
        out = node.outputs[0]
        found = [combine(a, b) for a, b in zip(parts[0].items, parts[1].items, strict=True)]
        items = tuple(unknown_item(out, i) if x is None else x for i, x in enumerate(found))
        return Elements(items, parts[0].is_scalar)

    return rule


def _aligned(parts: list[Elements | None]) -> list[Elements] | None:
    """Broadcast scalars and single elements to the longest vector."""
    known = [part for part in parts if part is not None]
    if len(known) != len(parts):
        return None
    count = max(len(part.items) for part in known)
    scalar = all(part.is_scalar for part in known)
    if any(len(part.items) not in (1, count) for part in known):
        return None
    return [Elements(p.items if len(p.items) == count else p.items * count, scalar) for p in known]


def _not(node: ir.Node, values: ShapeValues) -> Elements | None:
    source = values.of(node.inputs[0])
    numbers = None if source is None else source.numbers()
    if source is None or numbers is None:
        return None
    return Elements(tuple(1 - n for n in numbers), source.is_scalar)


def _subtract(left: Item, right: Item) -> Item | None:
    return add(left, multiply(right, -1))


def _as_truth(answer: bool | None) -> Item | None:
    return None if answer is None else int(answer)


def _numbers_only(combine: Callable[[int, int], int]) -> Callable[[Item, Item], Item | None]:
    def checked(left: Item, right: Item) -> Item | None:
        both = isinstance(left, int) and isinstance(right, int)
        return combine(left, right) if both else None  # type: ignore[arg-type]

    return checked


_SIZES = ("Shape", "Size")

RULES: dict[str, Rule] = {
    "Add": _binary(add),
    "And": _binary(_numbers_only(min)),
    "Cast": _cast,
    "Concat": _concat,
    "ConstantOfShape": _fill,
    "Div": _binary(divide),
    "Equal": _binary(lambda a, b: _as_truth(is_equal(a, b))),
    "Expand": _expand,
    "Gather": _gather,
    "Greater": _binary(_numbers_only(lambda a, b: int(a > b))),
    "GreaterOrEqual": _binary(_numbers_only(lambda a, b: int(a >= b))),
    "Identity": _same,
    "Less": _binary(_numbers_only(lambda a, b: int(a < b))),
    "LessOrEqual": _binary(_numbers_only(lambda a, b: int(a <= b))),
    "Max": _binary(_numbers_only(max)),
    "Min": _binary(_numbers_only(min)),
    "Mul": _binary(multiply),
    "Not": _not,
    "Or": _binary(_numbers_only(max)),
    "Range": _range,
    "ReduceProd": _product,
    "Reshape": _reshape,
    "Shape": _shape,
    "Size": _size,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Sub": _binary(_subtract),
    "Unsqueeze": _to_vector,
    "Where": _where,
}
"""Op type -> rule; ops whose result the constants alone decide are left to constant folding."""
