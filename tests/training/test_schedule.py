from __future__ import annotations

import pytest

from bmopt.training.schedule import Schedule


def test_the_rate_rises_and_falls_to_nothing() -> None:
    schedule = Schedule(200)
    factors = [schedule.factor(step, 0.0) for step in range(201)]
    assert factors[0] < 0.2
    top = factors.index(max(factors))
    assert max(factors) == pytest.approx(1.0)
    assert top < 10
    assert all(a >= b for a, b in zip(factors[top:], factors[top + 1 :], strict=False))
    assert factors[-1] == pytest.approx(0.0, abs=1e-12)


def test_time_ends_it_where_it_is_nearer() -> None:
    schedule = Schedule(100, seconds=10.0)
    assert schedule.progress(10, 5.0) == 0.5
    assert schedule.progress(80, 5.0) == 0.8
    assert schedule.progress(10, 11.0) == 1.0
