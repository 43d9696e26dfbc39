from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmopt.bench.early_stopping import queries_needed
from bmopt.bench.statistics import (
    estimate,
    latency,
    percentile,
    ratio,
    samples_ns,
    student_quantile,
    verdict,
)
from bmopt.core.measurement import Block, Environment, Measurement, Settings
from bmopt.errors import UsageError

SETTINGS = Settings(precision=0.02)


def measurement(latencies: dict[str, list[list[int]]]) -> Measurement:
    variants = tuple(latencies)
    blocks: list[Block] = []
    for turn in range(len(latencies[variants[0]])):
        for name in variants if turn % 2 == 0 else variants[::-1]:
            samples = tuple(latencies[name][turn])
            blocks.append(Block(name, len(blocks), (0,) * len(samples), samples))
    return Measurement(variants, tuple(blocks), Environment({}), SETTINGS)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1.001, 1.5, "slower"),
        (0.5, 0.999, "faster"),
        (0.995, 1.005, "equivalent"),
        (0.99, 1.02, "undecided"),
        (1.0, 1.001, "equivalent"),
        (0.0, math.inf, "undecided"),
    ],
)
def test_verdict(low: float, high: float, expected: str) -> None:
    assert verdict(low, high, 0.02) == expected


# Textbook values of the two-sided 99 % and 95 % points.
@pytest.mark.parametrize(
    ("confidence", "freedom", "expected"),
    [(0.99, 1, 63.657), (0.99, 2, 9.925), (0.99, 4, 4.604), (0.99, 30, 2.750), (0.95, 9, 2.262)],
)
def test_student_quantile(confidence: float, freedom: int, expected: float) -> None:
    assert student_quantile(confidence, freedom) == pytest.approx(expected, rel=1e-3)


def test_student_quantile_tends_to_the_normal_one() -> None:
    assert student_quantile(0.99, 5000) == pytest.approx(2.5767, rel=1e-3)


# LoadGen's floors, as published with it.
@pytest.mark.parametrize(
    ("quantile", "needed"), [(0.5, 7), (0.9, 44), (0.95, 90), (0.99, 459), (0.999, 4603)]
)
def test_queries_needed(quantile: float, needed: int) -> None:
    assert queries_needed(quantile) == needed


def test_percentile_needs_enough_samples() -> None:
    assert percentile(np.arange(43), 0.9) is None
    assert percentile(np.arange(101), 0.9) == 90.0


def test_latency_is_over_all_blocks() -> None:
    one = measurement({"a": [[10, 20, 30], [40, 50]], "b": [[1] * 30, [2] * 30]})
    assert latency(one, "a").median_ns == 30.0
    assert latency(one, "a").p90_ns is None
    assert latency(one, "b").p90_ns == 2.0
    assert latency(one, "b").samples == 60
    assert samples_ns(one, "a").tolist() == [10, 20, 30, 40, 50]


def test_ratio_is_candidate_over_reference_of_quiet_latencies() -> None:
    one = measurement({"a": [[100, 100, 100, 9000, 9000]] * 12, "b": [[150, 150, 150, 150]] * 12})
    found = ratio(one, "a", "b")
    assert found.ratio == pytest.approx(1.5)
    assert [found.low, found.high] == pytest.approx([1.5, 1.5])
    assert (found.verdict, found.pairs) == ("slower", 12)
    assert ratio(one, "b", "a").ratio == pytest.approx(1 / 1.5)
    assert ratio(one, "b", "a").verdict == "faster"


def test_ratio_of_another_quantile() -> None:
    one = measurement(
        {"a": [[100, 100, 100, 400, 400]] * 12, "b": [[100, 100, 400, 400, 400]] * 12}
    )
    assert ratio(one, "a", "b").ratio == pytest.approx(1.0)
    assert ratio(one, "a", "b", quantile=0.5).ratio == pytest.approx(4.0)


@pytest.mark.parametrize("turns", [8, 9, 12, 40])
def test_a_quarter_of_the_turns_may_be_anything(turns: int) -> None:
    quiet = np.random.default_rng(turns).normal(scale=0.002, size=(turns, 2))
    burst = quiet.copy()
    burst[: turns // 4] += 3.0
    found, clean = estimate(burst.ravel(), SETTINGS), estimate(quiet.ravel(), SETTINGS)
    assert found.ratio == pytest.approx(clean.ratio, abs=0.002)
    plain_mean = float(np.exp(burst.mean()))
    assert plain_mean > 1.5


def test_more_than_that_is_no_noise() -> None:
    half = np.zeros((20, 2))
    half[::2] = 0.5
    assert 1.1 < estimate(half.ravel(), SETTINGS).ratio < 1.5
    assert estimate(half.ravel(), SETTINGS).verdict != "equivalent"


def test_interval_of_few_turns_is_yuens() -> None:
    # A quarter off either end of eight turns leaves four, whose quantile of Student is 5.841.
    log_ratios = np.repeat(np.array([0.0, 1, 2, 3, 4, 5, 6, 100]) / 1000, 2)
    found = estimate(log_ratios, SETTINGS)
    drawn_in = np.array([2, 2, 2, 3, 4, 5, 5, 5]) / 1000
    error = math.sqrt(float(np.var(drawn_in)) * 8 / (4 * 3))
    assert math.log(found.ratio) == pytest.approx(3.5 / 1000)
    assert math.log(found.low) == pytest.approx(3.5 / 1000 - 5.841 * error, rel=1e-3)


def test_unknown_variant_is_named() -> None:
    one = measurement({"a": [[1]] * 2, "b": [[1]] * 2})
    with pytest.raises(UsageError, match="'c' was not measured; choose one of a, b"):
        ratio(one, "a", "c")
    with pytest.raises(UsageError, match="'c' was not measured"):
        latency(one, "c")


def test_too_few_pairs_are_undecided_and_still_json() -> None:
    found = estimate(np.array([0.5, 0.5, 0.5, 0.5]), SETTINGS)
    assert (found.low, found.high, found.verdict) == (0.0, math.inf, "undecided")
    assert found.to_dict()["high"] is None


def test_a_linear_drift_cancels_within_a_turn() -> None:
    drift = np.tile([0.1, -0.1], 20)
    assert estimate(drift, SETTINGS).verdict == "equivalent"
    assert estimate(drift, SETTINGS).ratio == pytest.approx(1.0)


@given(seed=st.integers(0, 2**31), shift=st.floats(-2, 2), pairs=st.integers(6, 60))
def test_interval_holds_the_ratio_is_repeatable_and_scales(
    seed: int, shift: float, pairs: int
) -> None:
    logs = np.random.default_rng(seed).normal(size=pairs) * 0.05
    found = estimate(logs, SETTINGS)
    moved = estimate(logs + shift, SETTINGS)
    assert found == estimate(logs, SETTINGS)
    assert found.low <= found.ratio <= found.high
    assert moved.ratio == pytest.approx(found.ratio * math.exp(shift))
    assert moved.high / moved.low == pytest.approx(found.high / found.low)


def test_interval_covers_the_truth_and_shrinks() -> None:
    generator = np.random.default_rng(0)
    missed, widths = 0, {20: 0.0, 80: 0.0}
    for _ in range(300):
        for pairs in widths:
            found = estimate(generator.normal(scale=0.02, size=pairs), SETTINGS)
            widths[pairs] += found.relative_width
            missed += not found.low <= 1.0 <= found.high
    assert missed <= 15, "a 99 % interval misses about 6 of 600"
    assert widths[20] > 1.8 * widths[80]
