from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmopt.graph.axes import Block, matched

SIZES = st.lists(st.integers(1, 4), max_size=4)


def block(old: tuple[int, int], new: tuple[int, int]) -> Block:
    return range(*old), range(*new)


@pytest.mark.parametrize(
    ("before", "after", "blocks"),
    [
        ((2, 3, 4), (6, 4), [block((0, 2), (0, 1)), block((2, 3), (1, 2))]),
        ((None, 8, 1, 1), (None, 8), [block((0, 1), (0, 1)), block((1, 4), (1, 2))]),
        ((2, 6), (3, 4), [block((0, 2), (0, 2))]),
        ((2, 3), (7,), None),
        # Tokens join the batch, and leave it again.
        (("N", 17, 32), ("M", 32), [block((0, 2), (0, 1)), block((2, 3), (1, 2))]),
        (("M", 12), ("N", 17, 3, 4), [block((0, 1), (0, 2)), block((1, 2), (2, 4))]),
        # Groups of channels of pictures of any size.
        (("N", 8, "H", "W"), ("N", 4, None), [block((0, 1), (0, 1)), block((1, 4), (1, 3))]),
    ],
)
def test_axes_are_matched_by_their_elements(
    before: tuple[int | str | None, ...],
    after: tuple[int | str | None, ...],
    blocks: list[Block] | None,
) -> None:
    assert matched(before, after) == blocks


@given(SIZES, SIZES, st.lists(st.integers(0, 7)))
def test_blocks_have_as_many_elements_on_both_sides(
    before: list[int], more: list[int], unknown: list[int]
) -> None:
    after = [*more, math.prod(before)] if math.prod(more) == 1 else [math.prod(before)]
    hidden = [f"d{i}" if i in unknown else size for i, size in enumerate(before)]
    blocks = matched(hidden, after)
    if any(isinstance(size, str) for size in hidden):
        return
    assert blocks is not None
    for old, new in blocks:
        assert math.prod(before[i] for i in old) == math.prod(after[i] for i in new)
