from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmopt.bench.report.axes import Scale, log_padded, padded

SPANS = st.tuples(st.floats(1e-6, 1e9), st.floats(1.0001, 1e6))


@given(SPANS, st.booleans(), st.integers(2, 12))
def test_ticks_lie_between_the_ends_and_are_few(
    span: tuple[float, float], log: bool, wanted: int
) -> None:
    low, high = span[0], span[0] * span[1]
    ticks = Scale(low, high, 0, 100, log).ticks(wanted)
    assert all(low * (1 - 1e-6) - 1e-9 <= tick <= high * (1 + 1e-6) + 1e-9 for tick in ticks)
    assert ticks == sorted(ticks)
    assert len(ticks) <= wanted + 2


def test_round_ticks() -> None:
    assert Scale(0.0, 3.3, 0, 1).ticks(6) == [0.0, 1.0, 2.0, 3.0]
    assert Scale(0.1, 100.0, 0, 1, log=True).ticks(4) == [0.1, 1.0, 10.0, 100.0]
    assert Scale(0.38, 1.1, 0, 1, log=True).ticks(4) == [0.4, 0.6, 0.8, 1.0]


@given(SPANS, st.booleans())
def test_the_ends_lie_at_the_ends_and_nothing_beyond(span: tuple[float, float], log: bool) -> None:
    scale = Scale(span[0], span[0] * span[1], 10, 90, log)
    assert scale(scale.low) == pytest.approx(10)
    assert scale(scale.high) == pytest.approx(90)
    assert scale(scale.high * 2) == scale(scale.high)
    assert scale(0.0) == scale(scale.low)


def test_equal_ends_are_moved_apart() -> None:
    for low, high in (padded(5.0, 5.0), padded(0.0, 0.0), log_padded(1.0, 1.0)):
        assert low < high
    assert log_padded(0.5, 2.0)[0] > 0
