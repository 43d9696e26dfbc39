from __future__ import annotations

import pytest

from bmopt.backends.tvm.tuning.timing import calls_for, compared


class Clock:
    """A function that takes what is next on a list, again and again."""

    def __init__(self, *times_ns: float) -> None:
        self.times_ns = times_ns
        self.runs = 0

    def __call__(self, calls: int) -> float:
        self.runs += 1
        return self.times_ns[self.runs % len(self.times_ns)]


def test_a_ratio_is_of_the_candidate_to_the_default() -> None:
    found = compared(Clock(900.0), Clock(1000.0), 20)
    assert found.ratio == pytest.approx(0.9)
    assert found.low <= found.ratio <= found.high
    assert (found.us, found.rounds) == (1.0, 20)


def test_an_interruption_of_one_call_in_a_few_changes_nothing() -> None:
    found = compared(Clock(900.0, 900.0, 90_000.0, 900.0, 900.0), Clock(1000.0), 40)
    assert found.high < 0.91


def test_the_interval_is_as_wide_as_the_noise() -> None:
    found = compared(Clock(800.0, 800.0, 1300.0, 1300.0), Clock(1000.0), 40)
    assert found.low < 1.0 < found.high


def test_a_hopeless_candidate_is_given_up() -> None:
    candidate = Clock(2000.0)
    assert compared(candidate, Clock(1000.0), 40).rounds == 4
    assert candidate.runs < 12


@pytest.mark.parametrize(("once_ns", "calls"), [(0.0, 2000), (10.0, 2000), (1e4, 40), (1e9, 1)])
def test_a_block_is_long_enough_for_a_clock(once_ns: float, calls: int) -> None:
    assert calls_for(once_ns) == calls
