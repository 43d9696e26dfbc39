"""Vectors of sizes that a graph computes: which of their elements count channels.

Exporters write the target of a Reshape as a Concat of what Shape says of another tensor and of
numbers. Where Shape counts channels, the element changes with them by itself; a number is changed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from bmopt.graph.channels.flow import Flow, Kept, sizes_of
from bmopt.graph.channels.movers import attribute_or_input, numbers, set_input
from bmopt.graph.channels.units import Ints
from bmopt.graph.values import constant_array, is_op

TARGETS = {"Expand": 1, "Reshape": 1, "Resize": 3}
"""Op -> the input that says how long its axes are to be."""

_PASSING = ("Cast", "Identity", "Squeeze", "Unsqueeze")


@dataclasses.dataclass(frozen=True)
class Element:
    """One number of a vector.

    Attributes:
        number: What it is; None where it is computed.
        units: The channels that it counts; None where it counts others, or that is not known.
        is_own: Whether a node that reads the vector can be given another number there.
    """

    number: int | None = None
    units: Ints | None = None
    is_own: bool = False


def elements(flow: Flow, value: ir.Value | None) -> list[Element] | None:
    """Return the elements of a vector; None where its length is not known."""
    node = None if value is None else value.producer()
    if node is not None and is_op(node, "Concat"):
        return _joined(flow, node, is_own=True)
    return _elements(flow, value, is_own=True)


def _elements(flow: Flow, value: ir.Value | None, *, is_own: bool) -> list[Element] | None:
    if value is None:
        return None
    if (array := constant_array(value)) is not None:
        return [Element(int(number), is_own=is_own) for number in array.reshape(-1)]
    node = value.producer()
    if node is not None and is_op(node, "Shape"):
        return [
            Element(units=flow.labels(node.inputs[0])[axis]) for axis in shape_axes(flow, node)
        ]
    if node is not None and is_op(node, "Concat"):
        return _joined(flow, node, is_own=False)
    if node is not None and is_op(node, "Gather", "Slice", *_PASSING):
        found = _elements(flow, node.inputs[0], is_own=False)
        picked = None if found is None else picked_from(node, len(found))
        return None if found is None or picked is None else [found[place] for place in picked]
    sizes = sizes_of(value)
    count = 1 if not sizes else sizes[0]
    return None if value.shape is None or count is None else [Element()] * count


def _joined(flow: Flow, node: ir.Node, *, is_own: bool) -> list[Element] | None:
    parts = [_elements(flow, value, is_own=is_own) for value in node.inputs]
    return None if None in parts else [one for part in parts if part for one in part]


def shape_axes(flow: Flow, node: ir.Node) -> range:
    """Return the axes whose sizes a Shape gives."""
    start = int(node.attributes.get_int("start", 0))
    rank = len(flow.labels(node.inputs[0]))
    return range(rank)[start : int(node.attributes.get_int("end", rank))]


def picked_from(node: ir.Node, count: int) -> list[int] | None:
    """Return which elements of a vector a node hands on; None where that is not known."""
    if is_op(node, *_PASSING):
        return list(range(count))
    if is_op(node, "Gather"):
        picked = numbers(node, 1)
        return None if picked is None else [one % count for one in picked if -count <= one < count]
    starts, ends = (
        attribute_or_input(node, name, index) for index, name in ((1, "starts"), (2, "ends"))
    )
    if not starts or not ends or numbers(node, 4) not in ([], [1]):
        return None
    return list(range(count)[slice(starts[0], ends[0])])


def is_looked_at(value: ir.Value, place: int, count: int) -> bool:
    """Whether anything but the target of a rule here reads an element of a vector."""
    maker = value.producer()
    if value.is_graph_output() or maker is None:
        return True
    return any(
        use.node.graph is not maker.graph or _looks_at(use.node, use.idx, place, count)
        for use in value.uses()
    )


def _looks_at(node: ir.Node, index: int, place: int, count: int) -> bool:
    if is_op(node, *TARGETS):
        return index != TARGETS[node.op_type]
    if is_op(node, "Concat"):
        sizes = [sizes_of(value) for value in node.inputs]
        lengths = [one[0] for one in sizes if len(one) == 1 and one[0] is not None]
        if len(lengths) != len(sizes):
            return True
        return is_looked_at(node.outputs[0], sum(lengths[:index]) + place, sum(lengths))
    if index != 0 or not is_op(node, "Gather", "Slice", *_PASSING):
        return True
    picked = picked_from(node, count)
    if picked is None:
        return True
    return any(
        is_looked_at(node.outputs[0], at, len(picked))
        for at, one in enumerate(picked)
        if one == place
    )


def follow(flow: Flow, node: ir.Node, labels: Sequence[Ints | None]) -> bool:
    """Have the sizes that ``node`` is given agree with the channels it writes.

    Args:
        flow: Where channels are joined, and stay where the sizes cannot follow.
        node: One of ``TARGETS``.
        labels: The channels along the axes of its output.

    Returns:
        Whether the sizes could be read; if not, whatever they count stays.
    """
    index = TARGETS[node.op_type]
    found = elements(flow, node.inputs[index])
    if found is None or len(found) > len(labels):
        keep_counted(flow, node, index)
        return False
    labels = labels[len(labels) - len(found) :]
    for one, units in zip(found, labels, strict=True):
        _agree(flow, node, one, units)
    flow.account(node, index)
    flow.fixes.append(lambda kept: _recount(node, index, kept, labels))
    return True


def _agree(flow: Flow, node: ir.Node, one: Element, units: Ints | None) -> None:
    if one.units is not None and units is not None and len(one.units) == len(units):
        flow.units.join(one.units, units)
        return
    flow.keep(one.units, f"{node.name!r} reads how many there are")
    is_fixed = one.number is None or (one.number > 0 and not one.is_own)
    if units is not None and is_fixed:
        flow.keep(units, f"how many {node.name!r} writes is not known")


def keep_counted(flow: Flow, node: ir.Node, index: int) -> None:
    """Have all channels stay that a computed vector counts."""
    todo = [node.inputs[index] if index < len(node.inputs) else None]
    seen: set[ir.Node] = set()
    while todo:
        value = todo.pop()
        maker = None if value is None else value.producer()
        if maker is None or maker in seen:
            continue
        seen.add(maker)
        if not is_op(maker, "Shape"):
            todo += maker.inputs
            continue
        for units in flow.labels(maker.inputs[0]):
            flow.keep(units, f"{node.name!r} reads how many there are")


def _recount(node: ir.Node, index: int, kept: Kept, labels: Sequence[Ints | None]) -> None:
    """Put how many channels stay where a vector has how many there were."""
    vector = node.inputs[index]
    counts = [None if units is None else int(kept(units).sum()) for units in labels]
    maker = None if vector is None else vector.producer()
    if maker is None or not is_op(maker, "Concat"):
        sizes = numbers(node, index)
        if sizes is not None and (changed := _changed(sizes, counts)) != sizes:
            set_input(node, index, np.array(changed, np.int64), "sizes")
        return
    start = 0
    for at, (count, known) in enumerate(_parts(maker)):
        part = counts[start : start + count]
        start += count
        if known is not None and (changed := _changed(known, part)) != known:
            maker = _own(node, index)
            set_input(maker, at, np.array(changed, np.int64), "sizes")


def _changed(sizes: Sequence[int], counts: Sequence[int | None]) -> list[int]:
    return [
        size if count is None or size in (-1, 0, 1) else count
        for size, count in zip(sizes, counts, strict=True)
    ]


def _parts(maker: ir.Node) -> list[tuple[int, list[int] | None]]:
    """Return how many sizes each input of a Concat has, and which, None where it is computed."""
    known = [numbers(maker, at) for at in range(len(maker.inputs))]
    counts = [sizes_of(value)[0] or 0 for value in maker.inputs]
    return list(zip(counts, known, strict=True))


def _own(node: ir.Node, index: int) -> ir.Node:
    """Return the Concat that makes a vector for ``node`` alone, a new one if others read it."""
    vector = node.inputs[index]
    maker = None if vector is None else vector.producer()
    assert vector is not None
    assert maker is not None
    assert node.graph is not None
    if len(list(vector.uses())) == 1:
        return maker
    own = ir.node("Concat", list(maker.inputs), {"axis": 0}, name=f"{node.name}.sizes")
    own.outputs[0].name = f"{node.name}.sizes_out"
    own.outputs[0].type, own.outputs[0].shape = vector.type, vector.shape
    node.graph.insert_before(node, own)
    node.replace_input_with(index, own.outputs[0])
    return own
