from __future__ import annotations

import pytest

from bmopt.bench.costs import COSTS, Grid, Spread, joules_text, spread, why_no_energy
from bmopt.core.bench_document import Energy, ProcessCost, Throughput

LOAD = COSTS[0]


def test_a_spread_is_of_the_processes_that_tell() -> None:
    loads = (5, None, 2, 9)
    costs = [ProcessCost("a", load_ns=load) for load in loads] + [ProcessCost("b", load_ns=1)]
    assert spread(costs, "a", LOAD) == Spread(5, 2, 9, 3)
    assert spread(costs[:1] + costs[2:3], "a", LOAD) == Spread(3.5, 2, 5, 2)
    assert spread(costs, "c", LOAD) is None
    assert spread([ProcessCost("a")], "a", LOAD) is None


def test_every_cost_reads_its_own_field() -> None:
    one = ProcessCost("a", 1000, 2000, 3000, 4000)
    assert [cost.text(cost.read(one) or 0) for cost in COSTS] == [
        "1.00 µs",
        "2.00 µs",
        "3.00 µs",
        "4.00 kB",
    ]


def test_a_grid_has_a_row_per_subject_and_thread_count() -> None:
    grid = Grid.of(
        [
            Throughput("b", 8, 2, 4.0),
            Throughput("a", 1, 1, 1.0),
            Throughput("b", 1, 2, 3.0),
            Throughput("b", 1, 1, 2.0),
        ]
    )
    assert grid.batches == (1, 8)
    assert list(grid.rows.items()) == [
        (("b", 1), {1: 2.0}),
        (("b", 2), {8: 4.0, 1: 3.0}),
        (("a", 1), {1: 1.0}),
    ]
    assert Grid.of([]) == Grid((), {})


@pytest.mark.parametrize(("joules", "text"), [(0.0312, "31.2 mJ"), (2.5, "2.50 J")])
def test_joules(joules: float, text: str) -> None:
    assert joules_text(joules) == text


def test_why_there_is_no_energy_is_said_once() -> None:
    assert why_no_energy(Energy("a", note="not available: no meter")) == "no meter"
    assert why_no_energy(Energy("a", note="no meter")) == "no meter"
    assert why_no_energy(Energy("a", source="RAPL")) == "RAPL"
