from __future__ import annotations

import json
import math

import numpy as np
import pytest

from bmopt.bench.accuracy import Metric, compare_accuracy, evaluate
from bmopt.core.runner import Array
from bmopt.errors import DataError, ModelError, UsageError
from tests.bench.synthetic import Arrays, Function

GENERATOR = np.random.default_rng(11)
SCORES = GENERATOR.normal(size=(50, 8)).astype(np.float32)
LABELS = np.argmax(SCORES, axis=1)


def identity() -> Function:
    return Function(lambda x: {"scores": x})


def swapped(count: int) -> Function:
    """Return a runner that moves the winner to the last place on samples whose id is small."""

    def run(x: Array) -> dict[str, Array]:
        known = np.array([np.flatnonzero((row == SCORES).all(axis=1))[0] for row in x])
        return {"scores": np.where((known < count)[:, None], -x, x)}

    return Function(run)


@pytest.mark.parametrize(("batch_size", "pad"), [(1, False), (7, False), (7, True), (64, True)])
def test_counts_are_those_of_the_definition(batch_size: int, pad: bool) -> None:
    labels = LABELS.copy()
    labels[:10] = np.argsort(SCORES[:10], axis=1)[:, -4]
    labels[10:14] = np.argmin(SCORES[10:14], axis=1)
    data = Arrays(SCORES, labels, pad=pad)
    found = evaluate(identity(), data, batch_size)
    assert found.samples == 50
    assert found.output == "scores"
    assert found.metrics == {"top1": 36 / 50, "top5": 46 / 50}


def test_both_models_see_the_same_samples() -> None:
    found = compare_accuracy(identity(), swapped(5), Arrays(SCORES, LABELS, pad=True), 8)
    assert found.metric == "top1"
    assert found.samples == 50
    assert (found.reference_score, found.candidate_score) == (1.0, 0.9)
    assert found.loss == pytest.approx(0.1)
    assert found.agreement == 0.9
    assert found.top1 is not None
    assert found.top1.discordant() == (0, 5)
    assert found.top1.flags()[1].tolist() == [False] * 5 + [True] * 45
    assert found.difference is not None
    assert found.difference.low < -0.1 < found.difference.high < 0.05
    noise = 4 * np.sum(SCORES[:5].astype(np.float64) ** 2)
    expected = 10 * math.log10(np.sum(SCORES.astype(np.float64) ** 2) / noise)
    assert found.sqnr_db["scores"] == pytest.approx(expected)


def test_samples_are_streamed() -> None:
    runner = identity()
    compare_accuracy(runner, runner, Arrays(SCORES), 8)
    assert runner.largest_batch == 8


def test_without_labels_agreement_decides() -> None:
    found = compare_accuracy(identity(), swapped(10), Arrays(SCORES), 8)
    assert (found.metric, found.agreement) == ("agreement", 0.8)
    assert found.loss == pytest.approx(0.2)
    assert (found.difference, found.top1) == (None, None)
    assert found.reference == {"agreement": 1.0}


@pytest.mark.parametrize("shape", [(50, 8, 1, 1), (50, 8)])
def test_scores_may_have_trailing_ones(shape: tuple[int, ...]) -> None:
    runner = Function(lambda x: {"scores": x.reshape((len(x), *shape[1:]))})
    assert evaluate(runner, Arrays(SCORES, LABELS), 8).metrics["top1"] == 1.0


@pytest.mark.parametrize(
    "output",
    [
        lambda x: x.astype(np.int64),
        lambda x: x[:, :1],
        lambda x: x[:, :, None],
        lambda x: x[None],
        lambda x: x[0],
        lambda x: x.reshape(-1, 2, 2, 2),
    ],
)
def test_other_outputs_have_distortion_only(output: object) -> None:
    runner = Function(lambda x: {"scores": output(x)})  # type: ignore[operator]
    found = compare_accuracy(runner, runner, Arrays(SCORES, LABELS), 5)
    assert (found.metric, found.output, found.agreement) == ("none", None, None)
    assert found.reference_score is None
    assert found.loss is None
    assert found.sqnr_db == {"scores": math.inf}


