from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmopt import _ext
from bmopt.calibration import reference, reference_ranges
from bmopt.core.ranges import METHODS
from tests.calibration.float_samples import Floats, draw_floats, float_arrays


def kernel_ranges(
    values: Floats, percentile: float = 99.99
) -> dict[str, tuple[float, float, float]]:
    kernel = _ext.TensorObserver()
    kernel.update(values)
    return kernel.ranges(percentile)


def profile_of(values: Floats) -> reference_ranges.Profile:
    return reference_ranges.Profile.of(reference.summarise(values))


def cut_of(side: reference_ranges.Side, value: float, width: float) -> int:
    """Return how many bins a chosen range keeps of a side."""
    return side.top if side.top == 0 or value / width >= side.extreme else round(value / width)


@settings(deadline=None, max_examples=60)
@given(float_arrays(5000), st.sampled_from([100.0, 99.99, 99.0, 50.0]))
def test_simple_methods_choose_like_their_twins(values: Floats, percentile: float) -> None:
    found = kernel_ranges(values, percentile)
    expected = reference_ranges.select_ranges(values, [values], percentile)
    assert tuple(found) == METHODS
    for method in ("minmax", "moving-average", "percentile"):
        assert found[method] == pytest.approx(expected[method], rel=1e-12, abs=0.0)


@settings(deadline=None, max_examples=40)
@given(float_arrays(5000))
def test_mse_is_as_small_as_its_twin_finds(values: Floats) -> None:
    if not values.any():
        return
    profile = profile_of(values)
    found = kernel_ranges(values)["mse"]
    expected = reference_ranges.mse_cut(profile)

    def error(negative: float, positive: float) -> float:
        cuts = [
            np.array([cut_of(side, cut, 1.0)])
            for side, cut in (
                (profile.negative, negative),
                (profile.positive, positive),
            )
        ]
        return float(reference_ranges.mse_affine_errors(profile, cuts[0], cuts[1])[0, 0])

    bound = reference_ranges.mse_bound(profile)
    width = profile.width
    # A cut below the smallest value is handed out as no cut; the twin's choice says so as well.
    if found[:2] != pytest.approx(profile.choice(expected, bound)[:2], rel=1e-12):
        found_error = error(max(0.0, -found[0]) / width, max(0.0, found[1]) / width)
        assert found_error == pytest.approx(error(*expected), rel=1e-9, abs=1e-12)
    cuts = np.array([cut_of(profile.magnitude, b, 1.0) for b in (found[2] / width, bound)])
    errors = reference_ranges.mse_symmetric_errors(profile.magnitude, cuts)
    assert errors[0] == pytest.approx(errors[1], rel=1e-9, abs=1e-12)


@settings(deadline=None, max_examples=15)
@given(float_arrays(5000))
def test_entropy_diverges_as_little_as_its_twin_finds(values: Floats) -> None:
    if not values.any():
        return
    profile = profile_of(values)
    low, high, bound = kernel_ranges(values)["entropy"]
    left, right = profile.negative, profile.positive
    line = np.concatenate([left.counts[::-1], right.counts])

    def affine(negative: float, positive: float) -> float:
        begin = left.top - cut_of(left, negative, 1.0)
        end = left.top + cut_of(right, positive, 1.0)
        return reference_ranges.divergence(line, begin, end, 256)

    width = profile.width
    found = affine(max(0.0, -low) / width, max(0.0, high) / width)
    expected = affine(*reference_ranges.entropy_cut(profile))
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)

    def symmetric(cut: float) -> float:
        end = cut_of(profile.magnitude, cut, 1.0)
        return reference_ranges.divergence(profile.magnitude.counts, 0, end, 128)

    expected_bound = symmetric(reference_ranges.entropy_bound(profile))
    assert symmetric(bound / width) == pytest.approx(expected_bound, rel=1e-9, abs=1e-9)


