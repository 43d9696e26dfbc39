from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmopt.bench.change import Change, exact_change, metric_change, ratio_change
from bmopt.bench.conditions import Condition, parse_conditions
from bmopt.bench.gate import exit_code, judge, judge_all, samples_missing
from bmopt.bench.paired import Paired
from bmopt.bench.side_by_side import Comparison
from bmopt.core.ranges import Interval
from bmopt.errors import UsageError


def top1(low: float, high: float, samples: int = 1000) -> Change:
    """A change of accuracy; the interval is in fractions and symmetric."""
    step = (low + high) / 2
    return Change(
        "top1",
        "fraction",
        True,
        0.8,
        0.8 + step,
        Interval(low, high),
        Interval(low / 0.8, high / 0.8),
        counted=samples,
    )


def one(text: str) -> Condition:
    (condition,) = parse_conditions(text)
    return condition


def test_conditions_are_parsed_and_printed() -> None:
    text = "top1 -0.5pp, p50 +3%,p99 +5ms , size + 10 %, mse +0.01, f1:micro -1%, rss +2MiB, x 0"
    found = parse_conditions(text)
    assert [str(each) for each in found] == [
        "top1 -0.5pp",
        "p50 +3%",
        "p99 +5ms",
        "size +10%",
        "mse +0.01",
        "f1:micro -1%",
        "rss +2MiB",
        "x +0",
    ]
    assert parse_conditions(", ".join(map(str, found))) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no condition; write NAME CHANGE"),
        ("top1", "gate condition 'top1': write NAME CHANGE"),
        ("top1 -0.5 points", "no unit 'points'; use pp, %"),
        ("top1 0.5pp", "say [+] or - before 0.5"),
        ("p50 +3%, p50 +5%", "'p50' is given twice"),
        ("p50 +-3%", "write NAME CHANGE"),
    ],
)
def test_bad_conditions_are_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_conditions(text)


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (-0.004, 0.001, "passed"),
        (-0.005, 0.001, "passed"),
        (-0.0062, 0.0001, "undecided"),
        (-0.009, -0.005, "undecided"),
        (-0.009, -0.0051, "failed"),
        (0.01, 0.02, "passed"),
    ],
)
def test_of_what_is_better_high(low: float, high: float, outcome: str) -> None:
    assert judge(one("top1 -0.5pp"), top1(low, high)).outcome == outcome


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (0.97, 1.03, "passed"),
        (1.01, 1.04, "undecided"),
        (1.03, 1.05, "undecided"),
        (1.031, 1.05, "failed"),
    ],
)
def test_of_what_is_better_low(low: float, high: float, outcome: str) -> None:
    found = ratio_change(
        "p50",
        "ns",
        Interval(low, high),
        reference=1e6,
        candidate=1e6 * (low + high) / 2,
        counted=9,
    )
    condition = dataclasses.replace(one("p50 +3%"), number=100 * (1.03 - 1.0))
    assert judge(condition, found).outcome == outcome
    in_time = dataclasses.replace(one("p50 +30us"), number=1e3 * (1.03 - 1.0))
    assert judge(in_time, found).outcome == outcome


def test_a_negative_margin_asks_for_a_gain() -> None:
    def p50(low: float, high: float) -> Change:
        mean = 1e6 * (low + high) / 2
        return ratio_change(
            "p50", "ns", Interval(low, high), reference=1e6, candidate=mean, counted=50
        )

    assert judge(one("p50 -10%"), p50(0.5, 0.6)).outcome == "passed"
    assert judge(one("p50 -10%"), p50(0.95, 1.0)).outcome == "failed"
    assert judge(one("top1 +1pp"), top1(0.011, 0.02)).outcome == "passed"


def test_the_line_says_it_all() -> None:
    found = judge(one("top1 -0.5pp"), top1(-0.0062, 0.0, 700))
    assert found.line() == (
        "top1: -0.31 pp, 99 % interval [-0.62, +0], margin -0.5 pp: undecided; "
        "about 1,200 more paired samples would decide"
    )
    assert judge(one("size +10%"), exact_change("size", "bytes", 2000, 2100)).line() == (
        "size: +5 %, margin +10 %: passed"
    )
    assert judge(one("size +1KB"), exact_change("size", "bytes", 2000, 3500)).line() == (
        "size: +1.5 KB, margin +1 KB: failed"
    )
    near = judge(one("top1 -0.5pp"), top1(-0.0065, -0.0035)).line()
    assert near.endswith("so near the margin that more samples will hardly decide")


