from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bmopt.bench.metric_text import parse_metric
from bmopt.bench.scoring import compare_models
from bmopt.core.runner import Array
from bmopt.errors import DataError, ModelError, UsageError
from tests.bench.synthetic import Arrays, Function

GENERATOR = np.random.default_rng(17)
SCORES = GENERATOR.normal(size=(60, 8)).astype(np.float32)
LABELS = np.argmax(SCORES, axis=1)


def model(noise: float, seed: int = 0) -> Function:
    def run(x: Array) -> dict[str, Array]:
        rough = np.random.default_rng(seed).normal(0, 1, x.shape)
        return {"scores": (x + noise * rough).astype(np.float32)}

    return Function(run)


class Dying(Function):
    """Raises in its third batch."""

    runs = 0

    def run(self, feeds: object) -> dict[str, Array]:
        self.runs += 1
        if self.runs == 3:
            raise ModelError("the engine died")
        return super().run(feeds)  # type: ignore[arg-type]


@pytest.mark.parametrize("pad", [False, True])
def test_all_candidates_are_compared_with_the_first(pad: bool) -> None:
    runners = {"fp32": model(0), "same": model(0), "rough": model(1.0)}
    metrics = [parse_metric(text) for text in ("top1", "f1", "recall:micro")]
    found = compare_models(runners, Arrays(SCORES, LABELS, pad=pad), 16, metrics)
    assert (found.reference, found.samples, found.output) == ("fp32", 60, "scores")
    same, rough = found.comparisons("same"), found.comparisons("rough")
    assert [each.metric for each in rough] == ["top1", "f1", "recall:micro", "agreement"]
    assert [each.candidate for each in same] == [1.0, 1.0, 1.0, 1.0]
    top1, f1, micro, agreement = rough
    assert top1.candidate == micro.candidate == agreement.candidate < 0.9
    assert top1.test is not None
    assert (top1.test.gained, top1.test.lost) == (0, round(60 * (1 - top1.candidate)))
    assert top1.test.p < 0.01
    for each in (top1, f1, micro):
        assert each.difference is not None
        assert each.difference.change.low < each.candidate - each.reference
        assert each.candidate - each.reference < each.difference.change.high < 0.0
    assert micro.difference is not None
    assert top1.difference is not None
    assert micro.difference.change.low == pytest.approx(top1.difference.change.low, abs=0.03)
    likeness = found.likeness["rough"]
    assert likeness.cosine["scores"] == pytest.approx(np.sqrt(0.5), abs=0.05)
    assert found.likeness["same"].cosine["scores"] == pytest.approx(1.0)


def test_without_metrics_there_is_what_fits() -> None:
    runners = {"a": model(0), "b": model(0.1)}
    names = [
        each.metric.name for each in compare_models(runners, Arrays(SCORES, LABELS), 8).scored
    ]
    assert names == ["top1", "top5"]
    found = compare_models(runners, Arrays(SCORES), 8)
    assert found.scored == ()
    assert [each.metric for each in found.comparisons("b")] == ["agreement"]
    assert compare_models(runners, Arrays(SCORES, LABELS * 0.5), 8).scored == ()


def test_a_candidate_that_dies_leaves_the_others() -> None:
    dying = Dying(lambda x: {"scores": x})
    lacking = Function(lambda x: {"logits": x}, "logits")
    runners = {"fp32": model(0), "dying": dying, "lacking": lacking, "rough": model(1.0)}
    found = compare_models(runners, Arrays(SCORES, LABELS), 8)
    assert {name: str(error) for name, error in found.failures.items()} == {
        "dying": "the engine died",
        "lacking": "the candidate has no output 'scores'; compare like models",
    }
    assert list(found.likeness) == ["rough"]
    assert dying.runs == 3
    alone = compare_models({"fp32": model(0), "rough": model(1.0)}, Arrays(SCORES, LABELS), 8)
    assert found.comparisons("rough") == alone.comparisons("rough")
    with pytest.raises(UsageError, match="candidate 'dying': the engine died"):
        found.comparisons("dying")
    with pytest.raises(UsageError, match="candidate 'nix': is none of rough"):
        found.comparisons("nix")


def test_labels_of_a_file_are_paired_with_the_samples(tmp_path: Path) -> None:
    targets = SCORES.sum(axis=1)
    np.save(tmp_path / "targets.npy", np.append(targets, 99.0))
    metric = parse_metric(f"mse:labels={tmp_path / 'targets.npy'}")
    exact = Function(lambda x: {"scores": x.sum(axis=1)})
    off = Function(lambda x: {"scores": x.sum(axis=1) + 2})
    found = compare_models({"exact": exact, "off": off}, Arrays(SCORES, pad=True), 16, [metric])
    (mse,) = found.comparisons("off")
    assert (mse.reference, mse.candidate) == (pytest.approx(0.0, abs=1e-9), pytest.approx(4.0))
    assert mse.difference is not None
    assert mse.difference.change.low == pytest.approx(4.0, abs=1e-4)
    np.save(tmp_path / "targets.npy", targets[:40])
    with pytest.raises(DataError, match=r"targets\.npy: holds 40 labels and there are more"):
        compare_models({"exact": exact, "off": off}, Arrays(SCORES), 16, [metric])


def test_what_cannot_be_scored_is_named() -> None:
    runners = {"a": model(0), "b": model(0)}
    top1, f1 = parse_metric("top1"), parse_metric("f1")
    with pytest.raises(DataError, match="arrays: has no labels for f1; add labels=FILE"):
        compare_models(runners, Arrays(SCORES), 8, [f1])
    with pytest.raises(UsageError, match="metric 'top1' is given twice"):
        compare_models(runners, Arrays(SCORES, LABELS), 8, [top1, f1, top1])
    with pytest.raises(DataError, match="arrays: has no samples"):
        compare_models(runners, Arrays(SCORES[:0], LABELS[:0]), 8, [top1])
    boxes = Function(lambda x: {"scores": x[:, :, None]})
    with pytest.raises(UsageError, match="no output holds class scores for top1"):
        compare_models({"a": boxes, "b": boxes}, Arrays(SCORES, LABELS), 8, [top1])
    few = compare_models(runners, Arrays(SCORES[:9], LABELS[:9]), 8, [f1]).comparisons("b")[0]
    assert few.difference is None
    assert few.note == "f1 needs 10 samples for an interval, 9 ran"


def test_is_json_with_every_sample() -> None:
    broken = Function(lambda x: {"scores": np.full_like(x, np.nan)})
    metrics = [parse_metric("mae")]
    exact = {"a": model(0), "b": broken}
    found = compare_models(exact, Arrays(SCORES, SCORES), 16, metrics)
    document = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert document["metrics"][0]["rows"]["a"]["error"]["shape"] == [60]
    (mae, agreement) = document["candidates"]["b"]["comparisons"]
    assert (mae["candidate"], mae["change"], mae["note"]) == (None, None, "mae is not a number")
    assert agreement["metric"] == "agreement"
    assert document["candidates"]["b"]["cosine"] == {"scores": None}
