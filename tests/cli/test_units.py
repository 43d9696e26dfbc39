from __future__ import annotations

from collections.abc import Callable

import pytest

from bmopt.cli.units import count_text, percent_text, shape_text, size_text, time_text


@pytest.mark.parametrize(
    ("show", "value", "text"),
    [
        (size_text, 0, "0 B"),
        (size_text, 999, "999 B"),
        (size_text, 1000, "1 kB"),
        (size_text, 999_499, "999 kB"),
        (size_text, 999_500, "1 MB"),
        (size_text, 1_254_000, "1.25 MB"),
        (count_text, 42, "42"),
        (count_text, 40_600_000, "40.6 M"),
        (count_text, 10**16, "10000 T"),
        (time_text, 0.0, "0 ns"),
        (time_text, 999.4, "999 ns"),
        (time_text, 999.6, "1 us"),
        (time_text, 71_512.0, "71.5 us"),
        (time_text, 12_500_000.0, "12.5 ms"),
        (time_text, 2.5e9, "2.5 s"),
        (percent_text, 0.99666, "99.67 %"),
        (percent_text, None, "-"),
        (shape_text, ("N", 3, None), "Nx3x?"),
        (shape_text, (), "scalar"),
        (shape_text, None, "?"),
    ],
)
def test_text(show: Callable[[object], str], value: object, text: str) -> None:
    assert show(value) == text
