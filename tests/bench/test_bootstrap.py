from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmopt.bench.bootstrap import Difference, paired_bootstrap, unseen_share
from bmopt.bench.metric import Estimator, Floats, mean_of, ratio_of_sums


def difference(left: Floats, right: Floats, *, fraction: bool = False) -> Difference:
    found = paired_bootstrap(mean_of(left), mean_of(right), fraction=fraction)
    assert found is not None
    return found


def test_agrees_with_the_normal_approximation() -> None:
    generator = np.random.default_rng(1)
    left = generator.normal(10.0, 3.0, 2000)
    right = left + generator.normal(0.5, 1.0, 2000)
    step = right - left
    half = 2.58 * step.std() / np.sqrt(2000)
    found = difference(left, right)
    assert found.change.low == pytest.approx(step.mean() - half, abs=0.01)
    assert found.change.high == pytest.approx(step.mean() + half, abs=0.01)
    assert found.relative is not None
    assert found.relative.low == pytest.approx(found.change.low / left.mean(), rel=0.05)
    assert found.resamples == 10_000


@pytest.mark.parametrize("samples", [10, 40])
def test_covers_with_few_and_skewed_samples(samples: int) -> None:
    generator = np.random.default_rng(2)
    missed = 0
    for seed in range(100):
        step = generator.exponential(1.0, samples)
        zero = mean_of(np.zeros(samples))
        found = paired_bootstrap(zero, mean_of(step), fraction=False, seed=seed)
        assert found is not None
        missed += not found.change.low <= 1.0 <= found.change.high
    assert missed <= 6


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_swapping_the_models_mirrors_the_interval(seed: int) -> None:
    generator = np.random.default_rng(seed)
    left, right = generator.normal(size=60), generator.normal(size=60)
    there, back = difference(left, right), difference(right, left)
    assert there.change.low == pytest.approx(-back.change.high)
    assert there.change.high == pytest.approx(-back.change.low)
    assert there.change.low <= right.mean() - left.mean() <= there.change.high


def test_equal_models_have_no_change_but_what_was_not_seen() -> None:
    scores = np.linspace(0, 1, 100)
    assert difference(scores, scores).change.high == 0.0
    bounded = difference(scores, scores, fraction=True).change
    assert (bounded.low, bounded.high) == pytest.approx((-0.0516, 0.0516), abs=1e-4)
    # The rule of three, for 99.5 %.
    assert unseen_share(1000, 0.99) == pytest.approx(5.3 / 1000, rel=0.01)


def test_sums_are_resampled_not_averaged() -> None:
    """A long sample counts as much as it is long."""
    edits, words = np.array([0.0] * 50 + [40.0]), np.array([1.0] * 50 + [50.0])
    assert ratio_of_sums(edits, words).value() == 0.4


def test_expensive_metrics_get_fewer_resamples_and_a_standard_error() -> None:
    generator = np.random.default_rng(3)
    left = generator.normal(size=400)
    right = left + generator.normal(0.0, 1.0, 400)
    costly = [Estimator(400, 1_000_000, mean_of(x).values) for x in (left, right)]
    found = paired_bootstrap(*costly, fraction=False)
    assert found is not None
    assert found.resamples == 200
    exact = difference(left, right).change
    assert found.change.high - found.change.low == pytest.approx(exact.high - exact.low, rel=0.15)


def test_no_interval_for_few_samples_or_no_numbers() -> None:
    few = mean_of(np.ones(9))
    assert paired_bootstrap(few, few, fraction=False) is None
    lost = mean_of(np.array([np.nan] * 20))
    assert paired_bootstrap(mean_of(np.ones(20)), lost, fraction=False) is None
    with pytest.raises(ValueError, match="same samples"):
        paired_bootstrap(few, mean_of(np.ones(8)), fraction=False)


def test_a_reference_of_zero_has_no_relative_change() -> None:
    found = difference(np.zeros(20), np.ones(20))
    assert found.relative is None
    assert (found.change.low, found.change.high) == (1.0, 1.0)


def test_is_repeatable_and_fast() -> None:
    generator = np.random.default_rng(4)
    left, right = generator.random(2000), generator.random(2000)
    begin = time.process_time()
    found = difference(left, right)
    assert time.process_time() - begin < 5.0
    assert found == difference(left, right)
