from __future__ import annotations

import pytest

from bmopt.errors import UsageError
from bmopt.workflow.pruning.budget import PruneBudget
from bmopt.workflow.pruning.wish import PruneWish


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("0.7", PruneBudget("latency", 0.7)),
        ("latency=0.7", PruneBudget("latency", 0.7)),
        ("macs=0.25", PruneBudget("macs", 0.25)),
        ("parameters=0.5", PruneBudget("parameters", 0.5)),
    ],
)
def test_a_budget_is_read_and_round_trips(text: str, budget: PruneBudget) -> None:
    assert PruneBudget.parse(text) == budget
    assert PruneBudget.parse(str(budget)) == budget
    assert PruneWish.parse(text) == PruneWish(budget)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("flops=0.5", "unknown 'flops'; valid are latency, macs, parameters"),
        ("macs=half", "'half' is no number"),
        ("macs=1.5", "above 0 and below 1"),
        ("macs=nan", "above 0 and below 1"),
        ("drop=much", "give points of the metric"),
        ("drop=-1", "give points of the metric"),
        ("", "is no number"),
    ],
)
def test_bad_texts(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        PruneWish.parse(text)


def test_one_thing_is_asked_for() -> None:
    assert PruneWish.parse("drop=1.5") == PruneWish(max_drop=1.5)
    assert PruneWish.parse("a/plan.json") == PruneWish(plan="a/plan.json")
    assert not PruneWish(sparsity="2:4").checked().cuts
    budget = PruneBudget("macs", 0.5)
    for wish in (PruneWish(), PruneWish(budget, 1.0), PruneWish(budget, plan="x")):
        with pytest.raises(UsageError, match="by one of --latency"):
            wish.checked()
