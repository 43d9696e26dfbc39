from __future__ import annotations

import math

import pytest

from bmopt.bench.quantities import amount, digits, percent, points, ratio_text, time_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"), (1.0, "1.00"), (9.996, "10.0"), (70.0, "70.0"), (999.9, "1000"),
        (0.3978, "0.398"), (-2.5, "\N{MINUS SIGN}2.50"), (12345.0, "12345"),
        (math.inf, "\N{INFINITY}"), (math.nan, "?"),
    ],
)  # fmt: skip
def test_three_digits(value: float, text: str) -> None:
    assert digits(value) == text


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (999.0, "999 ns"), (999.9, "1.00 \N{MICRO SIGN}s"), (70_260.5, "70.3 \N{MICRO SIGN}s"),
        (6.2e6, "6.20 ms"), (3.5e9, "3.50 s"), (None, "\N{EN DASH}"),
    ],
)  # fmt: skip
def test_times(nanoseconds: float | None, text: str) -> None:
    assert time_text(nanoseconds) == text


def test_amounts_ratios_and_fractions() -> None:
    assert amount(86_684, "B") == "86.7 kB"
    assert amount(12, "B") == "12.0 B"
    assert amount(None) == "\N{EN DASH}"
    assert ratio_text(1.00234) == "1.002"
    assert ratio_text(math.inf) == "\N{INFINITY}"
    assert percent(0.98765) == "98.77 %"
    assert points(-0.0088) == "\N{MINUS SIGN}0.88"
