"""``--shapes``: numbers for dynamic axes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import onnx_ir as ir

from bmopt.core.engine import Profile
from bmopt.errors import UsageError
from bmopt.graph.model_io import input_specs
from bmopt.graph.nesting import nodes_in

_SHAPE = "[0-9]{1,10}(?:x[0-9]{1,10})*"
_RANGE = re.compile(f"(?P<name>.+):(?P<min>{_SHAPE}):(?P<opt>{_SHAPE}):(?P<max>{_SHAPE})")
_ENTRY = re.compile(f"(?P<name>.+):(?P<opt>{_SHAPE})")

PartialShape = Sequence[int | None]
"""Sizes of an input's axes; None leaves an axis as it is."""


def parse_shapes(entries: Sequence[str]) -> dict[str, Profile]:
    """Return input name -> shapes from ``input:1x3x224x224`` or ``input:MIN:OPT:MAX`` entries.

    Raises:
        UsageError: An entry has another form, or its three shapes are not in order.
    """
    shapes: dict[str, Profile] = {}
    for entry in entries:
        found = _RANGE.fullmatch(entry) or _ENTRY.fullmatch(entry)
        if found is None:
            raise UsageError(
                f"shape {entry!r}: write it as input:1x3x224x224, or input:MIN:OPT:MAX"
            )
        profile = _profile(found, entry)
        if found["name"] in shapes:
            raise UsageError(f"shape {entry!r}: {found['name']!r} was given a shape already")
        shapes[found["name"]] = profile
    return shapes


def _profile(found: re.Match[str], entry: str) -> Profile:
    usual = _sizes(found["opt"])
    groups = found.groupdict()
    low, high = (_sizes(groups[key]) if groups.get(key) else usual for key in ("min", "max"))
    if min(low) < 1 or min(usual) < 1:
        raise UsageError(f"shape {entry!r}: an axis needs a size of at least 1")
    if not len(low) == len(usual) == len(high):
        raise UsageError(f"shape {entry!r}: its three shapes differ in rank")
    if any(not a <= b <= c for a, b, c in zip(low, usual, high, strict=True)):
        raise UsageError(f"shape {entry!r}: write the smallest, the usual and the largest shape")
    return Profile(low, usual, high)


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(size) for size in text.split("x"))


def static_axes(profiles: Mapping[str, Profile]) -> dict[str, PartialShape]:
    """Return the sizes that the profiles leave no choice about; None where they do."""
    return {
        name: [low if low == high else None for low, high in zip(p.min, p.max, strict=True)]
        for name, p in profiles.items()
    }


def engine_profiles(
    model: ir.Model, given: Mapping[str, Profile], batch_size: int
) -> dict[str, Profile]:
    """Return a profile for every input of ``model`` with dynamic axes.

    An input of which only the first axis is dynamic, and none is given, gets one sample as its
    usual and ``batch_size`` as its largest shape.

    Raises:
        UsageError: Another axis is dynamic, and its sizes were not given.
    """
    profiles = {}
    for spec in input_specs(model):
        shape = spec.shape
        rest = tuple(axis for axis in (shape or ())[1:] if isinstance(axis, int))
        if shape is not None and all(isinstance(axis, int) for axis in shape):
            continue
        if spec.name in given:
            profiles[spec.name] = given[spec.name]
        elif shape and len(rest) == len(shape) - 1:
            profiles[spec.name] = Profile((1, *rest), (1, *rest), (batch_size, *rest))
        else:
            raise UsageError(
                f"input {spec.name!r} has dynamic axes; an engine needs their sizes: "
                f"--shapes {spec.name}:MIN:OPT:MAX, e.g. {spec.name}:1x128:8x128:32x512"
            )
    return profiles


def fix_shapes(model: ir.Model, shapes: Mapping[str, PartialShape]) -> None:
    """Give inputs of ``model`` sizes in place; inferred shapes are forgotten.

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


def _fix(value: ir.Value, shape: PartialShape) -> list[tuple[str, int]]:
    declared = [None] * len(shape) if value.shape is None else list(value.shape)
    if len(declared) != len(shape):
        raise UsageError(
            f"--shapes: input {value.name!r} has {len(declared)} axes, {len(shape)} were given"
        )
    sizes: list[tuple[str, int]] = []
    for axis, size in zip(declared, shape, strict=True):
        if isinstance(axis, int) and axis >= 0 and axis != size:
            wanted = "a range" if size is None else size
            raise UsageError(
                f"--shapes: input {value.name!r} fixes an axis to {axis}, not {wanted}"
            )
        if size is not None and isinstance(axis, ir.SymbolicDim) and axis.value is not None:
            sizes.append((axis.value, size))
    value.shape = ir.Shape(
        [axis if size is None else size for axis, size in zip(declared, shape, strict=True)]
    )
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
