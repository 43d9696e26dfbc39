"""``--shapes``: numbers for dynamic axes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import onnx_ir as ir

from bmopt.core.dataset import InputSpec
from bmopt.core.engine import Profile
from bmopt.errors import UsageError
from bmopt.graph.model_io import input_specs
from bmopt.graph.nesting import nodes_in

_SHAPE = "[0-9]{1,10}(?:x[0-9]{1,10})*"
_RANGE = re.compile(f"(?P<name>.+):(?P<min>{_SHAPE}):(?P<opt>{_SHAPE}):(?P<max>{_SHAPE})")
_ENTRY = re.compile(f"(?P<name>.+):(?P<opt>{_SHAPE})")
_IMAGE_RANK, _IMAGE_SIDE = 4, 224
_SEQUENCE = 128

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

    An axis that has a symbol has the sizes that this symbol was given in another input. An input
    of which only the first axis is dynamic else, gets one sample as its usual and ``batch_size``
    as its largest shape.

    Raises:
        UsageError: Another axis is dynamic, and its sizes were not given; or a symbol was given
            two.
    """
    open_specs = [spec for spec in input_specs(model) if not _is_static(spec)]
    symbols = _symbol_sizes(open_specs, given)
    profiles = {
        spec.name: given.get(spec.name) or _default_profile(spec, symbols, batch_size)
        for spec in open_specs
    }
    known = {name: profile for name, profile in profiles.items() if profile is not None}
    missing = [spec for spec in open_specs if spec.name not in known]
    if missing:
        raise UsageError(_which_shapes(missing))
    return known


_Range = tuple[int, int, int]
"""Smallest, usual and largest size of an axis."""


def _is_static(spec: InputSpec) -> bool:
    return spec.shape is not None and all(isinstance(axis, int) for axis in spec.shape)


def _symbol_sizes(specs: Sequence[InputSpec], given: Mapping[str, Profile]) -> dict[str, _Range]:
    sizes: dict[str, _Range] = {}
    for spec in specs:
        profile = given.get(spec.name)
        if profile is None or spec.shape is None:
            continue
        ranges = zip(profile.min, profile.opt, profile.max, strict=True)
        for axis, size in zip(spec.shape, ranges, strict=True):
            if isinstance(axis, str) and sizes.setdefault(axis, size) != size:
                first, second = (":".join(map(str, sizes)) for sizes in (sizes[axis], size))
                raise UsageError(
                    f"--shapes: axis {axis!r} is {first} in one input, {second} in another"
                )
    return sizes


def _default_profile(
    spec: InputSpec, symbols: Mapping[str, _Range], batch_size: int
) -> Profile | None:
    if spec.shape is None:
        return None
    ranges = [_range_of(axis, symbols) for axis in spec.shape]
    if ranges and ranges[0] is None:
        ranges[0] = (1, 1, batch_size)
    known = [size for size in ranges if size is not None]
    if len(known) < len(ranges):
        return None
    low, usual, high = zip(*known, strict=True)
    return Profile(low, usual, high)


def _range_of(axis: int | str | None, symbols: Mapping[str, _Range]) -> _Range | None:
    if isinstance(axis, int):
        return axis, axis, axis
    return None if axis is None else symbols.get(axis)


def _which_shapes(specs: Sequence[InputSpec]) -> str:
    """Return what to say of inputs whose sizes have to be given."""
    named = ", ".join(f"{spec.name!r} {_declared(spec)}" for spec in specs)
    inputs, have = ("inputs", "have") if len(specs) > 1 else ("input", "has")
    options = " ".join(f"--shapes {spec.name}:{_example(spec)}" for spec in specs)
    return (
        f"{inputs} {named} {have} dynamic axes; an engine needs their sizes, e.g. {options}, or "
        f"--shapes {specs[0].name}:MIN:OPT:MAX for a range"
    )


def _declared(spec: InputSpec) -> str:
    if spec.shape is None:
        return "of unknown rank"
    return f"[{', '.join('?' if axis is None else str(axis) for axis in spec.shape)}]"


def _example(spec: InputSpec) -> str:
    """Return a shape like the input's, with usual sizes where it has none."""
    shape = spec.shape or (None, None)
    usual = _IMAGE_SIDE if len(shape) == _IMAGE_RANK else _SEQUENCE
    is_open = [not isinstance(axis, int) for axis in shape]
    batch = 0 if shape[0] == 1 else is_open.index(True)
    sizes = [1 if index == batch else usual for index in range(len(shape))]
    return "x".join(
        str(axis if isinstance(axis, int) else size)
        for axis, size in zip(shape, sizes, strict=True)
    )


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
