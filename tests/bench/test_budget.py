from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmopt.bench.agreement import Agreement
from bmopt.bench.budget import Budget, Verdict, judge
from bmopt.bench.classification_metrics import Top1
from bmopt.bench.drop import resolvable_share
from bmopt.bench.metric import RIGHT, Rows
from bmopt.bench.metric_text import parse_metric
from bmopt.bench.regression_metrics import MeanSquaredError
from bmopt.bench.relative_metrics import CosineSimilarity, SignalToNoise
from bmopt.errors import UsageError


def flags(samples: int, gained: int, lost: int, wrong: int = 0) -> tuple[Rows, Rows]:
    """Return rows of right and wrong; ``wrong`` samples are so in both."""
    reference, candidate = np.ones(samples, bool), np.ones(samples, bool)
    reference[: gained + wrong] = False
    candidate[gained : gained + wrong] = False
    candidate[samples - lost :] = False
    return {RIGHT: reference}, {RIGHT: candidate}


def top1(samples: int, gained: int, lost: int, drop: float, wrong: int = 0) -> Verdict:
    return judge(Budget("top1", drop), Top1(), *flags(samples, gained, lost, wrong))


def errors(values: np.ndarray) -> Rows:
    return {"error": values, "elements": np.ones(values.size)}


def test_a_drop_that_the_samples_cannot_tell() -> None:
    found = top1(500, 6, 9, 0.3, wrong=170)
    assert (found.metric, found.unit, found.samples) == ("top1", "points", 500)
    assert (found.reference, found.candidate) == (pytest.approx(0.648), pytest.approx(0.642))
    assert found.drop == pytest.approx(0.6)
    assert found.interval is not None
    assert found.interval == pytest.approx((-0.9, 2.2), abs=0.2)
    assert found.resolvable == pytest.approx(1.57, abs=0.01)
    assert (found.met, found.decided) == (False, False)
    assert found.method == "paired bootstrap of right and wrong"
    assert found.p == pytest.approx(0.607, abs=1e-3)
    low, high = found.interval
    assert found.text == (
        f"top1 64.2 % against 64.8 %: a drop of 0.6 points [{low:.1f}, {high:.1f}], 500 samples "
        "resolve 1.6; the budget is 0.3 points: missed, but the samples cannot tell"
    )


@pytest.mark.parametrize(
    ("samples", "lost", "drop", "met"),
    [
        (2000, 6, 0.3, True),
        (2000, 7, 0.3, False),
        (1000, 3, 0.3, True),
        (3000, 21, 0.7, True),
        (3000, 22, 0.7, False),
        (10_000, 1, 0.01, True),
        (400, 0, 0.0, True),
        (400, 1, 0.0, False),
        (1, 1, 100.0, True),
    ],
)
def test_exactly_on_the_budget_is_met(samples: int, lost: int, drop: float, met: bool) -> None:
    assert top1(samples, 0, lost, drop).met is met


@given(samples=st.integers(1, 100_000), data=st.data())
@settings(max_examples=50, deadline=None)
def test_rounding_never_decides(samples: int, data: st.DataObject) -> None:
    """A budget written from a count allows that count and not one more."""
    lost = data.draw(st.integers(0, min(samples - 1, 500)))
    budget = 100.0 * lost / samples
    wrong = data.draw(st.integers(0, samples - lost - 1))
    assert top1(samples, 0, lost, budget, wrong).met
    assert not top1(samples, 0, lost + 1, budget, wrong).met


def test_no_discordant_samples() -> None:
    """What 500 samples may all have missed, 1 - 0.025^(1/500), is still told."""
    unseen = 100 * (1 - 0.025 ** (1 / 500))
    found = top1(500, 0, 0, 1.0)
    assert (found.drop, found.p) == (0.0, 1.0)
    assert found.interval is not None
    assert found.interval[0] <= -unseen < unseen <= found.interval[1]
    assert found.resolvable == pytest.approx(unseen)
    assert (found.met, found.decided) == (True, True)
    assert "no drop" in found.text
    close = top1(500, 0, 0, 0.5)
    assert (close.met, close.decided) == (True, False)
    assert close.text.endswith("the budget is 0.5 points: met, but the samples cannot tell")


