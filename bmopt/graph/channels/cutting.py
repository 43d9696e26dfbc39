"""Models without some of their channels, or with these masked."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx_ir as ir

from bmopt.errors import PruningError
from bmopt.graph.channels.groups import Channels
from bmopt.graph.channels.units import Ints
from bmopt.graph.values import constant_array

Removed = Mapping[str, Collection[int]]
"""Group -> its channels that go."""


def require_cuttable(channels: Channels, removed: Removed) -> None:
    """Check that channels can go.

    Raises:
        PruningError: There is no such group or channel, it has to stay, or none would be left.
    """
    for name, gone in removed.items():
        group = channels.group(name)
        if group is None:
            raise PruningError(f"there is no group {name!r} in this model; make the plan again")
        if gone and group.reason:
            raise PruningError(f"group {name!r} cannot lose channels: {group.reason}")
        if any(not 0 <= one < group.size for one in gone):
            raise PruningError(f"group {name!r} has {group.size} channels, numbered from 0")
        if len(set(gone)) == group.size:
            raise PruningError(f"group {name!r} would be left without channels; keep one or more")


def cut(model: ir.Model, channels: Channels, removed: Removed) -> None:
    """Take channels out of every constant of ``model``, in place.

    Shapes of the values in between are dropped, to be inferred anew.

    Args:
        model: The model that ``channels`` are of.
        channels: Its dependency groups.
        removed: What goes.

    Raises:
        PruningError: As of ``require_cuttable``.
    """
    require_cuttable(channels, removed)
    gone = _gone(channels, removed)
    if not gone.size:
        return

    def kept(units: Ints) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        return ~np.isin(channels.flow.units.roots(units), gone)

    for fix in channels.fixes:
        fix(kept)
    done: set[tuple[ir.Value, int]] = set()
    for place in channels.flow.places:
        if (place.value, place.axis) not in done:
            done.add((place.value, place.axis))
            _take(place.value, place.axis, kept(place.units))
    for node in model.graph:
        for value in node.outputs:
            if not value.is_graph_output():
                value.shape = None


def mask(model: ir.Model, channels: Channels, removed: Removed) -> None:
    """Set to zero, in place, what reads channels: the same results as of ``cut``."""
    require_cuttable(channels, removed)
    gone = _gone(channels, removed)
    for place in channels.flow.places:
        if place.role == "reads":
            array = constant_array(place.value)
            assert array is not None
            stays = ~np.isin(channels.flow.units.roots(place.units), gone)
            shape = [-1 if axis == place.axis else 1 for axis in range(array.ndim)]
            set_constant_value(place.value, array * stays.reshape(shape).astype(array.dtype))


def _gone(channels: Channels, removed: Removed) -> Ints:
    return np.array(
        sorted(channels.atoms[name, one] for name, some in removed.items() for one in set(some)),
        dtype=np.int64,
    )


def _take(value: ir.Value, axis: int, stays: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> None:
    array = constant_array(value)
    assert array is not None
    if array.shape[axis] == len(stays) and not stays.all():
        set_constant_value(value, np.ascontiguousarray(np.compress(stays, array, axis)))


def set_constant_value(
    value: ir.Value, array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]
) -> None:
    """Give an initialiser, or what a Constant node writes, another array."""
    tensor = ir.tensor(array, name=value.name)
    node = value.producer()
    if node is not None:
        kind = next(iter(node.attributes))
        node.attributes.pop(kind)
        node.attributes.add(ir.AttrTensor("value", tensor))
    value.const_value = tensor
    value.shape = ir.Shape(array.shape)
