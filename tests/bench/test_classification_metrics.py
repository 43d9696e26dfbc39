from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmopt.bench.classification_metrics import F1, Precision, Recall, Top5
from bmopt.bench.metric import Metric
from bmopt.bench.metric_text import parse_metric
from bmopt.core.runner import Array
from bmopt.errors import DataError, UsageError

LABELS = np.array([0, 0, 0, 1, 1, 2])
GUESSES = np.array([0, 0, 1, 1, 2, 0])


def value(metric: Metric, scores: Array, labels: Array) -> float:
    bound = metric.bound({"y": scores}, len(scores))
    return bound.estimator(bound.score({"y": scores}, labels, len(scores))).value()


def one_hot(guesses: Array, classes: int) -> Array:
    return np.eye(classes, dtype=np.float32)[guesses]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("precision", (2 / 3 + 1 / 2 + 0) / 3),
        ("recall", (2 / 3 + 1 / 2 + 0) / 3),
        ("f1:macro", (2 / 3 + 1 / 2 + 0) / 3),
        ("f1:micro", 3 / 6),
        ("f1:weighted", (3 * 2 / 3 + 2 * 1 / 2 + 0) / 6),
        ("f1:binary", 1 / 2),
        ("f1:binary,positive=0", 2 / 3),
        ("recall:binary,positive=2", 0.0),
        ("top1", 3 / 6),
    ],
)
def test_by_hand(text: str, expected: float) -> None:
    assert value(parse_metric(text), one_hot(GUESSES, 4), LABELS) == pytest.approx(expected)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), classes=st.integers(2, 7), count=st.integers(1, 60))
def test_agrees_with_scikit_learn(seed: int, classes: int, count: int) -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    generator = np.random.default_rng(seed)
    labels, guesses = generator.integers(classes, size=(2, count))
    functions = {"precision": sklearn.precision_score, "recall": sklearn.recall_score}
    for kind, function in {**functions, "f1": sklearn.f1_score}.items():
        for average in ("macro", "micro", "weighted"):
            found = value(parse_metric(f"{kind}:{average}"), one_hot(guesses, classes), labels)
            expected = function(labels, guesses, average=average, zero_division=0)
            assert found == pytest.approx(expected)


def test_a_resample_is_the_metric_of_the_repeated_samples() -> None:
    generator = np.random.default_rng(5)
    labels, guesses = generator.integers(4, size=(2, 30))
    counts = generator.multinomial(30, np.full(30, 1 / 30), size=20).astype(np.float64)
    for metric in (F1(output="y"), Precision("y", average="weighted"), Recall("y")):
        rows = metric.score({"y": one_hot(guesses, 4)}, labels, 30)
        found = metric.estimator(rows).values(counts)
        for weights, drawn in zip(counts, found, strict=True):
            picks = np.repeat(np.arange(30), weights.astype(int))
            assert drawn == pytest.approx(value(metric, one_hot(guesses[picks], 4), labels[picks]))


@pytest.mark.parametrize("shape", [(6,), (6, 1)])
def test_one_score_a_sample_is_binary(shape: tuple[int, ...]) -> None:
    scores = np.array([0.9, 0.6, 0.2, 0.7, 0.1, 0.4], np.float32).reshape(shape)
    labels = np.array([1, 1, 1, 0, 0, 0])
    assert value(parse_metric("precision:binary"), scores, labels) == pytest.approx(2 / 3)
    assert value(parse_metric("recall:binary,threshold=0.15"), scores, labels) == 1.0
    decided = (scores > 0.5).astype(np.int64)
    assert value(parse_metric("recall:binary"), decided, labels) == pytest.approx(2 / 3)


def test_names_tell_averages_apart() -> None:
    assert F1().name == "f1"
    assert F1(average="micro").name == "f1:micro"
    assert F1(average="binary", positive=3).name == "f1:class-3"


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(UsageError, match=r"f1:median: choose one of macro, micro"):
        F1(average="median")
    with pytest.raises(UsageError, match=r"no output holds class scores for f1; outputs are y \["):
        F1().bound({"y": np.zeros((2, 3, 4))}, 2)
    with pytest.raises(UsageError, match="more than five classes"):
        Top5().bound({"y": np.zeros((2, 5), np.float32)}, 2)
    scores = {"y": one_hot(GUESSES, 4)}
    with pytest.raises(DataError, match="f1 needs labels and the data have none"):
        F1(output="y").score(scores, None, 6)
    with pytest.raises(DataError, match="must be class indices, one a sample; these are float64"):
        F1(output="y").score(scores, LABELS * 1.0, 6)
    with pytest.raises(DataError, match="one class from 0 on per sample"):
        F1(output="y").score(scores, LABELS - 1, 6)
