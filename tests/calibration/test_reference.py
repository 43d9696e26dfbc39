from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmopt import _ext
from bmopt.calibration import reference
from tests.calibration.float_samples import (
    Floats,
    draw_floats,
    float_arrays,
    sprinkle_not_finite,
)


def observe(*parts: Floats, threads: int = 1) -> _ext.TensorObserver:
    kernel = _ext.TensorObserver()
    for part in parts:
        kernel.update(part, threads)
    return kernel


def assert_counts(kernel: _ext.TensorObserver, expected: reference.Summary) -> None:
    assert kernel.finite == expected.finite
    assert kernel.zeros == expected.zeros
    assert kernel.infinities == expected.infinities
    assert kernel.nans == expected.nans
    assert (kernel.low, kernel.high) == (expected.low, expected.high)
    assert kernel.exponent == expected.exponent
    np.testing.assert_array_equal(kernel.counts(), expected.counts)


@given(float_arrays())
def test_kernel_counts_like_its_twin(values: Floats) -> None:
    assert_counts(observe(values), reference.summarise(values))


@given(float_arrays(), st.integers(0, 2**32 - 1))
def test_kernel_counts_like_its_twin_around_nan_and_infinity(values: Floats, seed: int) -> None:
    mixed = sprinkle_not_finite(values, seed)
    assert_counts(observe(mixed), reference.summarise(mixed))


@given(float_arrays(), st.lists(st.floats(0, 1), max_size=4), st.randoms(use_true_random=False))
def test_counts_depend_neither_on_split_nor_on_order(
    values: Floats, cuts: list[float], random: np.random.Generator
) -> None:
    parts = np.split(values, sorted(int(cut * values.size) for cut in cuts))
    random.shuffle(parts)
    assert_counts(observe(*parts), reference.summarise(values))


@given(float_arrays(2000), float_arrays(2000), float_arrays(2000))
def test_merge_is_associative(a: Floats, b: Floats, c: Floats) -> None:
    left = observe(a)
    left.merge(observe(b))
    left.merge(observe(c))
    right_tail = observe(b)
    right_tail.merge(observe(c))
    right = observe(a)
    right.merge(right_tail)
    assert_counts(left, reference.summarise(np.concatenate([a, b, c])))
    assert_counts(right, reference.summarise(np.concatenate([a, b, c])))
    assert left.moving_average == pytest.approx(right.moving_average, rel=1e-12)


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_counts_do_not_depend_on_threads(threads: int) -> None:
    # Large enough for two threads or more; the largest values come last, so that ranges differ.
    values = draw_floats(7, 1_200_000, special=0.01)
    values[:900_000] *= np.float32(1e-3)
    assert_counts(observe(values, threads=threads), reference.summarise(values))


def test_narrow_counters_do_not_overflow() -> None:
    # One bin takes more than the 65,535 that a narrow counter holds, several times over.
    values = np.full(1_000_000, 1.5, np.float32)
    kernel = observe(values)
    assert kernel.counts().max() == values.size


@given(float_arrays(3000), st.integers(1, 12))
def test_doubling_is_counting_in_a_wider_range(values: Floats, times: int) -> None:
    summary = reference.summarise(values)
    counts = summary.counts
    for _ in range(times):
        counts = reference.double_range(counts)
    finite = values[np.isfinite(values)]
    np.testing.assert_array_equal(counts, reference.count_bins(finite, summary.exponent + times))


def test_range_doubles_when_a_larger_value_arrives() -> None:
    kernel = observe(np.array([0.75], np.float32))
    assert kernel.exponent == 0
    kernel.update(np.array([-4.0], np.float32))
    # 4 is no member of (-4, 4).
    assert kernel.exponent == 3
    occupied = np.flatnonzero(kernel.counts())
    assert list(occupied) == [2048 - 1 - 1024, 2048 + 192]


@settings(deadline=None)
@given(st.lists(float_arrays(300), max_size=6))
def test_moving_average_follows_the_groups(groups: list[Floats]) -> None:
    kernel = _ext.TensorObserver()
    for group in groups:
        kernel.update(group[: group.size // 2])
        kernel.update(group[group.size // 2 :])
        kernel.close_group()
    seen = [reference.summarise(group) for group in groups if group.size]
    expected = (
        reference.moving_average(group.low for group in seen),
        reference.moving_average(group.high for group in seen),
    )
    assert kernel.moving_average == pytest.approx(expected, rel=1e-9)
