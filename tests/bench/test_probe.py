"""The compiled probe: its loops compute what they say, and its rates are of as much work."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmopt import _ext

BRIEF = (1.0, 5, 1)


@given(st.integers(0, 3000))
def test_every_float_multiply_add_is_done(rounds: int) -> None:
    _, total, operations = _ext.float32_loop(rounds, 1.0, 1.0)
    assert total == operations / 2


@given(st.integers(0, 3000))
def test_every_byte_product_is_done(rounds: int) -> None:
    _, total, operations = _ext.int8_loop(rounds, 1, 1)
    assert total == operations / 2


@given(st.integers(1, 12), st.integers(-3, 3), st.integers(-3, 3))
def test_the_float_loop_is_the_recurrence(rounds: int, factor: int, addend: int) -> None:
    value = np.float32(0)
    for _ in range(rounds):
        value = np.float32(value * np.float32(factor) + np.float32(addend))
    _, _, operations = _ext.float32_loop(rounds, 1.0, 1.0)
    accumulators = operations // 2 // rounds
    assert _ext.float32_loop(rounds, float(factor), float(addend))[1] == accumulators * float(
        value
    )


@given(st.integers(1, 500), st.integers(0, 127), st.integers(-128, 127))
def test_the_byte_loop_is_a_dot_product(rounds: int, first: int, second: int) -> None:
    _, total, operations = _ext.int8_loop(rounds, first, second)
    assert total == operations / 2 * first * second


@given(st.lists(st.integers(0, 2**64 - 1), max_size=300))
def test_every_word_is_read(words: list[int]) -> None:
    assert _ext.sum_words(np.array(words, np.uint64)) == sum(words) % 2**64


@pytest.mark.parametrize("rate", [_ext.float32_rate, _ext.int8_rate])
def test_arithmetic_rates_are_a_processor_s(rate: object) -> None:
    assert callable(rate)
    assert 1e8 < rate(*BRIEF) < 1e14


@pytest.mark.parametrize("size", [1, 1 << 16, (1 << 22) + 8])
def test_bandwidths_are_a_memory_s(size: int) -> None:
    assert 1e7 < _ext.read_rate(size, *BRIEF) < 1e13
    assert 1e7 < _ext.copy_rate(size, *BRIEF) < 1e13


def test_every_thread_counts() -> None:
    one, three = (_ext.float32_rate(2.0, 20, threads) for threads in (1, 3))
    assert three > 0.5 * one


@pytest.mark.parametrize("effort", [(0.0, 1, 1), (1.0, 0, 1), (1.0, 1, 0), (float("nan"), 1, 1)])
def test_an_effort_that_runs_nothing_is_refused(effort: tuple[float, int, int]) -> None:
    with pytest.raises(ValueError, match="above 0"):
        _ext.float32_rate(*effort)
    with pytest.raises(ValueError, match="above 0"):
        _ext.copy_rate(1 << 16, *effort)
