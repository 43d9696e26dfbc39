from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmopt.calibration.equalize_search import (
    STRENGTHS,
    Fold,
    Read,
    Search,
    quantized_rows,
    quantized_weight,
    search_scaling,
)
from bmopt.core.ranges import Interval
from bmopt.core.runner import Array
from bmopt.core.scheme import Encoding
from bmopt.graph.cross_layer import FactorLimits

ROWS = Encoding("uint8", symmetric=False, low=0, high=255)
SIGNED = Encoding("int8", symmetric=True, low=-128, high=127)
WEIGHT = Encoding("int8", symmetric=True, low=-127, high=127, per_channel=True)
FLOAT8 = Encoding("float8e4m3fn", symmetric=True, low=-448, high=448)


def free(channels: int) -> FactorLimits:
    return FactorLimits(np.zeros(channels), np.full(channels, 1024.0))


def fold(rows: Array) -> Fold:
    return Fold(rows, rows.min(axis=0), rows.max(axis=0))


def dense(rng: np.random.Generator, scales: Array, outputs: int = 12) -> Read:
    channels = len(scales)
    rows = (rng.standard_normal((200, channels)) * scales).astype(np.float32)
    weight = rng.standard_normal((1, channels, 1, outputs)).astype(np.float32)
    return Read((fold(rows),), weight)


def error_of(read: Read, factors: Array) -> float:
    """Quantise and multiply as an integer engine would, written out once more."""
    (part,), weight = read.folds, read.weight[0, :, 0, :].astype(np.float64)
    rows, scaled = part.rows * factors, weight / factors[:, None]
    low, high = min(rows.min(), 0), max(rows.max(), 0)
    step = (high - low) / 255
    zero = np.clip(np.rint(-low / step), 0, 255)
    rounded = (np.clip(np.rint(rows / step) + zero, 0, 255) - zero) * step
    steps = np.abs(scaled).max(axis=0) / 127
    got, want = rounded @ (np.rint(scaled / steps) * steps), part.rows @ weight
    return float(np.square(got - want).sum() / np.square(want).sum())


