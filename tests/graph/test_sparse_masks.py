from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmopt.core.sparsity_pattern import SparsityPattern
from bmopt.graph.sparse_masks import fulfils, kept_mask, zero_blocks

PATTERNS = st.sampled_from(
    ["2:4", "1:4", "1:2", "4:8", "1x4=0.5", "4x4=0.6", "4x1=0.3", "unstructured=0.7", "3x5=0.9"]
)


@settings(deadline=None, max_examples=60)
@given(
    text=PATTERNS, seed=st.integers(0, 1000), outputs=st.integers(1, 9), cells=st.integers(1, 3)
)
def test_masks_fulfil_their_pattern(text: str, seed: int, outputs: int, cells: int) -> None:
    pattern = SparsityPattern.parse(text)
    rng = np.random.default_rng(seed)
    worth = np.square(rng.standard_normal((2, outputs, 8 * cells, 3)))
    kept = kept_mask(worth, pattern)
    assert fulfils(~kept, pattern)
    again = kept_mask(np.where(kept, worth, 0.0), pattern)
    assert np.array_equal(again, kept), "a second time changes nothing"
    if pattern.of:
        assert np.count_nonzero(kept) == round(kept.size * pattern.kept / pattern.of)
    elif not pattern.is_block:
        assert np.count_nonzero(~kept) == int(kept.size * pattern.ratio + 1e-9)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000))
def test_what_stays_is_worth_most(seed: int) -> None:
    worth = np.random.default_rng(seed).random((1, 3, 8, 2))
    kept = kept_mask(worth, SparsityPattern.parse("3:8"))
    for output in range(3):
        for tap in range(2):
            column = worth[0, output, :, tap]
            stays = kept[0, output, :, tap]
            assert column[stays].min() > column[~stays].max()


def test_blocks_at_an_edge_go_whole() -> None:
    worth = np.ones((1, 5, 6, 1))
    worth[0, 4:, :4] = 0.5
    worth[0, :4, 4:] = 0.1
    kept = kept_mask(worth, SparsityPattern.parse("4x4=0.5"))[0, :, :, 0]
    assert not kept[:4, 4:].any()
    assert not kept[4:, :4].any()
    assert kept[:4, :4].all()
    assert kept[4:, 4:].all()


def test_of_equal_ones_the_first_stays() -> None:
    kept = kept_mask(np.ones((1, 1, 4, 1)), SparsityPattern.parse("1:4"))
    assert kept.reshape(-1).tolist() == [True, False, False, False]


@pytest.mark.parametrize(("zeros", "holds"), [([0, 1], True), ([0], False), ([0, 1, 2, 3], True)])
def test_n_of_m_counts_zeros(zeros: list[int], holds: bool) -> None:
    zero = np.zeros((1, 1, 4, 1), np.bool_)
    zero[0, 0, zeros] = True
    assert fulfils(zero, SparsityPattern.parse("2:4")) is holds


def test_channels_that_do_not_divide_fulfil_nothing() -> None:
    assert not fulfils(np.ones((1, 1, 6, 1), np.bool_), SparsityPattern.parse("2:4"))


def test_blocks_of_zeros_are_counted() -> None:
    zero = np.zeros((1, 4, 8, 2), np.bool_)
    zero[0, :, 4:, 0] = True
    zero[0, 0, 0, 1] = True
    assert zero_blocks(zero, 4, 4) == 1
    assert zero_blocks(zero, 1, 4) == 4
