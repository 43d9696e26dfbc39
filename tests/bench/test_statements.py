from __future__ import annotations

import math

import pytest

from bmopt.bench.statements import (
    accuracy_statement,
    gate_statement,
    gate_verdict,
    latency_statement,
    noise_sentence,
    size_statement,
)
from bmopt.bench.statistics import RatioEstimate, Verdict
from bmopt.core.bench_document import Accuracy, GateLine, Subject
from bmopt.core.ranges import Interval


@pytest.mark.parametrize(
    ("estimate", "tone", "said"),
    [
        (RatioEstimate(0.4, 0.39, 0.41, "faster", 20), "good",
         "b is 2.50 times as fast as a: 0.400 times its latency, 99 % interval 0.390 to 0.410."),
        (RatioEstimate(1.2, 1.1, 1.3, "slower", 20), "bad", "b is slower than a: "),
        (RatioEstimate(1.0, 0.998, 1.002, "equivalent", 20), "same", "take the same time"),
        (RatioEstimate(1.0, 0.9, 1.1, "undecided", 20), "open", "is undecided"),
        (RatioEstimate(1.0, 0.0, math.inf, "undecided", 4), "open", "too few turns (2)"),
    ],
)  # fmt: skip
def test_latency(estimate: RatioEstimate, tone: str, said: str) -> None:
    found = latency_statement("b", "a", estimate, 0.99)
    assert (found.word, found.tone) == (estimate.verdict, tone)
    assert said in found.sentence


@pytest.mark.parametrize("verdict", ["faster", "slower", "equivalent", "undecided"])
def test_a_verdict_never_comes_without_its_interval(verdict: Verdict) -> None:
    found = latency_statement("b", "a", RatioEstimate(1.0, 0.9, 1.1, verdict, 20), 0.99)
    assert "99 % interval 0.900 to 1.100" in found.sentence


@pytest.mark.parametrize(
    ("interval", "higher_is_better", "word"),
    [
        ((-0.02, -0.01), True, "worse"),
        ((0.01, 0.02), True, "better"),
        ((0.01, 0.02), False, "worse"),
        ((-0.02, -0.01), False, "better"),
        ((-0.01, 0.02), True, "no difference shown"),
        ((0.0, 0.0), True, "no difference shown"),
    ],
)
def test_accuracy(interval: tuple[float, float], higher_is_better: bool, word: str) -> None:
    found = Accuracy(
        "b", "m", 0.7, 0.71, Interval(*interval), samples=10, higher_is_better=higher_is_better
    )
    assert accuracy_statement(found).word == word


def test_accuracy_without_an_interval_says_so() -> None:
    assert accuracy_statement(Accuracy("b", "m", 0.7, 0.71)).word == "no interval"
    assert (
        "70.00 % on 5 samples" in accuracy_statement(Accuracy("b", "m", 0.7, samples=5)).sentence
    )


def test_size() -> None:
    found = size_statement(Subject("b", size_bytes=50), Subject("a", size_bytes=200))
    assert found is not None
    assert (found.word, found.sentence) == (
        "smaller",
        "size 50.0 B instead of 200 B, 25.0 % of it.",
    )
    assert size_statement(Subject("b"), Subject("a", size_bytes=200)) is None


@pytest.mark.parametrize(
    ("outcomes", "word", "tone", "said"),
    [
        (["passed"], "passed", "good", "1 condition: 1 passed."),
        (["passed", "undecided"], "undecided", "open", "2 conditions: 1 passed, 1 undecided."),
        (["undecided", "failed", "passed"], "failed", "bad",
         "3 conditions: 1 passed, 1 undecided, 1 failed."),
        (["failed", "failed"], "failed", "bad", "2 conditions: 2 failed."),
    ],
)  # fmt: skip
def test_the_worst_condition_decides(outcomes: list[str], word: str, tone: str, said: str) -> None:
    lines = [GateLine("b", "p50 +3%", outcome, f"p50: {outcome}") for outcome in outcomes]
    found = gate_verdict(lines)
    assert (found.word, found.tone, found.sentence) == (word, tone, said)
    assert [gate_statement(line).word for line in lines] == outcomes


@pytest.mark.parametrize(
    ("verdict", "said"),
    [
        ("equivalent", "as it should be"),
        ("undecided", "too short or the host too busy"),
        ("slower", "do not trust differences of this size"),
    ],
)
def test_noise(verdict: Verdict, said: str) -> None:
    sentence = noise_sentence(RatioEstimate(1.0, 0.99, 1.01, verdict, 20), 0.99)
    assert said in sentence
    assert "ratio 1.000, 99 % interval 0.990 to 1.010; " in sentence