def test_scores_are_found_behind_other_outputs_or_by_name() -> None:
    runner = Function(
        lambda x: {"boxes": x[:, :, None], "scores": x, "other": -x}, "boxes", "scores", "other"
    )
    data = Arrays(SCORES, LABELS)
    assert evaluate(runner, data, 8).output == "scores"
    assert evaluate(runner, data, 8).metrics["top1"] == 1.0
    assert evaluate(runner, data, 8, output="other").metrics["top1"] == 0.0
    with pytest.raises(UsageError, match="'boxes' does not hold class scores"):
        evaluate(runner, data, 8, output="boxes")
    with pytest.raises(UsageError, match="'nix' does not hold class scores"):
        evaluate(runner, data, 8, output="nix")


def test_half_precision_scores_count() -> None:
    runner = Function(lambda x: {"scores": x.astype(np.float16)})
    assert compare_accuracy(identity(), runner, Arrays(SCORES, LABELS), 8).agreement == 1.0


def test_top5_can_decide_and_few_classes_have_none() -> None:
    found = compare_accuracy(identity(), swapped(5), Arrays(SCORES, LABELS), 8, metric="top5")
    assert found.candidate_score == 0.9
    few = Arrays(SCORES[:, :5], np.argmax(SCORES[:, :5], axis=1))
    assert compare_accuracy(identity(), identity(), few, 8).reference == {
        "top1": 1.0,
        "agreement": 1.0,
    }
    with pytest.raises(UsageError, match="more than five classes"):
        compare_accuracy(identity(), identity(), few, 8, metric="top5")


def test_metric_none_keeps_the_numbers() -> None:
    found = compare_accuracy(identity(), swapped(5), Arrays(SCORES, LABELS), 8, metric="none")
    assert (found.metric, found.loss) == ("none", None)
    assert found.candidate["top1"] == 0.9


@pytest.mark.parametrize("metric", ["top1", "top5"])
def test_labels_are_required_where_needed(metric: Metric) -> None:
    with pytest.raises(DataError, match=f"arrays: has no labels for {metric}"):
        compare_accuracy(identity(), identity(), Arrays(SCORES), 8, metric=metric)


def test_top1_needs_scores_and_agreement_falls_back() -> None:
    boxes = Function(lambda x: {"boxes": x[:, :, None]}, "boxes")
    data = Arrays(SCORES, LABELS)
    with pytest.raises(UsageError, match="no output holds class scores for top1"):
        compare_accuracy(boxes, boxes, data, 8, metric="top1")
    assert compare_accuracy(boxes, boxes, data, 8, metric="agreement").metric == "none"


@pytest.mark.parametrize("label", [-1, 8, 1000])
def test_a_label_outside_the_classes_is_refused(label: int) -> None:
    labels = LABELS.copy()
    labels[20] = label
    with pytest.raises(DataError, match=rf"label {label} for a model with 8 classes"):
        evaluate(identity(), Arrays(SCORES, labels), 8)


def test_empty_data_and_unlike_models_are_refused() -> None:
    with pytest.raises(DataError, match="arrays: has no samples"):
        evaluate(identity(), Arrays(SCORES[:0]), 8)
    with pytest.raises(DataError, match="arrays: has no samples"):
        compare_accuracy(identity(), identity(), Arrays(SCORES[:0]), 8)
    other = Function(lambda x: {"logits": x}, "logits")
    with pytest.raises(ModelError, match="the candidate has no output 'scores'"):
        compare_accuracy(identity(), other, Arrays(SCORES), 8)


def test_outputs_of_other_shapes_are_named_not_scored() -> None:
    def run(count: int) -> Function:
        return Function(lambda x: {"scores": x, "kept": x[:count, 0]}, "scores", "kept")

    found = compare_accuracy(run(3), run(4), Arrays(SCORES), 8)
    assert found.incomparable == ("kept",)
    assert found.sqnr_db == {"scores": math.inf}


def test_report_is_json() -> None:
    found = compare_accuracy(identity(), identity(), Arrays(SCORES, LABELS), 8)
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert document["sqnr_db"] == {"scores": "inf"}
    assert document["reference"] == {"top1": 1.0, "top5": 1.0, "agreement": 1.0}
    assert document["difference"][0] < 0 < document["difference"][1]
