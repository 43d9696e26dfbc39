"""Shapes that are computed from the values of an input, which only integer inputs may give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx_ir as ir

from bmopt.backends.nvinfer.linted import Check, Linted, constant_of, found, input_of
from bmopt.core.finding import Finding, Rule

SHAPE = Rule(
    "TRT028",
    "shape-from-floats",
    "error",
    "No shape is computed from the values of an input that holds no int32 or int64.",
)

RULES = (SHAPE,)

_OPERANDS: Mapping[str, tuple[int, ...]] = {
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "Pad": (1,),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Resize": (2, 3),
    "Slice": (1, 2),
    "Tile": (1,),
    "TopK": (1,),
}
"""Op -> the inputs that its output's shape or place is read from."""

_CARRIERS = frozenset(
    {
        *("Abs", "Add", "Cast", "Ceil", "Clip", "Concat", "Div", "Expand", "Floor", "Gather"),
        *("Identity", "Max", "Min", "Mul", "Neg", "Pow", "ReduceMax", "ReduceSum", "Relu"),
        *("Reshape", "Round", "Slice", "Split", "Sqrt", "Squeeze", "Sub", "Transpose"),
        *("Unsqueeze", "Where"),
    }
)
"""Ops that the engine computes shapes with; those behind any other it reads back as it runs."""

_INTEGERS = (ir.DataType.INT32, ir.DataType.INT64)


def check_shapes(facts: Linted) -> Iterator[Finding]:
    """Yield ops whose shape depends on what an input of another type holds."""
    inputs = set(facts.model.graph.inputs)
    for node in facts.nodes:
        for index in _OPERANDS.get(node.op_type, ()):
            source = _source(facts, input_of(node, index), inputs)
            if source is not None:
                dtype = facts.dtype(source)
                kind = "" if dtype is None else f"{dtype.name.lower()} "
                message = f"{node.op_type} takes a shape from the values of {kind}input"
                fix = "make that shape constant, or give it as an int64 input of its own"
                yield found(SHAPE, node, f"{message} {source.name!r}", fix)
                break


def _source(facts: Linted, operand: ir.Value | None, inputs: set[ir.Value]) -> ir.Value | None:
    """Return the first input of another type than integer that ``operand`` is computed from."""
    stack, seen = [operand], set[ir.Value]()
    while stack:
        value = stack.pop()
        if value is None or value in seen or constant_of(value) is not None:
            continue
        seen.add(value)
        if value in inputs and facts.dtype(value) not in _INTEGERS:
            return value
        node = value.producer()
        if node is not None and node.op_type in _CARRIERS:
            stack.extend(node.inputs)
    return None


CHECKS: tuple[Check, ...] = (check_shapes,)
