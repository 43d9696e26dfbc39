from __future__ import annotations

import math

import pytest

from bmopt.core.tuning_budget import TuningBudget
from bmopt.errors import UsageError


@pytest.mark.parametrize(
    ("text", "trials", "seconds"),
    [
        ("200", 200, math.inf),
        ("90s", math.inf, 90.0),
        ("1.5min", math.inf, 90.0),
        ("20min", math.inf, 1200.0),
        ("1h", math.inf, 3600.0),
    ],
)
def test_a_budget_is_trials_or_time(text: str, trials: float, seconds: float) -> None:
    assert TuningBudget.parse(text) == TuningBudget(trials, seconds)


@pytest.mark.parametrize("text", ["", "0", "-3", "0s", "20 min", "5m", "1e3", "ten", "٣", "1.5"])
def test_anything_else_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(UsageError, match=r"give a number of trials") as caught:
        TuningBudget.parse(text)
    assert "\n" not in str(caught.value)
