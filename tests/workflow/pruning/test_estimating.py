from __future__ import annotations

import pytest

from bmopt.calibration.pruning.ranking import Level, RankedGroup, Ranking
from bmopt.graph.channels.counting import Kept
from bmopt.workflow.pruning.estimating import Estimator

SIZE = 16


def ranking() -> Ranking:
    levels = tuple(Level(kept, float(SIZE - kept)) for kept in (SIZE, 8, 2))
    return Ranking("d" * 64, (RankedGroup("a", SIZE, "", tuple(range(SIZE)), levels),))


def width(kept: Kept) -> float:
    return float(kept.get("a", SIZE))


def halves(kept: Kept) -> float:
    """Costs of a kernel that computes eight channels at a time."""
    return 8.0 * -(-width(kept) // 8)


def test_the_least_loss_is_proposed() -> None:
    found = Estimator(ranking(), [(8, halves), (1, width)]).propose(0.75)
    assert found is not None
    assert (found.multiple, found.left) == (1, 0.75)
    assert len(found.plan.removed["a"]) == 4


def test_a_promise_that_was_not_kept_is_remembered() -> None:
    estimator = Estimator(ranking(), [(1, width), (8, halves)])
    first = estimator.propose(0.75)
    assert first is not None
    estimator.learn(first, 1.1)
    second = estimator.propose(0.75)
    assert second is not None
    assert (second.multiple, second.left) == (8, 0.5)


@pytest.mark.parametrize(
    ("asked", "measured", "gone"), [(0.75, 0.875, 8), (0.5, 0.25, 6)], ids=["half", "half more"]
)
def test_what_was_kept_of_a_promise_changes_what_is_asked(
    asked: float, measured: float, gone: int
) -> None:
    estimator = Estimator(ranking(), [(1, width)])
    first = estimator.propose(asked)
    assert first is not None
    estimator.learn(first, measured)
    second = estimator.propose(asked)
    assert second is not None
    assert len(second.plan.removed["a"]) == gone
    assert second.left <= asked


def test_what_cannot_be_met_is_none_and_the_least_is_known() -> None:
    estimator = Estimator(ranking(), [(1, width), (8, halves)])
    assert estimator.propose(0.1) is None
    assert estimator.least().left == 0.125
