from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from bmopt.bench.report.axes import Scale
from bmopt.bench.report.distribution_chart import BINS, Latencies, density, distribution_chart
from bmopt.bench.report.figure import NARROW, WIDE
from bmopt.bench.report.interval_chart import IntervalRow, interval_chart
from bmopt.bench.report.pareto_chart import Trade, pareto_chart
from bmopt.bench.report.percentiles import percentile_table
from bmopt.bench.report.roofline_chart import roofline_chart
from bmopt.bench.report.turn_chart import MOST_POINTS, Turns, turn_chart
from bmopt.bench.statistics import RatioEstimate, ratio
from bmopt.core.ranges import Interval
from tests.bench.report.documents import layers, measurement


def test_every_chart_is_drawn_for_wide_pages_and_phones() -> None:
    drawn = distribution_chart("d", "title", [Latencies("a", np.arange(1000, 2000), "c0")])
    assert f'width="{WIDE}"' in drawn
    assert f'width="{NARROW}"' in drawn
    assert drawn.count("<title id=") == drawn.count("<desc id=") == 2


def test_a_density_has_its_peak_where_the_samples_are() -> None:
    scale = Scale(1.0, 100.0, 0.0, 800.0, log=True)
    samples = np.exp(np.random.default_rng(0).normal(np.log(10.0), 0.1, 5000))
    places, heights = density(samples, scale)
    assert places[int(np.argmax(heights))] == pytest.approx(scale(10.0), abs=15)
    assert heights.max() == 1.0
    assert places.size <= BINS


def test_a_density_of_equal_samples_and_of_none_in_sight() -> None:
    scale = Scale(1.0, 2.0, 0.0, 100.0)
    places, heights = density(np.full(9, 1.5), scale)
    assert places[int(np.argmax(heights))] == pytest.approx(50.0, abs=1)
    assert density(np.full(9, 7.0), scale)[0].size == 1


def test_percentiles_need_their_queries() -> None:
    drawn = percentile_table("", [("a", np.arange(1, 213))], "c")
    assert "needs 459, 212 ran" in drawn
    assert "needs 44" not in drawn


def test_turns_are_means_of_two_rounds() -> None:
    found = measurement({"a": 1e6, "b": 2e6}, turns=5, noise=1e-6)
    turns = Turns.of(found, "a", "b")
    assert turns.ratios == pytest.approx(np.full(5, 2.0), rel=1e-4)
    assert turns.seconds[1] - turns.seconds[0] == pytest.approx(0.2)


def test_many_turns_are_thinned_and_the_chart_says_so() -> None:
    turns = Turns(np.arange(1000.0), np.linspace(1.0, 1.1, 1000))
    assert turns.thinned().seconds.size <= MOST_POINTS
    drawn = turn_chart("t", "b", turns, RatioEstimate(1.05, 1.0, 1.1, "slower", 2000), "c1")
    assert "250 of 1000 turns are drawn." in drawn


def test_one_round_is_drawn_without_an_interval() -> None:
    found = measurement({"a": 1e6, "b": 2e6}, turns=1)
    estimate = ratio(found, "a", "b")
    drawn = turn_chart("t", "b", Turns.of(found, "a", "b"), estimate, "c1")
    assert 'class="band' not in drawn
    assert interval_chart("i", [IntervalRow("b", estimate, "c1", "square")]) == ""


def trade(ratio_interval: tuple[float, float], score_interval: tuple[float, float]) -> Trade:
    times, scores = Interval(*ratio_interval), Interval(*score_interval)
    return Trade("x", times.low, times, scores.low, scores, 100, "c1", "square")


def test_only_clear_losers_are_pale() -> None:
    best, worst = trade((0.4, 0.5), (0.8, 0.81)), trade((0.9, 1.1), (0.7, 0.75))
    close = trade((0.45, 0.6), (0.7, 0.75))
    assert worst.dominated_by(best)
    assert not best.dominated_by(worst)
    assert not close.dominated_by(best)
    assert pareto_chart("p", "top1", True, [best, worst]).count('class="pale"') == 2
    assert 'class="pale"' not in pareto_chart("p", "top1", True, [best, close])
    assert pareto_chart("p", "top1", True, [best]) == ""


def test_a_roofline_needs_peaks_macs_and_bytes() -> None:
    found = layers("a")
    assert "11.0 GB/s" in roofline_chart("r", found)
    assert roofline_chart("r", dataclasses.replace(found, peak_bytes_per_s=None)) == ""
    assert roofline_chart("r", dataclasses.replace(found, peak_macs_per_s={})) == ""
    unknown = tuple(dataclasses.replace(row, macs=None) for row in found.rows)
    assert roofline_chart("r", dataclasses.replace(found, rows=unknown)) == ""


def test_the_roofline_says_how_many_layers_it_draws() -> None:
    assert "The 200 longest of 300 are drawn." in roofline_chart("r", layers("a", 300))
