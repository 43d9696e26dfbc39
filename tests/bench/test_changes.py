from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from bmopt.bench.change import Change
from bmopt.bench.changes import changes
from bmopt.bench.conditions import parse_conditions
from bmopt.bench.gate import exit_code, judge_all
from bmopt.bench.side_by_side import Comparison
from bmopt.bench.statistics import ratio, samples_ns
from bmopt.core.bench_document import Accuracy, BenchDocument, ProcessCost, Subject
from bmopt.core.ranges import Interval
from bmopt.errors import UsageError
from tests.bench.report.documents import measurement

MEASURED = measurement({"fp32": 2e6, "int8": 2.1e6}, turns=20)
TIMES = ["latency", "p50", "p90", "p95", "p99", "p99.9", "mean"]
COSTS = ["load", "first_inference", "cold_start", "memory"]


def processes(count: int, *, slower: float = 1.2, subject: str = "int8") -> list[ProcessCost]:
    """Processes in turns: both are slowed down alike, far more than they are apart."""
    generator = np.random.default_rng(4)
    found = []
    for _ in range(count):
        host = float(np.exp(generator.normal(0.0, 0.5)))
        for name, factor in (("fp32", 1.0), (subject, slower)):
            own = host * factor * float(np.exp(generator.normal(0.0, 0.01)))
            load, first, cold = (int(part * own) for part in (20e6, 9e6, 190e6))
            found.append(ProcessCost(name, load, first, cold, int(1e8 * factor)))
    return found


DOCUMENT = BenchDocument(
    subjects=(Subject("fp32", size_bytes=1000), Subject("int8", size_bytes=260)),
    measurement=MEASURED,
    processes=tuple(processes(5)),
)
TOP1 = Comparison("top1", 500, 0.8, 0.79, True, True, None, note="top1 is no number")


def named(found: tuple[Change, ...]) -> dict[str, Change]:
    assert len({one.name for one in found}) == len(found)
    return {one.name: one for one in found}


def test_everything_that_was_measured_has_a_change() -> None:
    found = named(changes(DOCUMENT, "int8", [TOP1]))
    assert list(found) == [*TIMES, "top1", "size", *COSTS]
    assert found["top1"].note == "top1 is no number"
    assert found["size"].relative == Interval(-0.74, -0.74)
    assert found["size"].confidence is None
    assert found["memory"].unit == "bytes"


@pytest.mark.parametrize("name", [name for name in TIMES if name != "p99.9"])
def test_five_per_cent_more_time_are_found(name: str) -> None:
    change = named(changes(DOCUMENT, "int8", []))[name]
    assert change.relative is not None
    assert 0.03 < change.relative.low < 0.05 < change.relative.high < 0.07
    assert change.absolute is not None
    assert change.absolute.low == pytest.approx(change.relative.low * (change.reference or 0.0))
    assert change.unit == "ns"


def test_p50_is_of_pairs_and_the_headline_is_the_ratio_of_the_verdict() -> None:
    found = named(changes(DOCUMENT, "int8", []))
    headline = ratio(MEASURED, "fp32", "int8")
    assert found["latency"].relative == Interval(headline.low - 1.0, headline.high - 1.0)
    assert (found["p50"].counted, found["p50"].counted_as) == (40, "pairs of blocks")
    assert found["p50"].reference == float(np.median(samples_ns(MEASURED, "fp32")))
    assert (found["p99"].counted, found["p99"].counted_as) == (1600, "samples of each")


def test_too_few_samples_leave_the_gate_undecided_with_a_note() -> None:
    few = measurement({"fp32": 2e6, "int8": 2.1e6}, turns=10, samples=10)
    document = dataclasses.replace(DOCUMENT, measurement=few)
    found = judge_all(parse_conditions("p99 +20%, p90 +20%"), changes(document, "int8", []))
    assert [one.outcome for one in found] == ["undecided", "passed"]
    assert found[0].line().endswith("undecided; p99 needs 459 samples, 200 ran")
    assert exit_code(found) == 4


def test_too_few_turns_say_so() -> None:
    few = measurement({"fp32": 2e6, "int8": 2.1e6}, turns=2, samples=100)
    found = named(changes(dataclasses.replace(DOCUMENT, measurement=few), "int8", []))
    for name in ("latency", "p50", "p90", "mean"):
        assert found[name].relative is None
        assert found[name].note == f"{name} needs 3 turns, 2 ran"
        assert found[name].candidate is not None


