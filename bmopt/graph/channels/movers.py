"""How channels pass what changes shapes and takes tensors apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from bmopt.core.runner import Array
from bmopt.graph.channels.flow import Fix, Flow, Kept, is_constant, sizes_of
from bmopt.graph.channels.units import Ints
from bmopt.graph.values import constant_array


def set_input(node: ir.Node, index: int, array: Array, name: str) -> None:
    """Have ``node`` read a constant of its own as input ``index``."""
    graph = node.graph
    assert graph is not None
    base = f"{node.name}.{name}"
    taken, number = graph.initializers, 0
    while (fresh := f"{base}.{number}" if number else base) in taken:
        number += 1
    value = ir.val(fresh, const_value=ir.tensor(array, name=fresh))
    graph.register_initializer(value)
    node.replace_input_with(index, value)


def numbers(node: ir.Node, index: int) -> list[int] | None:
    """Return the constant numbers that ``node`` reads as input ``index``; None if they vary."""
    if index >= len(node.inputs) or node.inputs[index] is None:
        return []
    array = constant_array(node.inputs[index])
    return None if array is None else [int(one) for one in array.reshape(-1)]


def attribute_or_input(node: ir.Node, name: str, index: int) -> list[int] | None:
    """Return numbers that older opsets have as an attribute and newer ones as an input."""
    if name in node.attributes:
        return [int(one) for one in node.attributes[name].as_ints()]
    return numbers(node, index)


def transpose(flow: Flow, node: ir.Node) -> None:
    """Transpose."""
    labels = flow.labels(node.inputs[0])
    order = list(range(len(labels)))[::-1]
    if "perm" in node.attributes:
        order = [int(one) for one in node.attributes["perm"].as_ints()]
    flow.write(node.outputs[0], [labels[axis] for axis in order] if labels else ())


def concat(flow: Flow, node: ir.Node) -> None:
    """Concat: rows of channels one behind the other."""
    rank = len(sizes_of(node.outputs[0]))
    axis = int(node.attributes.get_int("axis", 0))
    if not rank:
        flow.keep_inputs(node, f"the shape of {node.outputs[0].name!r} is not known")
        return
    axis %= rank
    labels = [
        _behind(flow, node, axis) if one == axis else _beside(flow, node, one)
        for one in range(rank)
    ]
    flow.account(node, *range(len(node.inputs)))
    flow.write(node.outputs[0], labels)


def _behind(flow: Flow, node: ir.Node, axis: int) -> Ints | None:
    parts: list[Ints] = []
    for value in node.inputs:
        units, sizes = flow.at(value, axis), sizes_of(value)
        size = sizes[axis] if sizes else None
        if units is None and size is None:
            flow.keep_inputs(node, f"the sizes that {node.name!r} puts together are not known")
            return None
        if units is None:
            assert size is not None
            units = flow.units.fresh(size)
            flow.keep(units, f"{node.name!r} puts it behind others")
        parts.append(units)
    if all(flow.at(value, axis) is None for value in node.inputs):
        return None
    return np.concatenate(parts)


def _beside(flow: Flow, node: ir.Node, axis: int) -> Ints | None:
    """Join the channels along an axis of all that lie one behind the other along another."""
    indices = [i for i, value in enumerate(node.inputs) if not is_constant(value)]
    rows = [flow.at(node.inputs[index], axis) for index in indices]
    first = rows[0] if rows else None
    fits = first is not None and all(
        sizes_of(value)[axis] == len(first) for value in node.inputs if is_constant(value)
    )
    if first is None or not fits or any(row is None or len(row) != len(first) for row in rows):
        for row in rows:
            flow.keep(row, f"{node.name!r} puts it beside channels that stay")
        return None
    for row in rows[1:]:
        assert row is not None
        flow.units.join(first, row)
    for index, value in enumerate(node.inputs):
        if is_constant(value):
            flow.constant(node, index, axis, first, "follows")
    return first


def split(flow: Flow, node: ir.Node) -> None:
    """Split: parts of a row of channels."""
    axis = int(node.attributes.get_int("axis", 0))
    labels = list(flow.labels(node.inputs[0]))
    units = flow.at(node.inputs[0], axis)
    if units is None:
        for output in node.outputs:
            flow.write(output, labels)
        return
    sizes = attribute_or_input(node, "split", 1)
    if sizes is None:
        flow.keep_inputs(node, f"the sizes of {node.name!r} are no constant")
        return
    if not sizes:
        part = -(-len(units) // len(node.outputs))
        sizes = [min(part, len(units) - part * i) for i in range(len(node.outputs))]
    parts = np.split(units, np.cumsum(sizes)[:-1])
    for output, part_units in zip(node.outputs, parts, strict=True):
        labels[axis] = part_units
        flow.write(output, labels)
    flow.account(node, 1)
    flow.fixes.append(lambda kept: _set_split(node, [int(kept(part).sum()) for part in parts]))


def _set_split(node: ir.Node, sizes: Sequence[int]) -> None:
    if "split" in node.attributes:
        node.attributes.add(ir.AttrInt64s("split", list(sizes)))
    elif len(node.inputs) > 1:
        set_input(node, 1, np.array(sizes, np.int64), "split")
    elif len(set(sizes)) > 1:
        # Without sizes, parts are equal; with them, their number is not said.
        node.attributes.pop("num_outputs", None)
        if (node.version or 13) < 13:
            node.attributes.add(ir.AttrInt64s("split", list(sizes)))
        else:
            node.resize_inputs(2)
            set_input(node, 1, np.array(sizes, np.int64), "split")


def slice_(flow: Flow, node: ir.Node) -> None:
    """Slice: a run of a row of channels; with steps they stay."""
    labels = list(flow.labels(node.inputs[0]))
    found = [attribute_or_input(node, name, i + 1) for i, name in enumerate(("starts", "ends"))]
    axes, steps = attribute_or_input(node, "axes", 3), numbers(node, 4)
    if not labels or any(one is None for one in (*found, axes, steps)):
        flow.keep_inputs(node, f"the bounds of {node.name!r} are no constants")
        return
    starts, ends = (one or [] for one in found)
    axes = axes or list(range(len(starts)))
    steps = steps or [1] * len(starts)
    for index, (start, end, axis, step) in enumerate(zip(starts, ends, axes, steps, strict=True)):
        units = labels[axis]
        if units is None:
            continue
        if step != 1:
            flow.keep(units, f"{node.name!r} takes every {step}. of it")
            labels[axis] = None
            continue
        part = units[slice(start, end)]
        labels[axis] = part
        flow.fixes.append(_bounds(node, index, units, units[: slice(start, end).indices(
            len(units))[0]], part))  # fmt: skip
    flow.write(node.outputs[0], labels)


def _bounds(node: ir.Node, index: int, units: Ints, before: Ints, part: Ints) -> Fix:
    """Return what moves the bounds of one axis to the channels that stay."""

    def fix(kept: Kept) -> None:
        if kept(units).all():
            return
        start = int(kept(before).sum())
        end = start + int(kept(part).sum())
        for place, name, bound in ((1, "starts", start), (2, "ends", end)):
            values = attribute_or_input(node, name, place)
            assert values is not None
            values[index] = bound
            if name in node.attributes:
                node.attributes.add(ir.AttrInt64s(name, values))
            else:
                set_input(node, place, np.array(values, np.int64), name)

    return fix


def gather(flow: Flow, node: ir.Node) -> None:
    """Gather by constant indices: channels in another order; or rows of a constant table."""
    labels = flow.labels(node.inputs[0])
    axis = int(node.attributes.get_int("axis", 0))
    data, indices = node.inputs
    if is_constant(data):
        _table(flow, node, axis)
        return
    picked = constant_array(indices)
    units = flow.at(data, axis)
    if not labels or (picked is None and units is not None):
        flow.keep_inputs(node, f"the indices of {node.name!r} are no constant")
        return
    rank = len(sizes_of(indices))
    axis %= len(labels)
    middle: list[Ints | None] = [None] * rank
    if units is not None and picked is not None:
        if rank == 1:
            middle = [units[picked]]
            chosen = picked % len(units)
            flow.account(node, 1)
            flow.fixes.append(lambda kept: _pick(node, kept, units, chosen))
        else:
            flow.keep(units, f"{node.name!r} takes single channels out of it")
    flow.write(node.outputs[0], (*labels[:axis], *middle, *labels[axis + 1 :]))


def _pick(node: ir.Node, kept: Kept, units: Ints, chosen: Array) -> None:
    stays = kept(units)
    if not stays.all():
        places = np.cumsum(stays) - 1
        set_input(node, 1, places[chosen[stays[chosen]]].astype(np.int64), "indices")


def _table(flow: Flow, node: ir.Node, axis: int) -> None:
    sizes, rank = sizes_of(node.inputs[0]), len(sizes_of(node.inputs[1]))
    if axis != 0 or len(sizes) != 2 or flow.labels(node.outputs[0]) == ():
        return
    count = sizes[1]
    assert count is not None
    made = flow.make(node, count)
    flow.constant(node, 0, 1, made, "writes")
    flow.account(node, 0)
    flow.write(node.outputs[0], (*(None,) * rank, made))


def pad(flow: Flow, node: ir.Node) -> None:
    """Pad: what it adds along the channels' axis are channels that can go as others do."""
    labels = list(flow.labels(node.inputs[0]))
    pads = attribute_or_input(node, "pads", 1)
    if pads is None or (len(node.inputs) > 3 and node.inputs[3] is not None):
        flow.keep_inputs(node, f"what {node.name!r} adds is no constant")
        return
    is_plain = node.attributes.get_string("mode", "constant") == "constant"
    for axis, units in enumerate(labels):
        before, after = pads[axis], pads[axis + len(labels)]
        if units is None or not (before or after):
            continue
        if not is_plain or before < 0 or after < 0:
            flow.keep(units, f"{node.name!r} repeats or drops some of it")
            labels[axis] = None
            continue
        ends = flow.make(node, before), flow.make(node, after)
        labels[axis] = np.concatenate([ends[0], units, ends[1]])
        flow.fixes.append(_pads(node, (axis, axis + len(labels)), ends))
    flow.write(node.outputs[0], labels)


