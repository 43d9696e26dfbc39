"""How channels pass a Reshape: axes that are merged, split or left alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx_ir as ir

from bmopt.graph.channels.flow import Flow, sizes_of
from bmopt.graph.channels.movers import attribute_or_input, numbers, set_input
from bmopt.graph.channels.units import Ints

Block = tuple[range, range]
"""Axes before and axes after that hold the same elements."""

_SPLIT_IN_IMAGE = 3
_IMAGE_RANK = 4


def reshape(flow: Flow, node: ir.Node) -> None:
    """Reshape to a constant shape."""
    target = attribute_or_input(node, "shape", 1)
    if target is None:
        flow.keep_inputs(node, f"the shape that {node.name!r} gives is no constant")
        return
    labels = _reshaped(flow, node)
    if labels is None:
        return
    flow.account(node, 1)
    flow.fixes.append(lambda kept: _set_target(node, [
        None if units is None else int(kept(units).sum()) for units in labels
    ]))  # fmt: skip


def flatten(flow: Flow, node: ir.Node) -> None:
    """Flatten, Squeeze and Unsqueeze: reshapes that need no numbers."""
    _reshaped(flow, node)


def _reshaped(flow: Flow, node: ir.Node) -> list[Ints | None] | None:
    labels = flow.labels(node.inputs[0])
    before, after = sizes_of(node.inputs[0]), sizes_of(node.outputs[0])
    blocks = matched(before, after)
    if blocks is None:
        flow.keep_inputs(node, f"how {node.name!r} moves elements is not known")
        return None
    found: list[Ints | None] = [None] * len(after)
    for old, new in blocks:
        _pass_block(flow, node, (old, new), labels, found)
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
    units = labels[labelled[0]]
    assert units is not None
    if len(olds) == 1 and len(news) == 1:
        found[news[0]] = units
    elif len(news) == 1 and len(labelled) == 1:
        spread = units.reshape([-1 if axis == labelled[0] else 1 for axis in olds])
        found[news[0]] = np.broadcast_to(spread, [before[axis] or 1 for axis in olds]).reshape(-1)
    elif len(olds) == 1:
        apart = units.reshape([after[axis] or 1 for axis in news])
        place = _axis_of(apart, len(before))
        rows = np.moveaxis(apart, place, -1).reshape(-1, apart.shape[place])
        flow.units.join_all(rows)
        found[news[place]] = rows[0]
    else:
        for axis in labelled:
            flow.keep(labels[axis], f"{node.name!r} mixes it with other axes")


def _axis_of(units: Ints, rank: int) -> int:
    """Return the axis that channels lie along once their axis is split.

    Where they are spread along the others already, it is the one they differ in. In pictures, two
    parts are few groups and the channels of each, in either order, three are channels and the rows
    and columns of pixels; in sequences, heads come before the elements of each.
    """
    for axis in range(units.ndim):
        rows = np.moveaxis(units, axis, 0).reshape(units.shape[axis], -1)
        if (rows == rows[:, :1]).all():
            return axis
    if rank >= _IMAGE_RANK:
        return 0 if units.ndim >= _SPLIT_IN_IMAGE else int(np.argmax(units.shape))
    return max(0, units.ndim - 2)


def matched(before: Sequence[int | None], after: Sequence[int | None]) -> list[Block] | None:
    """Return which axes hold the same elements; None where sizes do not tell.

    Axes of unknown size are taken to be each other's, in order.
    """
    blocks: list[Block] = []
    for old, new in _between_unknown(before, after):
        part = _factored(before, after, old, new)
        if part is None:
            return None
        blocks.extend(part)
    return blocks


def _between_unknown(before: Sequence[int | None], after: Sequence[int | None]) -> Iterator[Block]:
    """Yield the runs of known axes, and those of one unknown axis each."""
    unknown = [[axis for axis, size in enumerate(s) if size is None] for s in (before, after)]
    if len(unknown[0]) != len(unknown[1]):
        yield range(len(before)), range(len(after))
        return
    start = (0, 0)
    for old, new in zip(*unknown, strict=True):
        yield range(start[0], old), range(start[1], new)
        yield range(old, old + 1), range(new, new + 1)
        start = (old + 1, new + 1)
    yield range(start[0], len(before)), range(start[1], len(after))


def _factored(
    before: Sequence[int | None], after: Sequence[int | None], old: range, new: range
) -> list[Block] | None:
    """Return the smallest runs of axes with as many elements on both sides."""
    if len(old) == 1 and before[old[0]] is None:
        return [(old, new)]
    blocks: list[Block] = []
    i, j = old.start, new.start
    while i < old.stop and j < new.stop:
        first, second = i, j
        left, right = before[i], after[j]
        i, j = i + 1, j + 1
        while left != right:
            if left is None or right is None:
                return None
            if left < right and i < old.stop and before[i] is not None:
                left, i = left * (before[i] or 1), i + 1
            elif right < left and j < new.stop and after[j] is not None:
                right, j = right * (after[j] or 1), j + 1
            else:
                return None
        blocks.append((range(first, i), range(second, j)))
    if any(before[axis] != 1 for axis in range(i, old.stop)) or any(
        after[axis] != 1 for axis in range(j, new.stop)
    ):
        return None
    return blocks


def _set_target(node: ir.Node, counts: Sequence[int | None]) -> None:
    target = attribute_or_input(node, "shape", 1)
    assert target is not None
    changed = [
        size if count is None or size in (0, -1) else count
        for size, count in zip(target, counts, strict=True)
    ]
    if changed == target:
        return
    if "shape" in node.attributes:
        node.attributes.add(ir.AttrInt64s("shape", changed))
    else:
        set_input(node, 1, np.array(changed, np.int64), "shape")


__all__ = ["flatten", "matched", "numbers", "reshape"]
