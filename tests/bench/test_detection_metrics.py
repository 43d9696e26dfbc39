from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bmopt.bench.box_matching import THRESHOLDS, matched
from bmopt.bench.detection_metrics import MeanAveragePrecision
from bmopt.bench.detections import Detections
from bmopt.bench.metric import joined
from bmopt.bench.metric_text import parse_metric
from bmopt.core.runner import Array
from bmopt.errors import DataError, UsageError

pytest.importorskip("pycocotools")

SPEC = "boxes=b,scores=s,classes=c"


def outputs(boxes: Any, scores: Any, classes: Any) -> dict[str, Array]:
    return {
        "b": np.array(boxes, np.float32),
        "s": np.array(scores, np.float32),
        "c": np.array(classes, np.int64),
    }


def value(text: str, found: dict[str, Array], labels: Array) -> float:
    metric = parse_metric(text).bound(found, len(labels))
    return metric.estimator(metric.score(found, labels, len(labels))).value()


def one_image(box: list[float]) -> tuple[dict[str, Array], Array]:
    """A box [0, 0, 10, 10] of class 3, and one detection."""
    return outputs([[box]], [[0.9]], [[3]]), np.array([[[3, 0, 0, 10, 10]]], float)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ([0, 0, 10, 10], 1.0),
        ([0, 0, 10, 7.6], 0.6),  # an overlap of 0.76 is a match at 0.5, 0.55, ... 0.75
        ([0, 0, 10, 4], 0.0),
        ([20, 20, 30, 30], 0.0),
    ],
)
def test_one_box_by_hand(box: list[float], expected: float) -> None:
    found, labels = one_image(box)
    assert value(f"map:{SPEC}", found, labels) == pytest.approx(expected)
    assert value(f"map50:{SPEC}", found, labels) == float(expected > 0)


def test_a_better_scored_miss_halves_the_precision() -> None:
    found = outputs([[[50, 50, 60, 60], [0, 0, 10, 10]]], [[0.9, 0.8]], [[3, 3]])
    labels = np.array([[[3, 0, 0, 10, 10], [-1, -1, -1, -1, -1]]], float)
    assert value(f"map50:{SPEC}", found, labels) == pytest.approx(0.5)


def test_other_class_and_second_box_are_misses_and_crowds_are_ignored() -> None:
    box = [0, 0, 10, 10]
    found = outputs([[box, box]], [[0.9, 0.8]], [[3, 4]])
    labels = np.array([[[3, *box], [3, 20, 20, 30, 30]]], float)
    # A recall of a half, at precision 1, is reached at 51 of 101 points.
    assert value(f"map50:{SPEC}", found, labels) == pytest.approx(51 / 101)
    crowd = np.array([[[3, *box, 0], [4, *box, 1]]], float)
    assert value(f"map50:{SPEC}", found, crowd) == 1.0


@pytest.mark.parametrize(
    ("layout", "box"),
    [
        ("format=xywh", [5, 5, 10, 20]),
        ("format=cxcywh", [10, 15, 10, 20]),
        ("scale=1/2", [10, 10, 30, 50]),
        ("format=cxcywh,scale=20", [0.5, 0.75, 0.5, 1.0]),
    ],
)
def test_formats_and_scales(layout: str, box: list[float]) -> None:
    labels = np.array([[[2, 5, 5, 15, 25]]], float)
    found = outputs([[box]], [[0.9]], [[3]])
    assert value(f"map:{SPEC},offset=-1,{layout}", found, labels) == 1.0


def test_scores_per_class_are_detections_of_their_own() -> None:
    found = {"b": np.array([[[0, 0, 10, 10]]], float), "s": np.array([[[0.1, 0.9, 0.0]]])}
    labels = np.array([[[0, 0, 0, 10, 10], [1, 0, 0, 10, 10]]], float)
    assert value("map:boxes=b,scores=s", found, labels) == 1.0


def test_an_unbatched_output_is_one_sample() -> None:
    found, labels = one_image([0, 0, 10, 10])
    assert value(f"map:{SPEC}", {name: array[0] for name, array in found.items()}, labels) == 1.0


def scene(seed: int, images: int) -> tuple[list[Detections], list[Array]]:
    """Labelled boxes, and detections that are those boxes moved, missed or made up."""
    generator = np.random.default_rng(seed)
    found, truths = [], []
    for _ in range(images):
        count = int(generator.integers(0, 6))
        corner, size = generator.uniform(0, 80, (count, 2)), generator.uniform(5, 30, (count, 2))
        boxes = np.concatenate([corner, corner + size], axis=1)
        classes = generator.integers(0, 3, count)
        crowd = generator.random(count) < 0.1
        truths.append(np.column_stack([classes, boxes, crowd]).astype(float))
        moved = np.repeat(boxes, 2, axis=0) + generator.normal(0, 1.5, (2 * count, 4))
        kinds = np.where(generator.random(2 * count) < 0.9, np.repeat(classes, 2), 0)
        found.append(Detections.best(moved, generator.random(2 * count), kinds))
    return found, truths


