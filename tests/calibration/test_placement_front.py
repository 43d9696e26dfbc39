from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmopt.calibration.placement_front import knapsack, pareto
from bmopt.core.latency_table import GroupLatency, LatencyTable
from tests.calibration.cut_tables import every_placement, sensitivities, tables, total


def table_of(**times: tuple[float, float]) -> LatencyTable:
    groups = {name: GroupLatency(*pair) for name, pair in times.items()}
    return LatencyTable("m" * 64, "ort-int8", "a cpu", 1, groups, {})


def test_the_front_goes_from_the_fastest_to_the_safest() -> None:
    table = table_of(a=(10, 4), b=(10, 8), c=(5, 9))
    front = pareto(table, {"a": 1.0, "b": 2.0, "c": 1.0})
    assert [set(one.keep_float) for one in front] == [{"c"}, {"b", "c"}, {"a", "b", "c"}]
    assert [one.latency_ns for one in front] == [17, 19, 25]
    assert [one.sensitivity for one in front] == [3, 1, 0]


def test_a_budget_between_two_placements_of_the_hull_is_used_up() -> None:
    # By gain for its price `a` is first, but then neither of the others fits.
    table = table_of(a=(10, 0), b=(9, 0), c=(9, 0))
    sensitivity = {"a": 5.0, "b": 5.0, "c": 5.0}
    found = knapsack(table, sensitivity | {"a": 5.5}, 10.0)
    assert found is not None
    assert found.keep_float == {"a"}


def test_no_budget_leaves_what_costs_nothing() -> None:
    found = knapsack(table_of(a=(10, 4), b=(10, 8)), {"b": 1.0}, 0.0)
    assert found is not None
    assert found.keep_float == {"b"}
    assert knapsack(table_of(a=(10, 4)), {"a": 1.0}, -1.0) is None


@given(st.data())
def test_the_front_is_the_lower_hull(data: st.DataObject) -> None:
    table = data.draw(tables(most=7))
    sensitivity = data.draw(sensitivities(table))
    front = pareto(table, sensitivity)
    for one in front:
        assert one.latency_ns == pytest.approx(table.predicted_ns(one.keep_float))
        assert one.sensitivity == pytest.approx(total(table, one.keep_float, sensitivity))
    everything = [
        (table.predicted_ns(kept), total(table, kept, sensitivity))
        for kept in every_placement(table)
    ]
    for price in (0.0, 0.3, 1.0, 2.5, 7.0, 1e6):
        best = min(time + price * cost for time, cost in everything)
        assert min(o.latency_ns + price * o.sensitivity for o in front) == pytest.approx(best)


@given(st.data())
@settings(max_examples=60)
def test_the_knapsack_is_the_best_of_all_within_the_budget(data: st.DataObject) -> None:
    table = data.draw(tables(most=8))
    sensitivity = data.draw(sensitivities(table))
    budget = data.draw(st.integers(0, 40))
    fits = [k for k in every_placement(table) if total(table, k, sensitivity) <= budget]
    found = knapsack(table, sensitivity, budget)
    assert found is not None
    assert found.sensitivity <= budget
    assert found.latency_ns == pytest.approx(min(map(table.predicted_ns, fits)))


def test_with_few_cuts_it_still_answers_within_the_budget() -> None:
    times = {f"g{i}": (10.0 + i % 7, 3.0) for i in range(40)}
    table = table_of(**times)
    sensitivity = {name: 1.0 + (i * 37 % 11) / 10 for i, name in enumerate(times)}
    front = pareto(table, sensitivity)
    budget = (front[10].sensitivity + front[11].sensitivity) / 2
    found = knapsack(table, sensitivity, budget, most_cuts=40)
    assert found is not None
    assert found.sensitivity <= budget
    assert front[10].latency_ns <= found.latency_ns <= front[11].latency_ns
