"""Models without some of their channels, or with these masked."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import onnx_ir as ir

from bmopt.errors import PruningError
from bmopt.graph.channels.branches import Exit, bypass
from bmopt.graph.channels.groups import Channels
from bmopt.graph.channels.units import Ints
from bmopt.graph.values import constant_array

Removed = Mapping[str, Collection[int]]
"""Group -> its channels that go."""


def require_cuttable(channels: Channels, removed: Removed) -> None:
    """Check that channels can go.

    Raises:
        PruningError: There is no such group or channel, it has to stay, or none would be left and
            the group is not that of a branch.
    """
    for name, gone in removed.items():
        group = channels.group(name)
        if group is None:
            raise PruningError(f"there is no group {name!r} in this model; make the plan again")
        if gone and group.reason:
            raise PruningError(f"group {name!r} cannot lose channels: {group.reason}")
        if any(not 0 <= one < group.size for one in gone):
            raise PruningError(f"group {name!r} has {group.size} channels, numbered from 0")
        if len(set(gone)) == group.size and not group.exits:
            raise PruningError(f"group {name!r} would be left without channels; keep one or more")


def cut(model: ir.Model, channels: Channels, removed: Removed) -> None:
    """Take channels out of every constant of ``model``, in place.

    Branches of which none are left go with all their nodes. Shapes of the values in between are
    dropped, to be inferred anew.

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
    bypass(model.graph, emptied(channels, removed))
    done: set[tuple[ir.Value, int]] = set()
    for place in channels.flow.places:
        if (place.value, place.axis) not in done and place.node.graph is not None:
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
    nodes = {node.name: node for node in model.graph}
    for one in emptied(channels, removed):
        _silence(nodes[one.node], 1 - one.passed)


def _silence(node: ir.Node, index: int) -> None:
    """Multiply an input of a node by zero."""
    value = node.inputs[index]
    assert value is not None
    assert node.graph is not None
    assert value.dtype is not None
    zero = ir.tensor(np.zeros((), value.dtype.numpy()), name=f"{node.name}:zero")
    constant = ir.node("Constant", [], {"value": zero})
    product = ir.node("Mul", [value, constant.outputs[0]])
    node.graph.insert_before(node, [constant, product])
    node.replace_input_with(index, product.outputs[0])


def emptied(channels: Channels, removed: Removed) -> list[Exit]:
    """Return where branches end of which no channel is left."""
    found = [
        exit_
        for group in channels.groups
        if len(set(removed.get(group.name, ()))) == group.size
        for exit_ in group.exits
    ]
    return list(dict.fromkeys(found))


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