def cocos(found: list[Detections], truths: list[Array]) -> tuple[float, float]:
    """The two numbers that pycocotools prints first."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def entry(image: int, box: Array, kind: float, **extra: Any) -> dict[str, Any]:
        x, y, right, bottom = map(float, box)
        width, height = right - x, bottom - y
        return {
            "image_id": image,
            "category_id": int(kind),
            "bbox": [x, y, width, height],
            "area": width * height,
            "iscrowd": 0,
            **extra,
        }

    expected = [
        entry(i, row[1:5], row[0], iscrowd=int(row[5]))
        for i, rows in enumerate(truths)
        for row in rows
    ]
    given = [
        entry(i, box, kind, score=float(score))
        for i, each in enumerate(found)
        for box, score, kind in zip(each.boxes, each.scores, each.classes, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": i} for i in range(len(truths))],
            "categories": [{"id": k} for k in range(3)],
            "annotations": [{**e, "id": i} for i, e in enumerate(expected, 1)],
        }
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(given), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0]), float(evaluation.stats[1])


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_pycocotools_whatever_the_batches(seed: int) -> None:
    found, truths = scene(seed, 30)
    parts = [matched(found[i : i + 7], truths[i : i + 7]) for i in range(0, 30, 7)]
    whole = joined(parts)
    expected = cocos(found, truths)
    for kind, wanted in zip(("map", "map50"), expected, strict=True):
        metric = parse_metric(f"{kind}:{SPEC}")
        assert metric.estimator(whole).value() == pytest.approx(wanted, abs=1e-12)
    assert 0.2 < expected[0] < expected[1] < 1.0


def test_a_resample_repeats_images() -> None:
    found, truths = scene(9, 12)
    rows = matched(found, truths)
    picks = np.array([0, 0, 1, 3, 3, 3, 5, 6, 7, 9, 10, 11])
    counts = np.bincount(picks, minlength=12).astype(np.float64)
    drawn = MeanAveragePrecision().estimator(rows).values(counts[None])[0]
    again = cocos([found[i] for i in picks], [truths[i] for i in picks])
    assert drawn == pytest.approx(again[0], abs=1e-12)
    assert len(THRESHOLDS) == 10


def test_nothing_wanted_has_no_value_and_nothing_found_is_zero() -> None:
    nothing = Detections.best(np.zeros((0, 4)), np.zeros(0), np.zeros(0))
    empty = np.zeros((0, 6))
    assert np.isnan(MeanAveragePrecision().estimator(matched([nothing], [empty])).value())
    box = np.array([[1, 0, 0, 5, 5, 0.0]])
    assert MeanAveragePrecision().estimator(matched([nothing], [box])).value() == 0.0


COCO = {
    "images": [
        {"id": 7, "file_name": "b.jpg", "width": 100, "height": 50},
        {"id": 4, "file_name": "a.jpg", "width": 10, "height": 10},
    ],
    "categories": [{"id": 90}, {"id": 18}],
    "annotations": [
        {"image_id": 7, "category_id": 90, "bbox": [10, 10, 20, 20], "iscrowd": 1},
        {"image_id": 7, "category_id": 18, "bbox": [0, 0, 5, 5]},
    ],
}


def test_labels_from_coco_lie_in_the_order_of_file_names(tmp_path: Path) -> None:
    file = tmp_path / "instances.json"
    file.write_text(json.dumps(COCO))
    labels = parse_metric(f"map:{SPEC},labels={file}").load_labels()
    assert labels is not None
    assert labels[0, :, 0].tolist() == [-1, -1]
    assert labels[1].tolist() == [[1, 10, 10, 30, 30, 1], [0, 0, 0, 5, 5, 0]]
    text = f"map:{SPEC},labels={file},categories=id,coordinates=relative"
    relative = parse_metric(text).load_labels()
    assert relative is not None
    assert relative[1, 0].tolist() == [90, 0.1, 0.2, 0.3, 0.6, 1]


@pytest.mark.parametrize("text", ["[]", "{}", "nonsense", '{"images": 3}'])
def test_json_that_is_not_cocos_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.json"
    file.write_text(text)
    with pytest.raises(DataError, match=r"x\.json: is no COCO JSON"):
        parse_metric(f"map:{SPEC},labels={file}").load_labels()


def test_a_decoder_reads_any_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "raw_boxes.py").write_text(
        "def decode(outputs):\n"
        "    return [(row[:4], row[4:5], row[5:6]) for row in outputs['raw']]\n"
        "def wrong(outputs):\n    return [1]\n"
        "def short(outputs):\n    return []\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "raw_boxes", raising=False)
    found = {"raw": np.array([[0, 0, 10, 10, 0.9, 3.0]])}
    labels = np.array([[[3, 0, 0, 10, 10]]], float)
    assert value("map:decode=raw_boxes:decode", found, labels) == 1.0
    for name in ("wrong", "short"):
        with pytest.raises(DataError, match="decode: return"):
            value(f"map:decode=raw_boxes:{name}", found, labels)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("map", "say where the detections are"),
        ("map:boxes=b,scores=x", "has no output 'x'; outputs are b"),
        ("map:boxes=b,scores=s", "are not"),
        ("map:boxes=b,scores=b,classes=c", "are not"),
        ("map:boxes=b,scores=s,classes=b", r"output 'b' is \[1, 1, 4\] for 1 samples"),
        (f"map:{SPEC},format=yx", "format=yx: choose one of xyxy"),
    ],
)
def test_what_does_not_fit_is_named(text: str, message: str) -> None:
    found, _ = one_image([0, 0, 10, 10])
    with pytest.raises(UsageError, match=message):
        parse_metric(text).bound(found, 1)


def test_labels_that_are_no_boxes_are_named() -> None:
    found, _ = one_image([0, 0, 10, 10])
    metric = parse_metric(f"map:{SPEC}")
    with pytest.raises(DataError, match="labels for map must be rows class, x1"):
        metric.score(found, np.array([3]), 1)
    for option in ("categories=name", "coordinates=cm"):
        with pytest.raises(UsageError, match="choose"):
            parse_metric(f"map:{option}")
