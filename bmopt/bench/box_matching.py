"""Which detections match a labelled box, by COCO's rules as pycocotools has them."""

from __future__ import annotations

import contextlib
import importlib.util
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from bmopt.bench.detections import MOST, Detections
from bmopt.bench.metric import Rows
from bmopt.core.runner import Array
from bmopt.errors import UsageError

THRESHOLDS = np.linspace(0.5, 0.95, 10)
"""The overlaps that COCO's mean average precision averages over."""

_ALL_AREAS = [[0.0, 1e10]]


def require_pycocotools() -> None:
    """Refuse where pycocotools is not installed.

    Raises:
        UsageError: It is not.
    """
    if importlib.util.find_spec("pycocotools") is None:
        raise UsageError("map needs pycocotools; pip install 'bmopt[metrics]'")


def matched(found: Sequence[Detections], truths: Sequence[Array]) -> Rows:
    """Return what COCO's evaluation keeps of every image.

    Args:
        found: The detections on each image.
        truths: Rows ``[boxes, 6]`` of each image: class, x1, y1, x2, y2, crowd.

    Returns:
        Padded with -1 to equal widths, ``[images, width]`` each: ``score`` and ``class`` of the
        detections; ``hit``, with bit t set where one matches at threshold t; ``ignored``, with
        bit t set where it matches a crowd; and ``wanted``, the classes of the boxes to be found.
    """
    entries = _evaluated(found, truths)
    columns: dict[str, list[list[Any]]] = {
        name: [[] for _ in found] for name in ("score", "class", "hit", "ignored", "wanted")
    }
    bits = 1 << np.arange(THRESHOLDS.size)
    for entry in entries:
        image, kind = entry["image_id"] - 1, entry["category_id"]
        scores = entry["dtScores"]
        columns["score"][image] += scores
        columns["class"][image] += [kind] * len(scores)
        columns["hit"][image] += list(bits @ (entry["dtMatches"] > 0))
        columns["ignored"][image] += list(bits @ np.asarray(entry["dtIgnore"], bool))
        columns["wanted"][image] += [kind] * int(np.sum(np.asarray(entry["gtIgnore"]) == 0))
    return {
        name: _padded(rows, np.float64 if name == "score" else np.int64)
        for name, rows in columns.items()
    }


def _evaluated(found: Sequence[Detections], truths: Sequence[Array]) -> list[dict[str, Any]]:
    """Return pycocotools' result of every image and class that has boxes of either kind."""
    from pycocotools.cocoeval import COCOeval

    classes = sorted(
        {int(k) for each in found for k in each.classes}
        | {int(row[0]) for rows in truths for row in rows}
    )
    # It tells of its progress on standard output, which belongs to the caller.
    with contextlib.redirect_stdout(io.StringIO()):
        expected = _indexed([_truth_boxes(rows) for rows in truths], classes)
        evaluation = COCOeval(
            expected, _indexed([_found_boxes(each) for each in found], classes), "bbox"
        )
        evaluation.params.areaRng = _ALL_AREAS
        evaluation.params.areaRngLbl = ["all"]
        evaluation.params.iouThrs = THRESHOLDS
        evaluation.params.maxDets = [MOST]
        evaluation.evaluate()
    return [entry for entry in evaluation.evalImgs if entry is not None]


def _indexed(images: Sequence[Sequence[dict[str, Any]]], classes: Sequence[int]) -> Any:  # noqa: ANN401 - pycocotools has no types
    """Return a COCO object; ids count from 1, because COCOeval takes 0 for no match."""
    from pycocotools.coco import COCO

    index = COCO()
    boxes = [{**box, "image_id": image} for image, each in enumerate(images, 1) for box in each]
    index.dataset = {
        "images": [{"id": image} for image in range(1, len(images) + 1)],
        "categories": [{"id": kind} for kind in classes],
        "annotations": [{**box, "id": number} for number, box in enumerate(boxes, 1)],
    }
    index.createIndex()
    return index


def _truth_boxes(rows: Array) -> list[dict[str, Any]]:
    return [
        {**_box(row[1:5]), "category_id": int(row[0]), "iscrowd": int(row[5] > 0)} for row in rows
    ]


def _found_boxes(found: Detections) -> list[dict[str, Any]]:
    rows = zip(found.boxes, found.scores, found.classes, strict=True)
    return [
        {**_box(box), "category_id": int(kind), "iscrowd": 0, "score": float(score)}
        for box, score, kind in rows
    ]


def _box(corners: Array) -> dict[str, Any]:
    x, y, right, bottom = map(float, corners)
    width, height = right - x, bottom - y
    return {"bbox": [x, y, width, height], "area": width * height}


def _padded(rows: Sequence[Sequence[Any]], dtype: type) -> Array:
    filled: Array = np.full((len(rows), max(map(len, rows), default=0)), -1, dtype=dtype)
    for place, row in zip(filled, rows, strict=True):
        place[: len(row)] = row
    return filled
