"""The evaluator on ONNX Runtime: models of several kinds, verdicts, memory and what it refuses."""

from __future__ import annotations

import json
import sys
import tempfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from bmopt.bench.accuracy import compare_accuracy
from bmopt.bench.budget import Budget
from bmopt.core.dataset import Batch
from bmopt.core.runner import Array
from bmopt.errors import DataError, ModelError, OutputError, UsageError
from bmopt.workflow.evaluating import Evaluator
from tests.bench.synthetic import Arrays, Function
from tests.engine import PlainRunner

GENERATOR = np.random.default_rng(41)
X = GENERATOR.normal(size=(300, 8)).astype(np.float32)

CLASSIFIER = """
<ir_version: 10, opset_import: ["" : 20]>
agraph (float[N, 8] x) => (float[N, 8] scores) {
  step = Constant<value = float {STEP}>()
  scaled = Div(x, step)
  whole = Round(scaled)
  scores = Mul(whole, step)
}
"""
REGRESSOR = """
<ir_version: 10, opset_import: ["" : 20]>
agraph (float[N, 8] x) => (float[N, 1] fine, float[N, 1] coarse) {
  step = Constant<value = float {STEP}>()
  axes = Constant<value = int64[1] {1}>()
  fine = ReduceSum(x, axes)
  scaled = Div(fine, step)
  whole = Round(scaled)
  coarse = Mul(whole, step)
}
"""
SEQUENCE = """
<ir_version: 10, opset_import: ["" : 20]>
agraph (float[N, 8] x) => (float[N, 2, 4] tags) {
  step = Constant<value = float {STEP}>()
  shape = Constant<value = int64[3] {-1, 2, 4}>()
  scaled = Div(x, step)
  whole = Round(scaled)
  tags = Reshape(whole, shape)
}
"""
DETECTOR = """
<ir_version: 10, opset_import: ["" : 20]>
agraph (float[N, 8] x) => (float[N, 2, 4] boxes, float[N, 2] scores, int64[N, 2] labels) {
  step = Constant<value = float {STEP}>()
  shape = Constant<value = int64[3] {-1, 2, 4}>()
  axes = Constant<value = int64[1] {2}>()
  corner = Constant<value = float[4] {0, 0, 8, 8}>()
  scaled = Div(x, step)
  whole = Round(scaled)
  rough = Mul(whole, step)
  moved = Reshape(rough, shape)
  boxes = Add(moved, corner)
  summed = ReduceSum<keepdims = 0>(moved, axes)
  scores = Sigmoid(summed)
  labels = Cast<to = 7>(scores)
}
"""
NOTHING = REGRESSOR.replace(", float[N, 1] coarse", "").replace("scaled = Div(fine, step)", "")
NOTHING = NOTHING.replace("  whole = Round(scaled)\n  coarse = Mul(whole, step)\n", "")


def opened(text: str, step: float = 1e-3) -> PlainRunner:
    return PlainRunner(ir.from_onnx_text(text.replace("STEP", f"{step:g}")))


def labelled(count: int = 300, wrong: int = 0) -> Arrays:
    labels = np.argmax(X[:count], axis=1)
    labels[:wrong] = (labels[:wrong] + 1) % 8
    return Arrays(X[:count], labels)


def test_a_classifier_with_labels() -> None:
    budget = Budget("auto", 1.0)
    with Evaluator(labelled(wrong=60), 32, budget=budget) as evaluator:
        values = evaluator.reference(opened(CLASSIFIER))
        assert values == {"top1": 0.8, "top5": values["top5"]}
        assert evaluator.metric == "top1"
        near, far = (evaluator.evaluate(opened(CLASSIFIER, step)) for step in (0.01, 1.0))
        assert evaluator.evaluations == 3
        assert near.verdict is not None
        assert far.verdict is not None
        assert (near.verdict.met, near.verdict.metric) == (True, "top1")
        assert (far.verdict.met, far.verdict.decided) == (False, True)
        assert far.verdict.drop == pytest.approx(100 * (0.8 - far.report.candidate["top1"]))
        assert "300 samples resolve" in far.verdict.text
        again = evaluator.evaluate(opened(CLASSIFIER, 1.0))
        assert again == far


@pytest.mark.parametrize("pad", [False, True])
@pytest.mark.parametrize("labels", [None, np.argmax(X, axis=1)])
def test_the_report_is_that_of_both_models_side_by_side(pad: bool, labels: Array | None) -> None:
    data = Arrays(X, labels, pad=pad)
    before, after = opened(CLASSIFIER), opened(CLASSIFIER, 1.0)
    with Evaluator(data, 32) as evaluator:
        evaluator.reference(before)
        found = evaluator.evaluate(after)
    assert found.verdict is None
    expected = compare_accuracy(before, after, data, 32).to_dict()
    document = found.report.to_dict()
    assert document == expected
    assert json.loads(json.dumps(found.to_dict(), allow_nan=False))["budget"] is None


