from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmopt.calibration.placement_cut import cheapest
from bmopt.core.latency_table import BorderLatency, GroupLatency, LatencyTable
from tests.calibration.cut_tables import every_placement, sensitivities, tables, total


def test_without_borders_every_group_takes_its_faster_side() -> None:
    groups = {"a": GroupLatency(10, 4), "b": GroupLatency(4, 10), "c": GroupLatency(7, 7)}
    assert cheapest(groups, {}) == {"b"}


def test_a_gain_smaller_than_the_way_there_and_back_is_not_taken() -> None:
    groups = {"a": GroupLatency(4, 10), "b": GroupLatency(10, 4), "c": GroupLatency(4, 10)}
    borders = {"ab": BorderLatency(3, 3, "a", ("b",)), "bc": BorderLatency(3, 4, "b", ("c",))}
    assert cheapest(groups, borders) == {"a", "b", "c"}
    assert cheapest(
        groups, {k: dataclasses.replace(v, dequantize_ns=2) for k, v in borders.items()}
    ) == {"a", "c"}


def test_a_tensor_is_converted_once_however_many_read_it() -> None:
    groups = {name: GroupLatency(6, 4) for name in "bcd"}
    border = {"input": BorderLatency(5, 0, "", ("b", "c", "d"))}
    assert cheapest(groups, border) == set()
    assert cheapest(groups, {"input": BorderLatency(7, 0, "", ("b", "c", "d"))}) == set("bcd")


def test_what_is_read_in_float_anyway_is_converted_though_all_groups_are_in_integers() -> None:
    groups = {"a": GroupLatency(6, 4), "b": GroupLatency(6, 6)}
    border = BorderLatency(0, 3, "a", ("b",), read_in_float=True)
    assert cheapest(groups, {"t": border}) == {"a"}
    assert cheapest(groups, {"t": dataclasses.replace(border, read_in_float=False)}) == set()


def test_a_group_goes_to_float_with_what_it_needs() -> None:
    groups = {"a": GroupLatency(1, 9), "b": GroupLatency(8, 2, needs=("a",))}
    assert cheapest(groups, {}) == {"a", "b"}


def test_a_penalty_is_a_price_on_integers() -> None:
    groups = {"a": GroupLatency(10, 4), "b": GroupLatency(10, 4)}
    assert cheapest(groups, {}, {"a": 7.0}) == {"a"}


@given(tables(most=10))
def test_it_is_the_least_of_all_placements(table: LatencyTable) -> None:
    best = min(map(table.predicted_ns, every_placement(table)))
    found = cheapest(table.groups, table.borders)
    assert found in set(every_placement(table))
    assert table.predicted_ns(found) == pytest.approx(best)


@given(st.data())
def test_it_is_so_with_penalties_and_labels_that_are_given(data: st.DataObject) -> None:
    table = data.draw(tables(most=7))
    penalty = data.draw(sensitivities(table))
    fixed = {data.draw(st.sampled_from(list(table.groups))): data.draw(st.booleans())}
    fits = [
        kept
        for kept in every_placement(table)
        if all((name not in kept) == integer for name, integer in fixed.items())
    ]
    best = min(table.predicted_ns(kept) + total(table, kept, penalty) for kept in fits)
    found = cheapest(table.groups, table.borders, penalty, fixed=fixed)
    assert found in fits
    assert table.predicted_ns(found) + total(table, found, penalty) == pytest.approx(best)


@given(tables(most=8))
def test_of_equals_it_is_the_one_with_the_most_integers(table: LatencyTable) -> None:
    best = min(map(table.predicted_ns, every_placement(table)))
    equals = [k for k in every_placement(table) if table.predicted_ns(k) == best]
    assert len(cheapest(table.groups, table.borders)) == min(map(len, equals))
