from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmopt.core.cast_plan import HalfType
from bmopt.graph.half_format import HalfFormat

TYPES: tuple[HalfType, ...] = ("float16", "bfloat16")


@pytest.mark.parametrize("name", TYPES)
def test_the_numbers_are_those_of_the_type(name: HalfType) -> None:
    half = HalfFormat.of(name)
    info = ml_dtypes.finfo(half.dtype.numpy())  # type: ignore[no-untyped-call]
    assert half.largest == float(info.max)
    assert half.smallest_normal == float(info.smallest_normal)
    exact = np.arange(half.integers + 1, dtype=np.float32)
    np.testing.assert_array_equal(half.round(exact).astype(np.float32), exact)
    beyond = np.array([half.integers + 1], np.float32)
    assert half.round(beyond).astype(np.float32) != beyond


def test_what_is_beyond_becomes_half_the_largest_number() -> None:
    numbers = np.array([-3.4e38, 1e5, 65504, -1, 1e-9, np.inf, -np.inf], np.float32)
    got = HalfFormat.of("float16").saturate(numbers)
    assert got.dtype == np.float16
    assert got.tolist() == [-32752, 32752, 65504, -1, 0, np.inf, -np.inf]


def test_the_smallest_float32_is_beyond_bfloat16() -> None:
    half = HalfFormat.of("bfloat16")
    lowest = np.array([np.finfo(np.float32).min])
    assert half.overflows(lowest).all()
    assert np.isfinite(half.saturate(lowest).astype(np.float32)).all()


def test_overflows_and_flushes() -> None:
    numbers = np.array([65519, 65521, np.inf, 0, 2e-8, 4e-8], np.float32)
    half = HalfFormat.of("float16")
    assert half.overflows(numbers).tolist() == [False, True, False, False, False, False]
    assert half.flushes(numbers).tolist() == [False, False, False, False, True, False]


@pytest.mark.parametrize("name", TYPES)
@given(st.floats(-90, 13))
def test_a_scale_is_never_zero_and_hardly_smaller(name: HalfType, exponent: float) -> None:
    half, scale = HalfFormat.of(name), float(np.float32(2.0**exponent))
    got = float(half.round_scale(np.array(scale, np.float32)))
    assert got > 0
    assert got >= np.float32(scale) * (1 - 1 / half.integers)
    if scale >= half.smallest_normal:
        assert got <= np.float32(scale) * (1 + 1 / half.integers)
    elif name == "float16":
        assert got - scale <= 2.0**-24
