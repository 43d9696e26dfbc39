from __future__ import annotations

import dataclasses

import hypothesis.strategies as st
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings

from bmopt.calibration.sequence.grid import limit_of, on_grid, regridded
from bmopt.calibration.sequence.storage import Storage
from bmopt.core.plan import WeightQuant

PER_CHANNEL = WeightQuant(1, "int8", 0, (0.5, 0.25), 127)
PER_TENSOR = WeightQuant(1, "int8", None, (0.5,), 127)


def test_weights_are_rounded_as_they_are_stored() -> None:
    weight = np.array([[0.3, -70.0, 1.2], [0.3, 80.0, 1.2]], np.float32)
    found = on_grid(weight, PER_CHANNEL)
    np.testing.assert_array_equal(found, [[0.5, -63.5, 1.0], [0.25, 31.75, 1.25]])
    np.testing.assert_array_equal(on_grid(weight, PER_TENSOR)[1], [0.5, 63.5, 1.0])


def test_the_lowest_number_has_no_positive_one() -> None:
    quant = dataclasses.replace(PER_TENSOR, limit=128)
    weight = np.array([-64.0, 64.0], np.float32)
    np.testing.assert_array_equal(on_grid(weight, quant), [-64.0, 63.5])
    assert limit_of(quant) == 127
    assert limit_of(dataclasses.replace(quant, limit=64)) == 64


@given(st.integers(0, 1 << 16), st.sampled_from(["int8", "uint8", "float8e4m3fn"]))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_a_gain_in_the_scales_keeps_what_is_stored(seed: int, dtype: str) -> None:
    rng = np.random.default_rng(seed)
    scales = rng.uniform(1e-6, 1, 3).astype(np.float32).astype(np.float64)
    quant = WeightQuant(1, dtype, 0, tuple(scales), 448 if dtype.startswith("float8") else 127)
    weight = on_grid(rng.standard_normal((3, 50)).astype(np.float32), quant)
    gain = rng.uniform(0.8, 1.25, 3)
    new = (scales * gain).astype(np.float32).astype(np.float64)
    found = regridded(weight, quant, gain, new)
    before, after = weight / scales[:, None], found / new[:, None]
    if dtype.startswith("float8"):
        before, after = (part.astype(ml_dtypes.float8_e4m3fn) for part in (before, after))
        np.testing.assert_array_equal(before, after)
    else:
        np.testing.assert_array_equal(np.rint(before), np.rint(after))
        np.testing.assert_allclose(after, np.rint(after), atol=1e-4)


def test_coarser_scales_round_anew() -> None:
    weight = np.array([[0.5, 1.0, 5.5], [0.25, 0.5, 1.0]], np.float32)
    found = regridded(weight, PER_CHANNEL, np.ones(2), np.array([2.0, 0.25]))
    np.testing.assert_array_equal(found, [[0.0, 0.0, 6.0], [0.25, 0.5, 1.0]])


def test_scales_grow_until_a_bias_fits_32_bits() -> None:
    storage = Storage(PER_CHANNEL, 0.01, in_float16=False)
    scales = storage.scales(np.array([1e-12, 0.25]), np.array([5.0, 5.0]))
    assert scales[1] == 0.25
    assert 5.0 / (0.01 * scales[0]) == pytest.approx(2**30, rel=1e-6)
    one = Storage(PER_TENSOR, 0.01, in_float16=False)
    assert len(one.scales(np.array([1e-12]), np.array([5.0, 6.0]))) == 1
    assert one.scales(np.array([1e-12]), np.array([5.0, 6.0]))[0] > 5.5e-7


def test_scales_are_held_by_float16_where_that_is_asked_for() -> None:
    wanted = np.array([1e-6, 0.1])
    free = Storage(PER_CHANNEL, 0.01, in_float16=False).scales(wanted, np.zeros(2))
    np.testing.assert_array_equal(free, wanted.astype(np.float32))
    held = Storage(PER_CHANNEL, 0.01, in_float16=True).scales(wanted, np.zeros(2))
    assert held[0] == 17 * 2.0**-24
    assert held[1] == np.float32(0.1)