def test_all_samples_discordant() -> None:
    lost = top1(50, 0, 50, 1.0)
    assert (lost.drop, lost.met, lost.decided) == (100.0, False, True)
    assert lost.p == pytest.approx(2.0**-49)
    assert lost.interval is not None
    assert 80.0 < lost.interval[0] <= 100.0 <= lost.interval[1]
    even = top1(50, 25, 25, 1.0)
    assert (even.drop, even.met, even.decided, even.p) == (0.0, True, False, 1.0)
    gained = top1(50, 50, 0, 0.0)
    assert (gained.drop, gained.met, gained.decided) == (-100.0, True, True)
    assert "a gain of 100.0 points (a drop in [" in gained.text


def test_what_samples_resolve_is_the_documented_formula() -> None:
    """About 1.8 points for 500 images of which 4 % are discordant."""
    assert 100 * resolvable_share(20, 500, 0.95) == pytest.approx(1.80, abs=0.005)
    assert resolvable_share(0, 50, 0.95) == pytest.approx(1 - 0.025 ** (1 / 50))
    assert resolvable_share(0, 1, 0.95) == 1.0
    assert resolvable_share(400, 10_000, 0.95) == pytest.approx(1.96 * 0.2 / 100, rel=0.01)


def coverage(samples: int, gain: float, loss: float) -> float:
    """Return how often the interval holds the true drop, over all outcomes there are."""
    covered = 0.0
    for gained in range(samples + 1):
        for lost in range(samples + 1 - gained):
            same = samples - gained - lost
            chance = (
                math.factorial(samples)
                / (math.factorial(gained) * math.factorial(lost) * math.factorial(same))
                * gain**gained
                * loss**lost
                * (1 - gain - loss) ** same
            )
            if chance < 1e-6:
                continue
            found = top1(samples, gained, lost, 0.0).interval
            assert found is not None
            covered += chance * (found[0] - 1e-9 <= 100 * (loss - gain) <= found[1] + 1e-9)
    return covered


@settings(max_examples=5, deadline=None, derandomize=True)
@given(samples=st.integers(8, 14), gain=st.floats(0.0, 0.3), loss=st.floats(0.0, 0.3))
def test_interval_covers_on_few_samples(samples: int, gain: float, loss: float) -> None:
    assert coverage(samples, gain, loss) >= 0.93


def test_agreement_has_an_exact_interval_and_no_gain() -> None:
    found = judge(Budget("agreement", 2.0), Agreement(), *flags(200, 0, 4))
    assert (found.drop, found.met, found.decided) == (2.0, True, False)
    assert found.interval == pytest.approx((0.548, 5.041), abs=2e-3)
    assert found.method == "exact binomial interval (Clopper-Pearson)"
    assert found.p is None
    assert found.resolvable == pytest.approx((5.041 - 0.548) / 2, abs=2e-3)


def test_a_rise_of_an_error_is_a_drop() -> None:
    generator = np.random.default_rng(5)
    before = errors(generator.exponential(1.0, 400))
    after = errors(before["error"] + 0.2 + 0.01 * generator.normal(size=400))
    for most, met in ((0.1, False), (0.3, True)):
        found = judge(Budget("mse", most), MeanSquaredError(), before, after)
        assert (found.met, found.decided, found.unit) == (met, True, "")
        assert found.drop == pytest.approx(0.2, abs=0.01)
        assert found.method == "paired bootstrap"
    better = judge(Budget("mse", 0.0), MeanSquaredError(), after, before)
    assert (better.met, better.decided) == (True, True)
    worst = judge(Budget("mse", None, 5.0), MeanSquaredError(), before, after)
    assert (worst.met, worst.decided) == (True, True)
    assert worst.text.endswith("at most 5 is asked for: met")
    small = judge(Budget("mse", None, 1e-3), MeanSquaredError(), before, after)
    assert (small.met, small.decided) == (False, True)


def test_both_limits_have_to_be_kept() -> None:
    rows = flags(1000, 0, 2, wrong=300)
    kept = judge(Budget("top1", 3.0, 0.6), Top1(), *rows)
    assert (kept.met, kept.decided) == (True, True)
    assert kept.value_interval == pytest.approx((0.668, 0.727), abs=2e-3)
    one = judge(Budget("top1", 3.0, 0.9), Top1(), *rows)
    assert (one.met, one.decided) == (False, True)
    assert one.text.endswith("the budget is 3 points: met; at least 90 % is asked for: missed")
    near = judge(Budget("top1", 3.0, 0.7), Top1(), *rows)
    assert (near.met, near.decided) == (False, False)


