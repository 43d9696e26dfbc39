"""Average precision from matched detections, on any resample of the images.

As COCO computes it: per class and overlap, precision is made to fall with recall and averaged at
101 recalls; the mean is over the overlaps and over the classes that have a box to be found.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from bmopt.bench.metric import Estimator, Floats, Rows
from bmopt.core.runner import Array

_RECALLS = np.linspace(0.0, 1.0, 101)


def average_precision(rows: Rows, thresholds: int) -> Estimator:
    """Return the estimator of the mean average precision.

    Args:
        rows: As ``bmopt.bench.box_matching.matched`` returns them.
        thresholds: How many overlaps count, from 0.5 on in steps of 0.05.
    """
    wanted = [int(kind) for kind in np.unique(rows["wanted"]) if kind >= 0]
    classes = [_of_class(rows, kind, thresholds) for kind in wanted]

    def values(counts: Floats) -> Floats:
        return np.array([_mean(classes, weights) for weights in counts])

    images = len(rows["wanted"])
    detections = int(np.sum(rows["class"] >= 0))
    work = images + 8 * thresholds * (detections + 200 * len(classes))
    return Estimator(images, work, values)


@dataclasses.dataclass(frozen=True)
class _Class:
    """The detections of a class, best first.

    Attributes:
        images: int64 ``[found]``, the image of each.
        right: float64 ``[thresholds, found]``, 1 where it matches.
        wrong: float64 ``[thresholds, found]``, 1 where it does not.
        wanted: float64 ``[images]``, boxes to be found on each image.
    """

    images: Array
    right: Floats
    wrong: Floats
    wanted: Floats


def _of_class(rows: Rows, kind: int, thresholds: int) -> _Class:
    images, places = np.nonzero(rows["class"] == kind)
    scores = rows["score"][images, places]
    order = np.argsort(-scores, kind="stable")
    images, places = images[order], places[order]
    bits = np.arange(thresholds)[:, None]
    hit = (rows["hit"][images, places] >> bits) & 1
    counted = 1 - ((rows["ignored"][images, places] >> bits) & 1)
    return _Class(
        images,
        (hit * counted).astype(np.float64),
        ((1 - hit) * counted).astype(np.float64),
        np.sum(rows["wanted"] == kind, axis=1).astype(np.float64),
    )


def _mean(classes: list[_Class], weights: Floats) -> float:
    found = [_precision(each, weights) for each in classes]
    known = [value for value in found if value is not None]
    return sum(known) / len(known) if known else float("nan")


def _precision(found: _Class, weights: Floats) -> float | None:
    """Return a class' average precision, None where the resample has no box of it."""
    wanted = float(found.wanted @ weights)
    if wanted == 0.0:
        return None
    if not found.images.size:
        return 0.0
    often = weights[found.images]
    right = np.cumsum(found.right * often, axis=1)
    wrong = np.cumsum(found.wrong * often, axis=1)
    precision = right / np.maximum(right + wrong, np.spacing(1.0))
    falling = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    # A recall that is not reached has precision 0, so a column of zeros follows the last.
    closed = np.pad(falling, ((0, 0), (0, 1)))
    places = [np.searchsorted(row, _RECALLS, side="left") for row in right / wanted]
    return float(np.mean(np.take_along_axis(closed, np.stack(places), axis=1)))
