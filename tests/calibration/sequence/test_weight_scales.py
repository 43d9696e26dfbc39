from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from bmopt.calibration.sequence.weight_scales import best_scales


def error(
    weight: np.ndarray, scales: np.ndarray, importance: np.ndarray, limit: int
) -> np.ndarray:
    wide = scales[:, :, None]
    off = weight - np.rint(weight / wide).clip(-limit, limit) * wide
    return np.einsum("gok,gk->go", off * off, importance)


def full(weight: np.ndarray, limit: int) -> np.ndarray:
    return (np.abs(weight).max(axis=2) / limit).astype(np.float32).astype(np.float64)


@given(st.integers(0, 1 << 16), st.sampled_from([7, 64, 127]))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_chosen_scales_err_no_more_than_full_ones(seed: int, limit: int) -> None:
    rng = np.random.default_rng(seed)
    weight, importance = rng.standard_normal((2, 3, 20)) ** 3, rng.uniform(0, 2, (2, 20))
    scales = best_scales(weight, importance, limit, per_channel=True)
    plain = error(weight, full(weight, limit), importance, limit)
    assert (error(weight, scales, importance, limit) <= plain + 1e-12).all()
    np.testing.assert_array_equal(scales, scales.astype(np.float32))


def test_an_outlier_that_does_not_matter_is_clipped() -> None:
    weight = np.random.default_rng(0).uniform(-1, 1, (1, 2, 50))
    weight[0, 0, 3] = 2.0
    importance = np.ones((1, 50))
    importance[0, 3] = 0.0
    scales = best_scales(weight, importance, 7, per_channel=True)
    assert scales[0, 0] < 0.8 * full(weight, 7)[0, 0]


def test_one_scale_for_all_channels() -> None:
    weight = np.random.default_rng(0).standard_normal((2, 3, 20))
    importance = np.ones((2, 20))
    scales = best_scales(weight, importance, 7, per_channel=False)
    assert len(set(scales.reshape(-1).tolist())) == 1
    wide = np.full((2, 3), np.float32(np.abs(weight).max() / 7), np.float64)
    mine = error(weight, scales, importance, 7).sum()
    assert mine <= error(weight, wide, importance, 7).sum()


@pytest.mark.parametrize("per_channel", [False, True])
def test_without_importance_the_largest_number_fits(per_channel: bool) -> None:
    weight = np.random.default_rng(0).standard_normal((1, 3, 20))
    scales = best_scales(weight, np.zeros((1, 20)), 127, per_channel=per_channel)
    assert np.abs(weight / scales[:, :, None]).max() == pytest.approx(127, rel=1e-6)


def test_a_weight_of_zeros_has_a_scale() -> None:
    scales = best_scales(np.zeros((1, 2, 4)), np.ones((1, 4)), 127, per_channel=True)
    np.testing.assert_array_equal(scales, [[1, 1]])
