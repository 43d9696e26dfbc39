from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmopt.bench.early_stopping import percentile
from bmopt.bench.percentile_ratio import _Draws, _Pooled, mean_ratio, percentile_ratio
from bmopt.bench.statistics import samples_ns
from bmopt.core.measurement import Block, Environment, Measurement, Settings
from bmopt.errors import UsageError
from tests.bench.report.documents import measurement

NOWHERE = Environment({})


def busy(seed: int, shift: float, *, turns: int = 12, samples: int = 40) -> Measurement:
    """Blocks with a slow tail on a host whose speed differs from turn to turn."""
    generator = np.random.default_rng(seed)
    blocks: list[Block] = []
    for index in range(2 * turns):
        if index % 2 == 0:
            speed = generator.normal(0.0, 0.03)
        for name in ("a", "b") if index % 2 == 0 else ("b", "a"):
            median = 1e6 * (shift if name == "b" else 1.0)
            own = speed + generator.normal(0.0, 0.01)
            taken = median * np.exp(own + generator.normal(0.0, 0.02, samples))
            taken += generator.exponential(0.05 * median, samples)
            latencies = tuple(int(value) for value in taken)
            blocks.append(Block(name, len(blocks), latencies, latencies))
    return Measurement(("a", "b"), tuple(blocks), NOWHERE, Settings())


@pytest.mark.parametrize("quantile", [0.5, 0.9, 0.99])
def test_five_per_cent_more_are_found(quantile: float) -> None:
    found = percentile_ratio(busy(1, 1.05, turns=60), "a", "b", quantile)
    assert found.interval is not None
    assert found.interval.low < 1.05 < found.interval.high
    assert found.interval.low > 1.0, "so much is not luck"
    assert found.ratio == pytest.approx(1.05, abs=0.02)
    assert (found.note, found.samples) == ("", 4800)


def test_the_percentiles_are_those_that_are_printed() -> None:
    taken = busy(2, 1.3)
    found = percentile_ratio(taken, "a", "b", 0.9)
    assert found.name == "p90"
    assert found.reference_ns == percentile(samples_ns(taken, "a"), 0.9).value
    assert found.candidate_ns == percentile(samples_ns(taken, "b"), 0.9).value


@pytest.mark.parametrize(("quantile", "turns"), [(0.5, 8), (0.9, 12), (0.99, 12), (None, 8)])
def test_intervals_hold_the_truth_as_often_as_they_say(quantile: float | None, turns: int) -> None:
    held, widths = 0, []
    for seed in range(100):
        taken = busy(1000 + seed, 1.05, turns=turns)
        found = (
            mean_ratio(taken, "a", "b")
            if quantile is None
            else percentile_ratio(taken, "a", "b", quantile)
        )
        assert found.interval is not None
        held += found.interval.low <= 1.05 <= found.interval.high
        widths.append(found.interval.high - found.interval.low)
    assert held >= 96
    assert np.median(widths) < 0.15, "an interval as wide as this says nothing"


def test_a_difference_of_nothing_is_not_found() -> None:
    found = [percentile_ratio(busy(seed, 1.0), "a", "b", 0.9).interval for seed in range(40)]
    wrong = [one for one in found if one is None or not one.low <= 1.0 <= one.high]
    assert len(wrong) <= 2


def test_too_few_samples_have_no_interval_and_say_so() -> None:
    found = percentile_ratio(busy(1, 1.0, turns=5, samples=20), "a", "b", 0.99)
    assert (found.reference_ns, found.candidate_ns, found.interval) == (None, None, None)
    assert (found.ratio, found.note) == (None, "p99 needs 459 samples, 200 ran")
    assert percentile_ratio(busy(1, 1.0, turns=5), "a", "b", 0.9).interval is not None


def test_the_variant_with_fewer_samples_decides() -> None:
    slow = busy(1, 1.0, turns=8, samples=40)
    blocks = tuple(
        dataclasses.replace(one, start_ns=one.start_ns[:9], latency_ns=one.latency_ns[:9])
        if one.variant == "b"
        else one
        for one in slow.blocks
    )
    found = percentile_ratio(dataclasses.replace(slow, blocks=blocks), "a", "b", 0.99)
    assert found.reference_ns is not None
    assert found.candidate_ns is None
    assert found.note == "p99 needs 459 samples, 144 ran"


def test_too_few_turns_have_no_interval() -> None:
    found = percentile_ratio(busy(1, 1.0, turns=2, samples=400), "a", "b", 0.9)
    assert found.ratio is not None
    assert (found.interval, found.note) == (None, "p90 needs 3 turns, 2 ran")
    assert mean_ratio(busy(1, 1.0, turns=2), "a", "b").note == "mean needs 3 turns, 2 ran"


def test_names_that_were_not_measured_are_refused() -> None:
    with pytest.raises(UsageError, match="variant 'c' was not measured; choose one of a, b"):
        percentile_ratio(busy(1, 1.0), "a", "c", 0.9)
    with pytest.raises(UsageError, match="'c'"):
        mean_ratio(busy(1, 1.0), "c", "a")


def test_a_round_without_its_reverse_counts_with_the_turn_before() -> None:
    taken = busy(1, 1.05)
    cut = dataclasses.replace(taken, blocks=taken.blocks[:-2])
    found = percentile_ratio(cut, "a", "b", 0.5)
    assert found.samples == 23 * 40
    assert found.interval is not None
    assert _Pooled.of(cut, "a").turns == 11
    assert np.bincount(_Pooled.of(cut, "a").turn)[-1] == 120


@settings(max_examples=40, deadline=None)
@given(
    turns=st.integers(3, 9),
    samples=st.integers(1, 30),
    quantile=st.sampled_from([0.01, 0.25, 0.5, 0.9, 0.99, 0.999]),
    values=st.integers(1, 50),
    seed=st.integers(0, 10_000),
)
def test_resampled_percentiles_are_those_of_the_samples_written_out(
    turns: int, samples: int, quantile: float, values: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    blocks = []
    for index in range(2 * turns):
        latencies = tuple(int(value) for value in generator.integers(1, 1 + values, samples))
        blocks.append(Block("a", index, latencies, latencies))
    taken = Measurement(("a",), tuple(blocks), NOWHERE, Settings())
    counts = _Draws.of(turns, seed).counts[:20]
    found = _Pooled.of(taken, "a").resampled(quantile, counts)
    per_turn = samples_ns(taken, "a").reshape(turns, -1)
    for value, count in zip(found, counts.astype(int), strict=True):
        written_out = np.sort(np.repeat(per_turn, count, axis=0).reshape(-1))
        wanted = min(int(written_out.size * quantile), written_out.size - 1)
        assert value == written_out[wanted]


def test_many_samples_take_no_time() -> None:
    taken = measurement({"a": 1e6, "b": 1.05e6}, turns=250, samples=200)
    begin = time.perf_counter()
    found = percentile_ratio(taken, "a", "b", 0.99)
    assert time.perf_counter() - begin < 2.0
    assert found.samples == 100_000


def test_the_same_seed_gives_the_same_interval() -> None:
    taken = busy(1, 1.05)
    other = dataclasses.replace(taken, settings=Settings(seed=7))
    first = percentile_ratio(taken, "a", "b", 0.9)
    assert first == percentile_ratio(taken, "a", "b", 0.9)
    assert first.interval != percentile_ratio(other, "a", "b", 0.9).interval