def test_no_interval_is_undecided_and_says_why() -> None:
    change = Change(
        "p99", "ns", False, None, None, note="p99 needs 459 queries, 212 ran", confidence=None
    )
    found = judge(one("p99 +5ms"), change)
    assert found.outcome == "undecided"
    assert found.line() == "p99: margin +5 ms: undecided; p99 needs 459 queries, 212 ran"
    assert exit_code([found]) == 4


def test_a_candidate_that_is_not_a_number_fails() -> None:
    comparison = Comparison("mse", 50, 1.0, math.nan, False, False, None, note="mse is no number")
    found = judge(one("mse +5%"), metric_change(comparison))
    assert found.outcome == "failed"
    assert found.line().endswith("failed; the candidate's value is not a number")
    json.dumps(found.to_dict(), allow_nan=False)


def test_exit_codes_and_names() -> None:
    changes = [
        top1(-0.01, -0.006),
        dataclasses.replace(top1(-0.001, 0.001), name="f1:micro"),
        exact_change("size", "bytes", 100, 105),
        dataclasses.replace(top1(-0.01, 0.01), name="top5"),
    ]

    def code(text: str) -> int:
        return exit_code(judge_all(parse_conditions(text), changes))

    assert code("f1 -0.5pp, size +10%") == 0
    assert code("size +10%, top5 -0.5pp") == 4
    assert code("top5 -0.5pp, top1 -0.5pp") == 1
    with pytest.raises(UsageError, match=r"'p50 \+3%': measured were top1, f1:micro, size, top5"):
        code("p50 +3%")
    for text, units in (("top1 -5ms", "pp or %"), ("size +1pp", "% or B"), ("size +1", "% or B")):
        with pytest.raises(UsageError, match=f"changes by {units}"):
            code(text)


def test_a_reference_of_zero_has_no_relative_change() -> None:
    found = judge(one("errors +5%"), exact_change("errors", "value", 0.0, 1.0))
    assert (found.outcome, found.estimate) == ("undecided", None)


@given(
    estimate=st.floats(-3, 3),
    half=st.floats(0.01, 3),
    margin=st.floats(-3, 3),
    counted=st.integers(10, 10_000),
)
def test_that_many_more_samples_decide(
    estimate: float, half: float, margin: float, counted: int
) -> None:
    interval = Interval(estimate - half, estimate + half)
    more = samples_missing(interval, estimate, margin, counted)
    if not interval.low < margin < interval.high:
        return
    if more is None:
        assert abs(estimate - margin) * math.sqrt(1000) <= half * 1.001
        return
    narrow = half * math.sqrt(counted / (counted + more))
    assert narrow <= abs(estimate - margin) * 1.0001


def test_false_verdicts_are_rare_and_estimates_hold() -> None:
    """At the margin itself 'failed' and 'passed' may each come once in 200 runs."""
    generator = np.random.default_rng(3)
    outcomes = []
    for seed in range(150):
        drawn = generator.random(800)
        pair = Paired.of(drawn >= 0.02, (drawn < 0.02) | (drawn >= 0.06))
        difference = pair.bootstrap(seed=seed)
        before, after = (float(flags.mean()) for flags in pair.flags())
        comparison = Comparison("top1", 800, before, after, True, True, difference)
        outcomes.append(judge(one("top1 -2pp"), metric_change(comparison)).outcome)
    assert outcomes.count("undecided") >= 144


def test_bench_md_example() -> None:
    """A drop of nothing, 5 % disagreement and a margin of 0.76 points: thousands of images."""
    half = 2.576 * math.sqrt(0.05 / 500)
    found = judge(one("top1 -0.76pp"), top1(-half, half, 500))
    assert found.outcome == "undecided"
    assert found.more is not None
    assert 5000 < found.more < 5800
