from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmopt.bench.bootstrap import value_interval
from bmopt.bench.distortion import Sqnr
from bmopt.bench.metric import Metric, joined
from bmopt.bench.metric_text import metric_text, parse_metric
from bmopt.bench.scoring import compare_models
from bmopt.core.runner import Array
from bmopt.errors import UsageError
from tests.bench.synthetic import Arrays, Function

GENERATOR = np.random.default_rng(23)
VALUES = GENERATOR.normal(size=(30, 4, 3)).astype(np.float32)

Outputs = dict[str, Array]


def scored(text: str, expected: Outputs, actual: Outputs, size: int) -> float:
    metric = parse_metric(text).bound(expected, size)
    return metric.estimator(metric.beside(expected, actual, None, size)).value()


def noisy(values: Array, power: float, seed: int = 1) -> Array:
    rough = np.random.default_rng(seed).normal(size=values.shape)
    return (values + power * rough).astype(values.dtype)


@given(seed=st.integers(0, 2**31), batch=st.integers(1, 30))
@settings(max_examples=20, deadline=None)
def test_sqnr_of_batches_is_that_of_the_whole(seed: int, batch: int) -> None:
    rough = noisy(VALUES, 0.1, seed)
    whole = Sqnr()
    whole.update(VALUES, rough)
    metric = parse_metric("sqnr").bound({"y": VALUES[:batch]}, len(VALUES[:batch]))
    parts = [
        metric.beside(
            {"y": VALUES[i : i + batch]}, {"y": rough[i : i + batch]}, None, min(batch, 30 - i)
        )
        for i in range(0, 30, batch)
    ]
    assert metric.estimator(joined(parts)).value() == pytest.approx(whole.decibels())


@pytest.mark.parametrize(("kind", "perfect"), [("sqnr", math.inf), ("cosine", 1.0)])
def test_the_reference_is_perfect_and_the_worst_output_decides(kind: str, perfect: float) -> None:
    expected = {"a": VALUES, "b": 5 * VALUES[:, 0], "id": np.arange(30)}
    assert scored(kind, expected, expected, 30) == pytest.approx(perfect)
    fine, rough = noisy(VALUES, 0.01), noisy(VALUES[:, 0], 1.0)
    both = scored(kind, expected, {**expected, "a": fine, "b": 5 * rough}, 30)
    assert both == scored(f"{kind}:output=b", expected, {**expected, "b": 5 * rough}, 30)
    assert both < scored(f"{kind}:output=a", expected, {**expected, "a": fine}, 30) < perfect
    # Integers are left out where there are floats.
    other = {**expected, "id": np.zeros(30, np.int64)}
    assert scored(kind, expected, other, 30) == pytest.approx(perfect)