def test_decibels_are_asked_for_by_value() -> None:
    generator = np.random.default_rng(3)
    noise = 0.01 * generator.exponential(1.0, (60, 2))
    rows = {"signal": np.ones((60, 2)), "noise": noise}
    exact = {"signal": np.ones((60, 2)), "noise": np.zeros((60, 2))}
    found = judge(Budget("sqnr", None, 15.0), SignalToNoise(), exact, rows)
    assert (found.met, found.decided, found.drop, found.interval) == (True, True, None, None)
    assert found.candidate == pytest.approx(-10 * math.log10(noise.mean(axis=0).max()))
    assert found.value_interval is not None
    low, high = found.value_interval
    assert low < found.candidate < high
    assert found.resolvable == pytest.approx((high - low) / 2)
    assert "at least 15 dB is asked for: met" in found.text
    same = judge(Budget("sqnr", None, 60.0), SignalToNoise(), exact, exact)
    assert (same.candidate, same.met, same.decided) == (math.inf, True, True)
    assert same.to_dict()["value_interval"] == ["inf", "inf"]
    noise[7, 1] = math.inf
    broken = judge(Budget("sqnr", None, 15.0), SignalToNoise(), exact, rows)
    assert (broken.candidate, broken.met, broken.decided) == (-math.inf, False, True)
    json.dumps([one.to_dict() for one in (found, same, broken)], allow_nan=False)


def test_decibels_that_hang_on_one_sample_are_not_decided() -> None:
    """Without that sample there is no noise at all, so that a third of resamples are infinite."""
    rows = {"signal": np.ones((40, 1)), "noise": np.eye(40)[:1].T * 4.0}
    found = judge(Budget("sqnr", None, 20.0), SignalToNoise(), rows, rows)
    assert (found.met, found.decided) == (False, False)
    assert found.value_interval is not None
    assert found.value_interval[1] == math.inf


def test_a_value_that_is_no_number_is_missed_for_sure() -> None:
    before, after = errors(np.ones(20)), errors(np.full(20, np.nan))
    found = judge(Budget("mse", 1.0), MeanSquaredError(), before, after)
    assert (found.met, found.decided) == (False, True)
    assert found.text == "mse is not a number; the budget is 1: missed"
    endless = judge(Budget("mse", 1.0), MeanSquaredError(), before, errors(np.full(20, np.inf)))
    assert (endless.met, endless.decided) == (False, True)
    json.dumps(endless.to_dict(), allow_nan=False)


def test_too_few_samples_have_no_interval() -> None:
    found = judge(Budget("mse", 1.0), MeanSquaredError(), errors(np.ones(9)), errors(np.ones(9)))
    assert (found.met, found.decided, found.resolvable) == (True, False, math.inf)
    assert "9 samples resolve nothing" in found.text


@pytest.mark.parametrize("metric", [SignalToNoise(), CosineSimilarity()])
def test_what_is_measured_against_the_source_has_no_drop(metric: SignalToNoise) -> None:
    with pytest.raises(UsageError, match=f"max-drop 1: {metric.kind} .* use --min-metric"):
        Budget(metric.kind, 1.0)
    with pytest.raises(UsageError, match="use --min-metric"):
        Budget("auto", 1.0).require_fit(metric)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("top1",), "a budget needs a limit: give --max-drop or --min-metric"),
        (("top1", -0.1), "max-drop -0.1: give 0 or more"),
        (("top1", math.nan), "max-drop nan: give 0 or more"),
        (("mse", None, math.inf), "min-metric inf: give a finite number"),
        (("top1", None, 75.0), "min-metric 75: top1 lies between 0 and 1; write 0.75"),
        (("none", 1.0), "a budget needs a metric"),
        (("top2", 1.0), "did you mean top"),
    ],
)
def test_limits_that_make_no_sense_are_refused(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Budget(*arguments)  # type: ignore[arg-type]


def test_a_drop_reads_as_it_was_judged() -> None:
    """2 of 600 are 0.33 points, which must not read as the 0.3 that are allowed."""
    assert ": a drop of 0.33 points [" in top1(600, 0, 2, 0.3).text
    assert ": a drop of 0.3 points [" in top1(600, 0, 2, 0.5).text
    assert ": a drop of 0.7 points [" in top1(600, 0, 4, 0.7).text


def test_is_repeatable() -> None:
    assert top1(300, 4, 9, 1.0) == top1(300, 4, 9, 1.0)
    assert parse_metric("sqnr") == SignalToNoise()
