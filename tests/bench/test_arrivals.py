from __future__ import annotations

import math

import numpy as np
import pytest

from bmopt.bench.arrivals import poisson_schedule, sleep_until
from bmopt.bench.clock import MONOTONIC


def schedule(rate: float = 500.0, seed: int = 0, **changes: float) -> np.ndarray:
    least = int(changes.get("min_queries", 20_000))
    return poisson_schedule(
        rate, duration_s=changes.get("duration_s", 1.0), min_queries=least, seed=seed
    )


@pytest.mark.parametrize("seed", range(4))
def test_gaps_are_exponential(seed: int) -> None:
    gaps = np.sort(np.diff(schedule(seed=seed))) / 1e9 * 500.0
    below = np.arange(1, gaps.size + 1) / gaps.size
    model = 1.0 - np.exp(-gaps)
    distance = max(np.max(below - model), np.max(model - below + 1.0 / gaps.size))
    # Kolmogorov-Smirnov at 0.1 %: equal gaps would be 0.6 apart.
    assert distance < math.sqrt(-math.log(0.0005) / 2.0 / gaps.size)


def test_the_mean_rate_is_the_one_asked_for() -> None:
    due = schedule(800.0)
    assert due[0] == 0
    assert (due.size - 1) / (due[-1] / 1e9) == pytest.approx(800.0, rel=0.03)


def test_a_seed_is_a_schedule() -> None:
    np.testing.assert_array_equal(schedule(seed=7), schedule(seed=7))
    assert not np.array_equal(schedule(seed=7), schedule(seed=8))


def test_another_rate_is_the_same_pattern_at_another_speed() -> None:
    slow, fast = schedule(100.0), schedule(200.0)
    np.testing.assert_allclose(slow, 2 * fast, atol=2)


def test_a_longer_schedule_begins_like_a_shorter_one() -> None:
    short = schedule(min_queries=100, duration_s=0.01)
    long = schedule(min_queries=100, duration_s=40.0)
    assert short.size == 100
    np.testing.assert_array_equal(long[:100], short)


def test_it_lasts_as_long_as_it_has_to_and_no_longer() -> None:
    due = schedule(500.0, min_queries=1, duration_s=3.0)
    assert due[-2] < 3e9 <= due[-1]
    assert np.all(np.diff(due) >= 0)


def test_sleeping_ends_at_the_moment_and_not_before() -> None:
    moment = MONOTONIC() + 3_000_000
    sleep_until(moment)
    assert MONOTONIC() >= moment
    sleep_until(moment)