@settings(max_examples=20)
@given(seed=st.integers(0, 2**16), spread=st.floats(0, 4))
def test_never_worse_than_none_and_as_good_as_it_says(seed: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    read = dense(rng, 10.0 ** rng.uniform(-spread, 0, 8))
    found = search_scaling([read], ROWS, WEIGHT, limits=free(8))
    assert list(found.errors) == list(STRENGTHS)
    assert found.errors[found.strength] == min(found.errors.values())
    assert found.errors[0.0] == pytest.approx(error_of(read, np.ones(8)), rel=5e-2)
    assert found.errors[found.strength] == pytest.approx(error_of(read, found.factors), rel=5e-2)
    assert error_of(read, found.factors) <= error_of(read, np.ones(8)) * 1.05


@pytest.mark.parametrize("encoding", [ROWS, SIGNED])
def test_an_outlier_channel_is_tamed(encoding: Encoding) -> None:
    scales = np.ones(16)
    scales[5] = 60.0
    read = dense(np.random.default_rng(0), scales)
    found = search_scaling([read], encoding, WEIGHT, limits=free(16))
    assert found.strength > 0
    assert found.errors[found.strength] < found.errors[0.0] / 5
    assert found.factors[5] == found.factors.min()


def test_even_channels_stay_as_they_are() -> None:
    rows = np.tile(np.linspace(-1, 1, 64, dtype=np.float32)[:, None], (1, 4))
    weight = np.ones((1, 4, 1, 3), np.float32)
    found = search_scaling([Read((fold(rows),), weight)], ROWS, WEIGHT, limits=free(4))
    assert found.strength == 0.0
    np.testing.assert_array_equal(found.factors, np.ones(4))


def test_nothing_seen_gives_nothing() -> None:
    read = Read((fold(np.zeros((8, 4), np.float32)),), np.ones((1, 4, 1, 3), np.float32))
    found = search_scaling([read], ROWS, WEIGHT, limits=free(4))
    np.testing.assert_array_equal(found.factors, np.ones(4))


def test_a_depthwise_reader_takes_everything() -> None:
    rng = np.random.default_rng(1)
    scales = np.array([1.0, 0.1, 0.01, 0.5])
    rows = np.abs(rng.standard_normal((300, 4)) * scales).astype(np.float32)
    read = Read((fold(rows),), rng.standard_normal((4, 1, 9, 1)).astype(np.float32))
    found = search_scaling([read], ROWS, WEIGHT, limits=free(4))
    assert found.strength == 1.0
    np.testing.assert_allclose(found.factors * rows.max(axis=0), (found.factors * rows).max())


def test_headroom_keeps_small_channels_below_the_largest() -> None:
    rng = np.random.default_rng(1)
    rows = np.abs(rng.standard_normal((300, 3)) * [1.0, 0.9, 0.01]).astype(np.float32)
    read = Read((fold(rows),), np.ones((3, 1, 1, 1), np.float32))
    found = search_scaling([read], ROWS, WEIGHT, limits=free(3), strengths=(1.0,), headroom=1.5)
    tops = found.factors * rows.max(axis=0)
    level = rows.max(axis=0) / rows.max()
    np.testing.assert_allclose(tops / tops.max(), np.maximum(level, 1 / 1.5), rtol=1e-5)


def test_runs_of_channels_share_a_factor() -> None:
    rng = np.random.default_rng(2)
    read = dense(rng, np.repeat([1.0, 0.02, 0.5], 4))
    found = search_scaling([read], ROWS, WEIGHT, limits=free(3))
    assert found.factors.shape == (3,)
    assert found.errors[found.strength] < found.errors[0.0]


def test_all_readers_count() -> None:
    """What one reader would like best is too much for the other, whose weights are uneven."""
    rng = np.random.default_rng(3)
    first = dense(rng, np.array([1.0, 0.05, 1.0, 0.2]))
    uneven = np.array([1.0, 300.0, 1.0, 30.0], np.float32)[None, :, None, None]
    second = dataclasses.replace(first, weight=first.weight / uneven)
    alone = search_scaling([first], ROWS, WEIGHT, limits=free(4))
    both = search_scaling([first, second], ROWS, WEIGHT, limits=free(4))
    other = search_scaling([second], ROWS, WEIGHT, limits=free(4))
    assert both.errors[0.0] == pytest.approx(alone.errors[0.0] + other.errors[0.0])


def test_unseen_values_speak_against_even_ranges() -> None:
    """The extremes of other rows are smaller in a quiet channel that sometimes is not quiet."""
    rng = np.random.default_rng(4)
    rows = np.abs(rng.standard_normal((400, 3)) * [1.0, 1.0, 0.02]).astype(np.float32)
    weight = np.ones((3, 1, 1, 1), np.float32)
    seen = fold(rows)
    rare = rows.copy()
    rare[::20, 2] = 1.0

    def strength(part: Fold) -> float:
        read = Read((part,), weight)
        return search_scaling([read], ROWS, WEIGHT, limits=free(3), strengths=(1.0,)).strength

    assert strength(seen) == 1.0
    assert strength(Fold(rare, seen.low, seen.high)) == 0.0


def test_limits_hold() -> None:
    read = dense(np.random.default_rng(0), np.array([1.0, 0.1, 0.1, 0.1]))
    limits = FactorLimits(np.array([1.0, 0, 0, 0]), np.array([1.0, 2.0, 3.0, 1024.0]))
    found: Search = search_scaling([read], ROWS, WEIGHT, limits=limits)
    assert found.strength > 0
    assert found.factors[0] == 1.0
    assert found.factors[1] <= 2.0
    assert found.factors[2] <= 3.0


def test_float8_is_rounded_as_float8() -> None:
    rows = np.array([[448.0, 17.0, 0.3]], np.float32)
    got = quantized_rows(rows, Interval(-448.0, 448.0), FLOAT8)
    np.testing.assert_allclose(got, [[448.0, 16.0, 0.3125]])
    weight = np.array([1.0, 0.51], np.float32).reshape(1, 2, 1, 1)
    assert abs(float(quantized_weight(weight, FLOAT8)[0, 1, 0, 0]) - 0.51) < 0.51 / 16
