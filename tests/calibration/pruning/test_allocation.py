from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmopt.calibration.pruning.allocation import (
    allocate,
    expected_loss,
    levels_between,
    smallest,
)
from bmopt.calibration.pruning.ranking import Level, RankedGroup, Ranking
from bmopt.core.prune_plan import PrunePlan
from bmopt.errors import PruningError


def group(name: str, losses: Mapping[int, float]) -> RankedGroup:
    levels = tuple(Level(kept, loss) for kept, loss in losses.items())
    size = levels[0].kept
    return RankedGroup(name, size, "", tuple(range(size))[::-1], levels)


def ranking(*groups: RankedGroup) -> Ranking:
    return Ranking("d" * 64, groups)


def kept(plan: PrunePlan) -> dict[str, int]:
    return {name: size - len(plan.removed.get(name, ())) for name, size in plan.sizes.items()}


def loss(found: Ranking, counts: Mapping[str, int]) -> float:
    return sum(
        level.loss
        for one in found.groups
        for level in levels_between(one.losses, 1)
        if level.kept == counts[one.name]
    )


def test_the_group_that_loses_less_pays() -> None:
    found = ranking(group("a", {8: 0.0, 4: 1.0, 1: 3.0}), group("b", {8: 0.0, 4: 0.1, 1: 0.3}))
    plan = allocate(found, lambda counts: sum(counts.values()), 12)
    assert kept(plan) == {"a": 8, "b": 4}
    assert plan.removed == {"b": (4, 5, 6, 7)}
    assert plan.model == "d" * 64


def test_a_group_gets_all_its_channels_back_where_a_few_would_cost_more() -> None:
    """A kernel that takes longer for 4 to 7 channels than for 8, as integer ones do."""
    found = ranking(group("a", {8: 0.0, 2: 1.0}), group("b", {8: 0.0, 2: 0.9}))
    slow = {8: 8, 7: 14, 6: 14, 5: 14, 4: 14, 3: 3, 2: 2}
    plan = allocate(found, lambda counts: sum(slow[count] for count in counts.values()), 11)
    assert kept(plan) == {"a": 8, "b": 3}


def test_the_expected_loss_lies_between_measured_widths() -> None:
    found = ranking(group("a", {8: 0.0, 4: 1.0, 2: 3.0}), group("b", {8: 0.0, 4: 0.5}))
    assert expected_loss(found, found.plan({"a": 3, "b": 6})) == pytest.approx(2.0 + 0.25)
    assert expected_loss(found, found.plan({})) == 0.0


def test_a_group_that_stays_whole_is_left_alone() -> None:
    whole = RankedGroup("w", 4, "it is in the output")
    plan = allocate(ranking(whole, group("a", {4: 0.0, 2: 1.0})), lambda counts: counts["a"], 3)
    assert kept(plan) == {"w": 4, "a": 3}
    with pytest.raises(PruningError, match="'w' cannot lose 1"):
        ranking(whole).plan({"w": 3})


def test_what_cannot_be_met_is_said_with_what_can() -> None:
    found = ranking(group("a", {16: 0.0, 8: 1.0, 2: 3.0}))
    with pytest.raises(PruningError, match=r"of 1 cannot be met: .* still costs 2$"):
        allocate(found, lambda counts: counts["a"], 1)
    assert kept(smallest(found)) == {"a": 2}
    assert kept(smallest(found, multiple=4)) == {"a": 4}


def test_a_branch_may_go_at_once() -> None:
    """Every narrower width costs as much as the whole, as a kernel that starts at all does."""
    found = ranking(group("a", {16: 0.0, 2: 1.0, 0: 1.2}), group("b", {16: 0.0, 2: 1.0}))
    plan = allocate(found, lambda c: (c["a"] > 0) + (c["b"] > 0) + c["b"] / 100, 1.3)
    assert kept(plan)["a"] == 0
    levels = levels_between([Level(8, 0.0), Level(4, 1.0), Level(0, 2.0)], 3)
    assert [level.kept for level in levels] == [8, 6, 0]
    assert kept(smallest(found, multiple=4)) == {"a": 0, "b": 4}


def test_widths_are_multiples() -> None:
    found = ranking(group("a", {30: 0.0, 4: 1.0}), group("b", {32: 0.0, 4: 2.0}))
    counts = kept(allocate(found, lambda c: sum(c.values()), 41, multiple=8))
    assert sum(counts.values()) <= 41
    assert all(count % 8 == 0 or count == 30 for count in counts.values())


def test_steps_that_save_nothing_alone_are_taken() -> None:
    """Kernels that work on eight channels at a time."""
    found = ranking(group("a", {64: 0.0, 8: 1.0}), group("b", {64: 0.0, 8: 5.0}))
    counts = kept(allocate(found, lambda c: sum(-(-one // 48) for one in c.values()), 3))
    assert counts["b"] == 64
    assert counts["a"] <= 48


def test_losses_between_measured_widths_never_fall() -> None:
    levels = levels_between([Level(8, 0.0), Level(6, 0.4), Level(4, 0.2), Level(2, 1.2)], 1)
    assert [level.kept for level in levels] == [8, 7, 6, 5, 4, 3, 2]
    assert [level.loss for level in levels] == pytest.approx([0, 0.2, 0.4, 0.4, 0.4, 0.8, 1.2])


def test_of_very_many_widths_some_are_tried() -> None:
    levels = levels_between([Level(2048, 0.0), Level(256, 1.0)], 1)
    assert len(levels) <= 65
    assert levels[0].kept == 2048
    assert levels[-1].kept < 256 + 32


@given(st.integers(0, 10_000), st.floats(0.3, 0.95))
@settings(max_examples=40, deadline=None)
def test_the_limit_holds_and_little_is_lost_to_the_best(seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    groups = []
    for name in "abc":
        curve = np.cumsum(np.sort(rng.random(6)))
        groups.append(
            group(name, {7: 0.0, **{6 - at: float(one) for at, one in enumerate(curve)}})
        )
    found = ranking(*groups)
    sizes = rng.integers(1, 9, 3)

    def cost(counts: Mapping[str, int]) -> float:
        a, b, c = (counts[name] for name in "abc")
        return float(sizes[0] * 3 * a + sizes[1] * a * b + sizes[2] * b * c)

    limit = share * cost({"a": 7, "b": 7, "c": 7})
    counts = kept(allocate(found, cost, limit))
    assert cost(counts) <= limit
    trials = (
        dict(zip("abc", one, strict=True)) for one in itertools.product(range(1, 8), repeat=3)
    )
    best = min(loss(found, one) for one in trials if cost(one) <= limit)
    assert loss(found, counts) <= best * 1.35 + 0.3
