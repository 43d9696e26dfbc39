from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmopt.bench.binomial import rate_interval


def mass(successes: int, trials: int, rate: float) -> float:
    return math.comb(trials, successes) * rate**successes * (1 - rate) ** (trials - successes)


def test_ends_of_nothing_and_of_everything_are_in_closed_form() -> None:
    found = rate_interval(0, 50, 0.95)
    assert (found.low, found.high) == (0.0, pytest.approx(1 - 0.025 ** (1 / 50)))
    found = rate_interval(50, 50, 0.95)
    assert (found.low, found.high) == (pytest.approx(0.025 ** (1 / 50)), 1.0)


def test_published_interval() -> None:
    """10 of 100 at 95 %, as tables and R's binom.test have it."""
    found = rate_interval(10, 100, 0.95)
    assert (found.low, found.high) == pytest.approx((0.0490047, 0.1762226), abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(trials=st.integers(1, 40), rate=st.floats(0.01, 0.99), confidence=st.floats(0.5, 0.99))
def test_covers_any_rate_at_least_so_often(trials: int, rate: float, confidence: float) -> None:
    covered = 0.0
    for successes in range(trials + 1):
        found = rate_interval(successes, trials, confidence)
        assert found.low <= successes / trials <= found.high
        if found.low <= rate <= found.high:
            covered += mass(successes, trials, rate)
    assert covered >= confidence - 1e-9


@given(trials=st.integers(1, 200), data=st.data())
def test_failures_mirror_successes(trials: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, trials))
    there, back = (
        rate_interval(successes, trials, 0.9),
        rate_interval(trials - successes, trials, 0.9),
    )
    assert there.low == pytest.approx(1 - back.high, abs=1e-12)


def test_many_trials_join_the_few() -> None:
    many, few = rate_interval(1000, 1_000_001, 0.95), rate_interval(1000, 1_000_000, 0.95)
    assert many.low == pytest.approx(few.low, rel=2e-3)
    assert many.high == pytest.approx(few.high, rel=2e-3)


@pytest.mark.parametrize(("successes", "trials"), [(-1, 5), (6, 5), (0, 0)])
def test_impossible_counts_are_refused(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match="between 0 and the trials"):
        rate_interval(successes, trials, 0.95)
