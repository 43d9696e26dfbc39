from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmopt.bench.early_stopping import CONFIDENCE, percentile, queries_needed, slow_allowed

# What LoadGen's own early_stopping.cc answers for 0, 1, 2, 3 and 12 slow queries.
LOADGEN = {
    0.5: (7, 11, 14, 17, 40),
    0.9: (44, 64, 81, 97, 223),
    0.95: (90, 130, 165, 198, 451),
    0.97: (152, 219, 277, 332, 756),
    0.99: (459, 662, 838, 1001, 2277),
    0.999: (4603, 6636, 8403, 10042, 22816),
}


@pytest.mark.parametrize("quantile", LOADGEN)
def test_the_floors_are_loadgens(quantile: float) -> None:
    found = tuple(queries_needed(quantile, slow) for slow in (0, 1, 2, 3, 12))
    assert found == LOADGEN[quantile]


def chance_of_at_most(slow: int, ran: int, quantile: float) -> float:
    """Sum the binomial distribution exactly as it is written."""
    return sum(
        math.comb(ran, k) * (1.0 - quantile) ** k * quantile ** (ran - k) for k in range(slow + 1)
    )


@settings(max_examples=60, deadline=None)
@given(ran=st.integers(0, 900), quantile=st.sampled_from(sorted(LOADGEN)))
def test_the_slow_queries_allowed_are_as_many_as_the_binomial_permits(
    ran: int, quantile: float
) -> None:
    allowed = slow_allowed(ran, quantile)
    limit = 1.0 - CONFIDENCE
    assert allowed == -1 or chance_of_at_most(allowed, ran, quantile) <= limit
    assert chance_of_at_most(allowed + 1, ran, quantile) > limit
    assert (
        ran >= queries_needed(quantile, allowed)
        if allowed >= 0
        else ran < queries_needed(quantile)
    )


def test_a_percentile_without_enough_queries_says_how_many_it_needs() -> None:
    found = percentile(np.arange(212), 0.99)
    assert (found.value, found.upper) == (None, None)
    assert found.text == "p99 needs 459 queries, 212 ran"
    assert percentile(np.arange(1000), 0.999).text == "p99.9 needs 4,603 queries, 1,000 ran"


def test_with_the_fewest_queries_the_bound_is_the_slowest_of_them() -> None:
    samples = np.random.default_rng(0).permutation(459) * 1_000_000
    found = percentile(samples, 0.99)
    assert found.value == 454e6
    assert found.upper == 458e6
    assert found.text == "p99 454 ms"


def test_the_bound_is_an_order_statistic_above_the_percentile() -> None:
    found = percentile(np.arange(100_000), 0.99)
    assert found.value == 99_000
    assert found.upper == 99_999 - slow_allowed(100_000, 0.99)
    assert 99_000 < found.upper < 99_090


def test_the_bound_holds_in_99_of_100_runs() -> None:
    generator = np.random.default_rng(1)
    truth = -math.log(1.0 - 0.9) * 1e6
    runs = [percentile(generator.exponential(1e6, 300), 0.9).upper for _ in range(2000)]
    missed = sum(upper is not None and upper < truth for upper in runs)
    assert missed <= 35  # 20 expected at most; 35 in a run of luck of 1 in 1000