def _pads(node: ir.Node, places: tuple[int, int], ends: tuple[Ints, Ints]) -> Fix:
    """Return what has a Pad add the channels that stay."""

    def fix(kept: Kept) -> None:
        if all(kept(units).all() for units in ends):
            return
        pads = attribute_or_input(node, "pads", 1)
        assert pads is not None
        for place, units in zip(places, ends, strict=True):
            pads[place] = int(kept(units).sum())
        if "pads" in node.attributes:
            node.attributes.add(ir.AttrInt64s("pads", pads))
        else:
            set_input(node, 1, np.array(pads, np.int64), "pads")

    return fix


def shuffle(flow: Flow, node: ir.Node) -> None:
    """DepthToSpace and SpaceToDepth: channels that become pixels go together."""
    labels = flow.labels(node.inputs[0])
    units = flow.at(node.inputs[0], 1)
    if units is None or len(labels) != 4:
        flow.write(node.outputs[0], (labels[0], None, None, None) if len(labels) == 4 else ())
        return
    square = int(node.attributes["blocksize"].as_int()) ** 2
    if node.op_type == "SpaceToDepth":
        flow.write(node.outputs[0], (labels[0], np.tile(units, square), None, None))
        return
    mode = node.attributes.get_string("mode", "DCR")
    rows = units.reshape(square, -1) if mode == "DCR" else units.reshape(-1, square).T
    flow.units.join_all(rows)
    flow.write(node.outputs[0], (labels[0], rows[0], None, None))
