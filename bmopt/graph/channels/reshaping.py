"""How channels pass a Reshape: axes that are merged, split or left alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from bmopt.graph.axes import Block, matched, named_sizes
from bmopt.graph.channels.flow import Flow, Kept, sizes_of
from bmopt.graph.channels.size_vectors import follow, keep_counted
from bmopt.graph.channels.units import Ints

_SPLIT_IN_IMAGE = 3
_IMAGE_RANK = 4


def reshape(flow: Flow, node: ir.Node) -> None:
    """Reshape, to constant or to computed sizes."""
    labels = _reshaped(flow, node)
    if "shape" in node.attributes:
        if labels is not None:
            flow.fixes.append(lambda kept: _set_target(node, kept, labels))
    elif labels is None:
        keep_counted(flow, node, 1)
    elif not follow(flow, node, labels):
        flow.keep_inputs(node, f"the shape that {node.name!r} gives is not known")
        for units in labels:
            flow.keep(units, f"the shape that {node.name!r} gives is not known")


def flatten(flow: Flow, node: ir.Node) -> None:
    """Flatten, Squeeze and Unsqueeze: reshapes that need no numbers."""
    _reshaped(flow, node)


def _reshaped(flow: Flow, node: ir.Node) -> list[Ints | None] | None:
    labels = flow.labels(node.inputs[0])
    blocks = matched(named_sizes(node.inputs[0]), named_sizes(node.outputs[0]))
    if blocks is None:
        flow.keep_inputs(node, f"how {node.name!r} moves elements is not known")
        return None
    found: list[Ints | None] = [None] * len(sizes_of(node.outputs[0]))
    for block in blocks:
        _pass_block(flow, node, block, labels, found)
    flow.write(node.outputs[0], found)
    return found


def _pass_block(
    flow: Flow,
    node: ir.Node,
    block: Block,
    labels: Sequence[Ints | None],
    found: list[Ints | None],
) -> None:
    old, new = block
    before, after = sizes_of(node.inputs[0]), sizes_of(node.outputs[0])
    # Axes of one element are neither merged nor split.
    olds = [axis for axis in old if before[axis] != 1] or list(old[:1])
    news = [axis for axis in new if after[axis] != 1] or list(new[:1])
    labelled = [axis for axis in olds if labels[axis] is not None]
    if not labelled:
        return
    units, place = labels[labelled[0]], olds.index(labelled[0])
    assert units is not None
    passed = None
    if len(olds) == 1 and len(news) == 1:
        passed = 0, units
    elif len(labelled) == 1:
        sizes = [before[axis] for axis in olds], [after[axis] for axis in news]
        passed = _spread(flow, node, units, place, sizes)
    if passed is not None:
        found[news[passed[0]]] = passed[1]
        return
    for axis in labelled:
        flow.keep(labels[axis], f"{node.name!r} mixes it with other axes")


def _spread(
    flow: Flow,
    node: ir.Node,
    units: Ints,
    place: int,
    sizes: tuple[Sequence[int | None], Sequence[int | None]],
) -> tuple[int, Ints] | None:
    """Return the axis of a block that channels lie along behind it, and the channels on it.

    Args:
        flow: Where channels are joined that lie beside each other then.
        node: The Reshape.
        units: The channels.
        place: The axis of the block that they lie along before.
        sizes: The sizes of its axes before and behind.
    """
    before, after = ([size for size in one if size is not None] for one in sizes)
    if (len(before), len(after)) != (len(sizes[0]), len(sizes[1])):
        return None if place else _leading(flow, units, sizes[1][0])
    # Elements that lie together before and behind need not be told apart.
    fore = math.gcd(math.prod(before[:place]), after[0])
    after[0] //= fore
    aft = math.gcd(math.prod(before[place + 1 :]), after[-1])
    after[-1] //= aft
    lead, trail = math.prod(before[:place]) // fore, math.prod(before[place + 1 :]) // aft
    apart = np.broadcast_to(units[:, None], (lead, len(units), trail)).reshape(after)
    axis = _axis_of(flow, node, apart, len(sizes_of(node.inputs[0])))
    rows = np.moveaxis(apart, axis, -1).reshape(-1, apart.shape[axis])
    flow.units.join_all(rows)
    row = np.repeat(rows[0], aft) if axis == len(after) - 1 else rows[0]
    return axis, np.tile(row, fore) if axis == 0 else row


def _leading(flow: Flow, units: Ints, count: int | None) -> tuple[int, Ints] | None:
    """Return channels that come first among axes of unknown size: groups of them, or parts."""
    if count is None or (count % len(units) and len(units) % count):
        return None
    if count >= len(units):
        return 0, np.repeat(units, count // len(units))
    rows = units.reshape(count, -1).T
    flow.units.join_all(rows)
    return 0, rows[0]


def _axis_of(flow: Flow, node: ir.Node, units: Ints, rank: int) -> int:
    """Return the axis that channels lie along once their axis is split.

    Where they are spread along the others already, it is the one they differ in. Else it is a
    guess, and ``flow`` may know better: in pictures, two parts are few groups and the channels of
    each, in either order, three are channels and the rows and columns of pixels; in sequences,
    heads come before the elements of each.
    """
    for axis in range(units.ndim):
        rows = np.moveaxis(units, axis, 0).reshape(units.shape[axis], -1)
        if (rows == rows[:, :1]).all():
            return axis
    if rank >= _IMAGE_RANK:
        guess = 0 if units.ndim >= _SPLIT_IN_IMAGE else int(np.argmax(units.shape))
    else:
        guess = max(0, units.ndim - 2)
    return flow.split(node, units, guess)


def _set_target(node: ir.Node, kept: Kept, labels: Sequence[Ints | None]) -> None:
    """Change the attribute that Reshape had before opset 5."""
    target = node.attributes["shape"].as_ints()
    changed = [
        size if units is None or size in (0, -1) else int(kept(units).sum())
        for size, units in zip(target, labels, strict=True)
    ]
    node.attributes.add(ir.AttrInt64s("shape", changed))