def test_agreement_decides_without_labels() -> None:
    with Evaluator(Arrays(X), 32, "auto", Budget(max_drop=5.0)) as evaluator:
        assert evaluator.reference(opened(CLASSIFIER)) == {"agreement": 1.0}
        found = evaluator.evaluate(opened(CLASSIFIER, 0.3))
    assert found.verdict is not None
    agreed = float(np.mean(np.round(X / 0.3).argmax(axis=1) == X.argmax(axis=1)))
    assert found.verdict.drop == pytest.approx(100 * (1 - agreed))
    assert found.report.agreement == pytest.approx(agreed)
    assert found.verdict.method.startswith("exact binomial")


def test_a_regressor_with_several_outputs() -> None:
    data = Arrays(X)
    budget = Budget("sqnr", None, 25.0)
    with Evaluator(data, 32, "sqnr", budget) as evaluator:
        evaluator.reference(opened(REGRESSOR))
        near, far = (evaluator.evaluate(opened(REGRESSOR, step)) for step in (0.1, 1.0))
    assert near.verdict is not None
    assert far.verdict is not None
    assert far.report.sqnr_db["fine"] == np.inf
    assert far.verdict.candidate == pytest.approx(far.report.sqnr_db["coarse"])
    assert (near.verdict.met, far.verdict.met, far.verdict.decided) == (True, False, True)
    assert far.report.metric == "sqnr"
    document = json.loads(json.dumps(far.to_dict(), allow_nan=False))
    assert document["reference"] == {"sqnr": "inf"}
    assert document["budget"]["met"] is False
    with Evaluator(data, 32, "cosine", Budget("cosine", None, 0.999)) as evaluator:
        evaluator.reference(opened(REGRESSOR))
        cosine = evaluator.evaluate(opened(REGRESSOR, 0.1)).verdict
    assert cosine is not None
    assert cosine.met


def test_a_sequence_classifier_counts_its_positions() -> None:
    with Evaluator(Arrays(X), 32, budget=Budget(max_drop=1.0)) as evaluator:
        evaluator.reference(opened(SEQUENCE))
        near, far = (evaluator.evaluate(opened(SEQUENCE, step)) for step in (1e-3, 1.0))
    agreed = np.round(X).reshape(-1, 4).argmax(axis=1) == X.reshape(-1, 4).argmax(axis=1)
    assert near.verdict is not None
    assert far.verdict is not None
    assert far.verdict.candidate == pytest.approx(float(agreed.mean()))
    assert (near.verdict.met, far.verdict.met) == (True, False)
    assert (far.report.metric, far.report.output) == ("agreement", None)
    assert far.report.agreement == far.verdict.candidate
    assert far.verdict.method == "paired bootstrap"


def test_a_detector_agrees_box_by_box() -> None:
    with Evaluator(Arrays(X), 32, budget=Budget(max_drop=2.0)) as evaluator:
        evaluator.reference(opened(DETECTOR))
        same, far = (evaluator.evaluate(opened(DETECTOR, step)) for step in (1e-3, 4.0))
    assert same.verdict is not None
    assert far.verdict is not None
    assert (same.verdict.candidate, same.verdict.met) == (1.0, True)
    assert 0.3 < far.verdict.candidate < 0.98
    assert not far.verdict.met