def test_the_gate_fails_what_is_slower_beyond_doubt() -> None:
    found = changes(DOCUMENT, "int8", [])
    text = "latency +2%, p50 +2%, p99 +10%, mean +200us, size -70%"
    outcomes = [one.outcome for one in judge_all(parse_conditions(text), found)]
    assert outcomes == ["failed", "failed", "passed", "passed", "passed"]


def test_processes_are_compared_in_pairs() -> None:
    """Between turns they differ by half and more; the pairs still tell 20 % from 14 and 26."""
    found = named(changes(DOCUMENT, "int8", []))
    for name in ("load", "first_inference", "cold_start"):
        relative = found[name].relative
        assert relative is not None
        assert 0.14 < relative.low < 0.2 < relative.high < 0.26
        assert (found[name].counted, found[name].counted_as) == (5, "pairs of processes")


def test_intervals_over_processes_hold_the_truth() -> None:
    generator = np.random.default_rng(9)
    held = 0
    for _ in range(200):
        logs = generator.normal((0.0, math.log(1.3)), 0.2, (4, 2))
        costs = [
            ProcessCost(name, int(1e7 * math.exp(value)))
            for pair in logs
            for name, value in zip(("fp32", "int8"), pair, strict=True)
        ]
        document = dataclasses.replace(DOCUMENT, processes=tuple(costs))
        relative = named(changes(document, "int8", []))["load"].relative
        assert relative is not None
        held += relative.low <= 0.3 <= relative.high
    assert 194 <= held <= 200


def test_fewer_than_three_pairs_have_no_interval() -> None:
    costs = processes(3)[:-1]
    found = named(changes(dataclasses.replace(DOCUMENT, processes=tuple(costs)), "int8", []))
    assert found["cold_start"].relative is None
    assert found["cold_start"].note == "cold_start needs 3 pairs of processes, 2 ran"
    gaps = [
        dataclasses.replace(one, load_ns=None) if index == 1 else one
        for index, one in enumerate(processes(3))
    ]
    found = named(changes(dataclasses.replace(DOCUMENT, processes=tuple(gaps)), "int8", []))
    assert found["load"].note == "load needs 3 pairs of processes, 2 ran"
    assert found["memory"].relative is not None


def test_what_nobody_measured_is_left_out_and_the_gate_says_so() -> None:
    bare = BenchDocument(subjects=(Subject("fp32"), Subject("int8")))
    assert changes(bare, "int8", []) == ()
    costs = (ProcessCost("fp32", load_ns=5), ProcessCost("int8", load_ns=5))
    found = changes(dataclasses.replace(bare, processes=costs), "int8", [])
    assert [one.name for one in found] == ["load"]
    with pytest.raises(UsageError, match=r"'p50 \+3%': measured were load"):
        judge_all(parse_conditions("p50 +3%"), found)


def test_a_candidate_that_failed_is_undecided_and_says_why() -> None:
    mse = Accuracy("int8", "mse", 1.0, 2.0, fraction=False, higher_is_better=False)
    document = dataclasses.replace(
        DOCUMENT,
        subjects=(*DOCUMENT.subjects, Subject("int4", error="no kernel for Conv")),
        accuracy=(Accuracy("int8", "top1", 0.7, 0.8), mse),
    )
    found = changes(document, "int4", [])
    assert list(named(found)) == [*TIMES, "top1", "mse", "size", *COSTS]
    assert [named(found)[name].higher_is_better for name in ("top1", "mse")] == [True, False]
    judged = judge_all(parse_conditions("p50 +3%, top1 -1pp, mse +1, size +1%, load +5%"), found)
    assert {one.outcome for one in judged} == {"undecided"}
    assert [one.line().partition("; ")[2] for one in judged] == [
        "int4 was not timed: no kernel for Conv",
        "int4 was not scored: no kernel for Conv",
        "int4 was not scored: no kernel for Conv",
        "the size of int4 is not known",
        "load needs 3 pairs of processes, 0 ran",
    ]
    alone = dataclasses.replace(document, measurement=None)
    assert "p50" in named(changes(alone, "int4", []))
    assert "p50" not in named(changes(alone, "int8", []))


@pytest.mark.parametrize("name", ["fp16", "fp32", ""])
def test_unknown_names_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="was not measured beside 'fp32'; choose one of int8"):
        changes(DOCUMENT, name, [])
    with pytest.raises(UsageError, match="choose one of nothing"):
        changes(BenchDocument(), name, [])


def test_without_subjects_the_variants_are_the_names() -> None:
    found = named(changes(BenchDocument(measurement=MEASURED), "int8", []))
    assert list(found) == TIMES