@settings(deadline=None, max_examples=60)
@given(float_arrays())
def test_no_range_exceeds_the_extremes(values: Floats) -> None:
    if values.size == 0:
        return
    limit = float(np.abs(values).max())
    for low, high, bound in kernel_ranges(values, 99.0).values():
        assert float(values.min()) <= low <= high <= float(values.max())
        assert 0.0 <= bound <= limit
        assert bound > 0.0 or limit == 0.0
        assert low < high or values.min() == values.max()


def test_nothing_finite_gives_empty_ranges() -> None:
    values = np.full(5, -np.inf, np.float32)
    assert set(kernel_ranges(values).values()) == {(0.0, 0.0, 0.0)}


def test_percentile_cuts_half_of_the_tail_on_each_side() -> None:
    values = np.arange(-1000, 1001, dtype=np.float32)
    low, high, bound = kernel_ranges(values, 90.0)["percentile"]
    assert (low, high) == pytest.approx((-900.0, 900.0), abs=1.5)
    assert bound == pytest.approx(900.0, abs=1.5)


def test_percentile_of_a_nearly_always_zero_tensor_is_not_empty() -> None:
    values = np.zeros(100_000, np.float32)
    values[:3] = [1.0, 2.0, 3.0]
    assert kernel_ranges(values)["percentile"] == (0.0, 3.0, 3.0)


@pytest.mark.parametrize("method", ["entropy", "percentile"])
def test_lone_outlier_is_cut_off(method: str) -> None:
    values = np.random.default_rng(1).standard_normal(200_000).astype(np.float32)
    values[17] = 40.0
    low, high, bound = kernel_ranges(values)[method]
    assert low < -2.5
    assert high < 20.0
    assert bound < 20.0


def test_mse_weighs_an_outlier_against_the_rounding_of_the_rest() -> None:
    count, low, outlier = 200_000, -4.0, 40.0
    values = np.random.default_rng(1).uniform(low, 4.0, count).astype(np.float32)
    values[17] = outlier
    # d/dh [(outlier - h)^2 + count * ((h - low) / 255)^2 / 12] = 0
    weight = count / 255.0**2 / 12.0
    expected = (outlier + weight * low) / (1.0 + weight)
    assert kernel_ranges(values)["mse"][1] == pytest.approx(expected, abs=0.1)


@pytest.mark.parametrize("method", ["entropy", "mse"])
def test_zeros_do_not_move_the_range(method: str) -> None:
    values = draw_floats(3, 50_000, relu=True)
    more = np.concatenate([values, np.zeros(500_000, np.float32)])
    assert kernel_ranges(more)[method] == kernel_ranges(values)[method]


def test_mse_beats_the_extremes_when_quantising_for_real() -> None:
    values = draw_floats(5, 100_000)

    def loss(low: float, high: float) -> float:
        step = (high - low) / 255.0
        quantised = low + step * np.round((np.clip(values, low, high) - low) / step)
        return float(((quantised - values) ** 2).mean())

    found = kernel_ranges(values)
    low, high, _ = found["mse"]
    least = min(loss(*found[method][:2]) for method in METHODS)
    assert loss(low, high) <= 1.02 * least


def test_divergence_follows_the_definition() -> None:
    line = np.array([4.0, 0.0, 2.0, 2.0, 1.0, 3.0])
    # Bins 0..3 in two groups; 4 outliers join the last bin: P = [4,0,2,6]/12, Q = [4,0,2,2]/8.
    p = np.array([4, 2, 6]) / 12
    q = np.array([4, 2, 2]) / 8
    expected = float((p * np.log(p / q)).sum())
    assert reference_ranges.divergence(line, 0, 4, 2) == pytest.approx(expected)


def test_divergence_counts_an_empty_group_as_half_a_value() -> None:
    line = np.array([4.0, 0.0, 0.0, 0.0, 1.0])
    p = np.array([4, 1]) / 5
    q = np.array([4, 0.5]) / 4
    expected = float((p * np.log(p / q)).sum())
    assert reference_ranges.divergence(line, 0, 4, 2) == pytest.approx(expected)
