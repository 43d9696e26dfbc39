"""Which axes before and behind a Reshape hold the same elements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import onnx_ir as ir

Sizes = Sequence[int | str | None]
"""How long axes are: a number, a symbol, or None where nothing is known."""

Block = tuple[range, range]
"""Axes before and axes after that hold the same elements."""


def named_sizes(value: ir.Value | None) -> tuple[int | str | None, ...]:
    """Return the sizes of a tensor's axes; none where its rank is not known."""
    if value is None or value.shape is None:
        return ()
    return tuple(size if isinstance(size, int) else size.value for size in value.shape)


def matched(before: Sizes, after: Sizes) -> list[Block] | None:
    """Return which axes hold the same elements; None where the sizes contradict each other.

    Sizes are compared from both ends, as elements keep their order. Of what is left between,
    unknown axes are taken to be each other's, in order, if there are as many on both sides and
    what lies between them fits; else it is one block.
    """
    head, start = _greedy(before, after, range(len(before)), range(len(after)))
    tail, stop = _from_behind(before, after, start)
    old, new = range(start[0], stop[0]), range(start[1], stop[1])
    rest = [*(before[axis] for axis in old), *(after[axis] for axis in new)]
    if all(size == 1 for size in rest):
        return [*head, *tail]
    if all(isinstance(size, int) for size in rest):
        return None
    return [*head, *(_in_order(before, after, old, new) or [(old, new)]), *tail]


def _greedy(
    before: Sizes, after: Sizes, old: range, new: range
) -> tuple[list[Block], tuple[int, int]]:
    """Return the smallest runs of axes with as many elements on both sides, and where they end."""
    blocks: list[Block] = []
    i, j = old.start, new.start
    while (ends := _next_block(before[: old.stop], after[: new.stop], i, j)) is not None:
        blocks.append((range(i, ends[0]), range(j, ends[1])))
        i, j = ends
    return blocks, (i, j)


def _next_block(before: Sizes, after: Sizes, i: int, j: int) -> tuple[int, int] | None:
    """Return where the shortest runs from ``i`` and ``j`` on end that have equal products."""
    if i >= len(before) or j >= len(after):
        return None
    left, right = before[i], after[j]
    i, j = i + 1, j + 1
    while left != right:
        if not isinstance(left, int) or not isinstance(right, int):
            return None
        further = before[i] if left < right and i < len(before) else None
        if left > right and j < len(after):
            further = after[j]
        if not isinstance(further, int):
            return None
        if left < right:
            left, i = left * further, i + 1
        else:
            right, j = right * further, j + 1
    return None if left is None else (i, j)


def _from_behind(
    before: Sizes,
    after: Sizes,
    start: tuple[int, int],
) -> tuple[list[Block], tuple[int, int]]:
    """Return runs of axes counted from the last one, down to ``start``, and where they begin."""
    last = len(before), len(after)
    turned = range(last[0] - start[0]), range(last[1] - start[1])
    blocks, done = _greedy(before[::-1], after[::-1], *turned)
    found = [(_turned(old, last[0]), _turned(new, last[1])) for old, new in blocks]
    return found[::-1], (last[0] - done[0], last[1] - done[1])


def _turned(axes: range, last: int) -> range:
    return range(last - axes.stop, last - axes.start)


def _in_order(before: Sizes, after: Sizes, old: range, new: range) -> list[Block] | None:
    """Return the blocks where the unknown axes are each other's; None if that does not fit."""
    blocks: list[Block] = []
    for one, other in _runs(before, after, old, new):
        unknown = len(one) == 1 and not isinstance(before[one[0]], int)
        found, ends = (
            ([(one, other)], (one.stop, other.stop))
            if unknown
            else _greedy(before, after, one, other)
        )
        rest = [*before[ends[0] : one.stop], *after[ends[1] : other.stop]]
        if any(size != 1 for size in rest):
            return None
        blocks.extend(found)
    return blocks


def _runs(before: Sizes, after: Sizes, old: range, new: range) -> Iterator[Block]:
    """Yield the runs of known axes, and those of one unknown axis each."""
    unknown = [
        [axis for axis in axes if not isinstance(sizes[axis], int)]
        for sizes, axes in ((before, old), (after, new))
    ]
    if len(unknown[0]) != len(unknown[1]):
        yield old, new
        return
    start = (old.start, new.start)
    for one, other in zip(*unknown, strict=True):
        yield range(start[0], one), range(start[1], other)
        yield range(one, one + 1), range(other, other + 1)
        start = (one + 1, other + 1)
    yield range(start[0], old.stop), range(start[1], new.stop)