def test_metrics_of_users_and_with_options(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "def error(outputs, labels):\n    return abs(outputs['coarse'] - outputs['fine'])[:, 0]\n"
    )
    (tmp_path / "my_errors.py").write_text(code + "error.lower_is_better = True\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "my_errors", raising=False)
    budget = Budget("my_errors:error", 0.1)
    with Evaluator(Arrays(X), 32, "my_errors:error", budget) as evaluator:
        evaluator.reference(opened(REGRESSOR))
        near, far = (evaluator.evaluate(opened(REGRESSOR, step)) for step in (0.1, 1.0))
    assert near.verdict is not None
    assert far.verdict is not None
    assert (near.verdict.met, far.verdict.met, far.verdict.decided) == (True, False, True)
    assert far.verdict.drop == pytest.approx(0.25, abs=0.02)
    np.save(tmp_path / "labels.npy", np.argmin(X, axis=1))
    with Evaluator(labelled(), 32, "top1:labels=labels.npy") as evaluator:
        assert evaluator.reference(opened(CLASSIFIER))["top1"] < 0.05
        assert evaluator.metric == "top1"


class Endless:
    """Samples that are made as they are read, so that nothing but a batch of them is in memory."""

    name = "endless"
    fingerprint = "0" * 64
    has_labels = False
    size = 64 * 16

    def batches(self, batch_size: int) -> Iterator[Batch]:
        for seed in range(64):
            rows = np.random.default_rng(seed).normal(size=(16, 8)).astype(np.float32)
            yield Batch({"x": rows}, 16)


@pytest.mark.parametrize("metric", ["auto", "sqnr"])
def test_memory_does_not_grow_with_outputs(metric: str) -> None:
    """64 MiB of outputs pass through; a batch of them has 1 MiB."""
    runner = Function(lambda x: {"y": np.repeat(x[:, :, None], 2048, axis=2)}, "y")
    with Evaluator(Endless(), 16, metric) as evaluator:
        tracemalloc.start()
        try:
            evaluator.reference(runner)
            evaluator.evaluate(runner)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak < 20 << 20


def test_the_reference_runs_once_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    calls = []
    counted = Function(lambda x: calls.append(len(x)) or {"scores": x})  # type: ignore[func-returns-value]
    with Evaluator(Arrays(X), 100) as evaluator:
        assert evaluator.evaluations == 0
        evaluator.reference(counted)
        for _ in range(3):
            evaluator.evaluate(opened(CLASSIFIER))
        assert evaluator.evaluations == 4
        assert calls == [100, 100, 100]
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="run the reference before"):
        evaluator.evaluate(counted)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    with pytest.raises(OutputError, match="cannot keep the source model's outputs"):
        evaluator.reference(counted)


class Shifting(Arrays):
    """Has one sample fewer each time."""

    passes = 0

    def batches(self, batch_size: int) -> Iterator[Batch]:
        self.passes += 1
        return Arrays(self._x[self.passes :]).batches(batch_size)


def test_what_cannot_be_evaluated_is_named() -> None:
    with pytest.raises(DataError, match="arrays: has no labels for top1"):
        Evaluator(Arrays(X), 8, "top1")
    with pytest.raises(UsageError, match="a budget needs a metric"):
        Evaluator(Arrays(X), 8, "none", Budget(max_drop=1.0))
    with pytest.raises(UsageError, match="the budget is for sqnr and the metric is agreement"):
        Evaluator(Arrays(X), 8, "agreement", Budget("sqnr", None, 30.0))
    with pytest.raises(UsageError, match=r"max-drop 1: sqnr .* use --min-metric"):
        Evaluator(Arrays(X), 8, "sqnr", Budget(max_drop=1.0))
    with pytest.raises(DataError, match="arrays: has no samples"):
        Evaluator(Arrays(X[:0]), 8).reference(opened(CLASSIFIER))
    with Evaluator(Arrays(X), 8, budget=Budget(max_drop=1.0)) as evaluator:
        with pytest.raises(UsageError, match=r"nothing to be judged by .*give --metric sqnr with"):
            evaluator.reference(opened(NOTHING))
        evaluator.reference(opened(CLASSIFIER))
        with pytest.raises(ModelError, match="the candidate has no output 'scores'"):
            evaluator.evaluate(opened(SEQUENCE))
        assert evaluator.evaluate(opened(CLASSIFIER)).report.agreement == 1.0
        assert evaluator.evaluations == 2
    with Evaluator(Shifting(X), 8) as evaluator:
        evaluator.reference(opened(CLASSIFIER))
        with pytest.raises(DataError, match="arrays: yields other samples than when the source"):
            evaluator.evaluate(opened(CLASSIFIER))


def test_a_source_model_without_a_number_cannot_be_judged() -> None:
    lost = Function(lambda x: {"y": x[:, :1]}, "y")
    labels = np.full((300, 1), np.nan)
    evaluator = Evaluator(Arrays(X, labels), 32, "mse", Budget("mse", 1.0))
    with evaluator, pytest.raises(DataError, match="mse of the source model is not a number"):
        evaluator.reference(lost)


@pytest.mark.parametrize("metric", ["auto", "none", "agreement"])
def test_models_that_decide_nothing_have_distances_only(metric: str) -> None:
    with Evaluator(Arrays(X), 32, metric) as evaluator:
        evaluator.reference(opened(NOTHING))
        found = evaluator.evaluate(opened(NOTHING)).report
    assert (found.metric, found.agreement, found.reference) == ("none", None, {})
    assert found.sqnr_db == {"fine": np.inf}
