"""``--shapes``: numbers for dynamic axes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import onnx_ir as ir

from bmopt.errors import UsageError
from bmopt.graph.nesting import nodes_in

_ENTRY = re.compile(r"(?P<name>.+):(?P<shape>[0-9]{1,10}(x[0-9]{1,10})*)")


def parse_shapes(entries: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Return input name -> shape from ``input:1x3x224x224`` entries.

    Raises:
        UsageError: An entry has another form.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for entry in entries:
        found = _ENTRY.fullmatch(entry)
        if found is None:
            raise UsageError(f"shape {entry!r}: write it as input:1x3x224x224")
        shape = tuple(int(size) for size in found["shape"].split("x"))
        if min(shape) < 1:
            raise UsageError(f"shape {entry!r}: an axis needs a size of at least 1")
        if found["name"] in shapes:
            raise UsageError(f"shape {entry!r}: {found['name']!r} was given a shape already")
        shapes[found["name"]] = shape
    return shapes


def fix_shapes(model: ir.Model, shapes: Mapping[str, Sequence[int]]) -> None:
    """Give inputs of ``model`` static shapes in place; inferred shapes are forgotten.

    A symbol that gets a number this way has that number in every input.

    Raises:
        UsageError: There is no such input, its rank or a fixed axis differs, or a symbol would
            get two numbers.
    """
    inputs = {value.name or "": value for value in model.graph.inputs}
    sizes: dict[str, int] = {}
    for name, shape in shapes.items():
        if name not in inputs:
            raise UsageError(f"--shapes: no input {name!r}; the model has {', '.join(inputs)}")
        for symbol, size in _fix(inputs[name], shape):
            if sizes.setdefault(symbol, size) != size:
                raise UsageError(
                    f"--shapes: axis {symbol!r} is {sizes[symbol]} in one place, {size} in another"
                )
    if not shapes:
        return
    for value in model.graph.inputs:
        if value.shape is not None:
            value.shape = ir.Shape([_sized(axis, sizes) for axis in value.shape])
    _forget_inferred(model, sizes)


def _fix(value: ir.Value, shape: Sequence[int]) -> list[tuple[str, int]]:
    declared = [None] * len(shape) if value.shape is None else list(value.shape)
    if len(declared) != len(shape):
        raise UsageError(
            f"--shapes: input {value.name!r} has {len(declared)} axes, {len(shape)} were given"
        )
    sizes: list[tuple[str, int]] = []
    for axis, size in zip(declared, shape, strict=True):
        if isinstance(axis, int) and axis >= 0 and axis != size:
            raise UsageError(f"--shapes: input {value.name!r} fixes an axis to {axis}, not {size}")
        if isinstance(axis, ir.SymbolicDim) and axis.value is not None:
            sizes.append((axis.value, size))
    value.shape = ir.Shape(shape)
    return sizes


def _sized(axis: int | ir.SymbolicDim, sizes: Mapping[str, int]) -> int | ir.SymbolicDim:
    if isinstance(axis, int) or axis.value is None:
        return axis
    return sizes.get(axis.value, axis)


def _forget_inferred(model: ir.Model, sizes: Mapping[str, int]) -> None:
    outputs = set(model.graph.outputs)
    for node in nodes_in(model.graph):
        for value in node.outputs:
            if value in outputs and value.shape is not None:
                value.shape = ir.Shape([_sized(axis, sizes) for axis in value.shape])
            elif value.shape is not None and not value.shape.is_static():
                value.shape = None
