from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmopt.bench.distortion import Sqnr
from bmopt.core.runner import Array

NAN, INF = math.nan, math.inf


def decibels(reference: Array, candidate: Array) -> float | None:
    sqnr = Sqnr()
    sqnr.update(reference, candidate)
    return sqnr.decibels()


@given(seed=st.integers(0, 2**31), parts=st.integers(1, 7))
def test_batches_give_what_the_whole_gives(seed: int, parts: int) -> None:
    generator = np.random.default_rng(seed)
    reference = generator.normal(size=(29, 3)).astype(np.float32)
    candidate = reference + generator.normal(size=reference.shape).astype(np.float32) * 0.01
    sqnr = Sqnr()
    for left, right in zip(
        np.array_split(reference, parts), np.array_split(candidate, parts), strict=True
    ):
        sqnr.update(left, right)
    signal, value = reference.astype(np.float64), candidate.astype(np.float64)
    expected = 10 * math.log10(np.sum(signal**2) / np.sum((signal - value) ** 2))
    assert sqnr.decibels() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("reference", "candidate", "expected"),
    [
        ([1.0, 2.0], [1.0, 2.0], INF),
        ([0.0, 0.0], [0.0, 0.0], INF),
        ([0.0, 0.0], [0.0, 1.0], -INF),
        ([3.0, 1.0], [3.0, 0.0], 10.0),
        ([INF, NAN, 3.0, 1.0], [INF, NAN, 3.0, 0.0], 10.0),
        ([1.0, 2.0], [1.0, NAN], -INF),
        ([1.0, -INF], [1.0, INF], -INF),
    ],
)
def test_defined_values(reference: list[float], candidate: list[float], expected: float) -> None:
    found = decibels(np.array(reference, np.float32), np.array(candidate, np.float32))
    assert found == pytest.approx(expected)


def test_sums_do_not_overflow_in_half_precision() -> None:
    reference = np.full(100, 60000, np.float16)
    assert decibels(reference, reference - np.float16(6016)) == pytest.approx(20, abs=0.1)
    wide = np.full(100, 3.0, ml_dtypes.bfloat16)
    assert decibels(wide, wide) == INF


def test_integers_are_compared_and_text_or_other_shapes_are_not() -> None:
    assert decibels(np.array([3, 1]), np.array([3, 0])) == pytest.approx(10.0)
    assert decibels(np.array(["a"]), np.array(["a"])) is None
    assert decibels(np.zeros(3), np.zeros(4)) is None