def test_cosine_is_that_of_the_definition() -> None:
    rough = noisy(VALUES, 0.5)
    left, right = VALUES.astype(np.float64).ravel(), rough.astype(np.float64).ravel()
    found = scored("cosine", {"y": VALUES}, {"y": rough}, 30)
    assert found == pytest.approx(left @ right / np.linalg.norm(left) / np.linalg.norm(right))
    zero = np.zeros_like(VALUES)
    assert scored("cosine", {"y": zero}, {"y": zero}, 30) == 1.0
    assert scored("cosine", {"y": VALUES}, {"y": zero}, 30) == 0.0
    assert scored("cosine", {"y": VALUES}, {"y": -VALUES}, 30) == pytest.approx(-1.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("kind", ["sqnr", "cosine"])
def test_values_that_are_not_finite(kind: str, bad: float) -> None:
    """They are the same where both have them, and break the value where one has."""
    broken = VALUES.copy()
    broken[3, 1, 1] = bad
    both = scored(kind, {"y": broken}, {"y": broken}, 30)
    assert both == pytest.approx(math.inf if kind == "sqnr" else 1.0)
    one = scored(kind, {"y": VALUES}, {"y": broken}, 30)
    assert one == -math.inf if kind == "sqnr" else math.isnan(one)
    metric = parse_metric(kind).bound({"y": VALUES}, 30)
    rows = metric.beside({"y": VALUES}, {"y": broken}, None, 30)
    counts = np.ones((2, 30))
    counts[1, 3] = 0.0
    assert np.isfinite(metric.estimator(rows).values(counts)[1]) == (kind == "cosine")


@pytest.mark.parametrize("actual", [{}, {"y": VALUES[:, :2]}, {"y": VALUES.astype(str)}])
def test_an_output_that_cannot_be_compared_is_not_left_out(actual: Outputs) -> None:
    assert scored("sqnr", {"y": VALUES}, actual, 30) == -math.inf
    assert math.isnan(scored("cosine", {"y": VALUES}, actual, 30))


def test_outputs_without_a_row_per_sample_and_of_other_types_count() -> None:
    rough = noisy(VALUES, 0.1)
    whole = scored("sqnr", {"y": VALUES}, {"y": rough}, 30)
    turned = [np.moveaxis(a, 0, 1) for a in (VALUES, rough)]
    assert scored("sqnr", {"y": turned[0]}, {"y": turned[1]}, 30) == pytest.approx(whole)
    half = [a.astype(ml_dtypes.bfloat16) for a in (VALUES, rough)]
    assert scored("sqnr", {"y": half[0]}, {"y": half[1]}, 30) == pytest.approx(whole, abs=0.2)
    ids = np.arange(1, 31)
    assert scored("sqnr", {"id": ids}, {"id": ids + 1}, 30) == pytest.approx(
        10 * math.log10(np.mean(ids**2))
    )


def test_no_numbers_are_refused() -> None:
    with pytest.raises(UsageError, match=r"sqnr: no output '' holds numbers; outputs are t str32"):
        parse_metric("sqnr").bound({"t": np.array(["a"])}, 1)
    with pytest.raises(UsageError, match="cosine: no output 'z' holds numbers"):
        parse_metric("cosine:output=z").bound({"y": VALUES}, 30)


def test_what_bound_fills_is_no_option() -> None:
    metric: Metric = parse_metric("sqnr").bound({"y": VALUES}, 30)
    assert metric_text(metric) == "sqnr"
    with pytest.raises(
        UsageError, match="'outputs=y' is no option of sqnr; it has labels, output"
    ):
        parse_metric("sqnr:outputs=y")


def test_interval_of_decibels_covers() -> None:
    metric, missed = parse_metric("sqnr"), 0
    for seed in range(60):
        generator = np.random.default_rng(seed)
        signal = generator.normal(size=(80, 6))
        outputs = [{"y": y} for y in (signal, signal + 0.1 * generator.normal(size=(80, 6)))]
        bound = metric.bound(outputs[0], 80)
        rows = bound.beside(*outputs, None, 80)
        found = value_interval(bound.estimator(rows), fraction=False, confidence=0.95, seed=seed)
        assert found is not None
        missed += not found.low <= 20.0 <= found.high
    assert missed <= 7


def test_bench_scores_them_beside_the_reference() -> None:
    data = Arrays(VALUES.reshape(30, 12))
    runners = {
        "fp32": Function(lambda x: {"scores": x}),
        "rough": Function(lambda x: {"scores": x + np.float32(0.01) * np.sin(50 * x)}),
    }
    metrics = [parse_metric(text) for text in ("sqnr", "cosine", "agreement")]
    found = compare_models(runners, data, 8, metrics)
    sqnr, cosine, agreement = found.comparisons("rough")
    likeness = found.likeness["rough"]
    assert sqnr.candidate == pytest.approx(likeness.sqnr_db["scores"])
    assert cosine.candidate == pytest.approx(likeness.cosine["scores"])
    assert agreement.candidate == likeness.agreed
    assert all(one.is_relative for one in (sqnr, cosine, agreement))
    assert (sqnr.difference, agreement.test) == (None, None)
    assert sqnr.note == "sqnr of the reference is infinite, and there is no difference from that"
    assert cosine.difference is not None
