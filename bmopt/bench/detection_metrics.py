"""Mean average precision of detectors."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import ClassVar, cast

import numpy as np

from bmopt.bench.average_precision import average_precision
from bmopt.bench.box_matching import THRESHOLDS, matched, require_pycocotools
from bmopt.bench.coco_labels import Categories, load_coco
from bmopt.bench.detections import BoxLayout, Decoder, Detections, decoded_by
from bmopt.bench.metric import Estimator, Metric, Rows, required
from bmopt.bench.user_function import user_function
from bmopt.core.runner import Array
from bmopt.errors import DataError, UsageError


@dataclasses.dataclass(frozen=True)
class MeanAveragePrecision(Metric):
    """COCO's mean average precision at overlaps 0.5 to 0.95, at most 100 detections an image.

    Labels are rows per image: class, x1, y1, x2, y2 and, if given, crowd; rows with class -1 are
    padding. They come with the data, or from ``labels=FILE.json`` in COCO's form. Its interval is
    a bootstrap over images, recomputed on every resample: at least 200, at most 10,000.

    Attributes:
        boxes: The output with boxes.
        scores: The output with scores.
        classes: The output with classes; none where scores are per class.
        format: ``xyxy``, ``xywh`` or ``cxcywh``.
        scale: Box coordinates times this are the labels'.
        offset: Added to the model's classes.
        decode: ``module:function`` for outputs of any other layout, instead of all these.
        categories: Of a COCO JSON: classes are the ``index`` of a category or its ``id``.
        coordinates: Of a COCO JSON: in ``pixels``, or ``relative`` to the image's size.
    """

    boxes: str | None = None
    scores: str | None = None
    classes: str | None = None
    format: str = "xyxy"
    scale: float = 1.0
    offset: int = 0
    decode: str | None = None
    categories: str = "index"
    coordinates: str = "pixels"

    kind: ClassVar[str] = "map"
    thresholds: ClassVar[int] = THRESHOLDS.size

    def __post_init__(self) -> None:
        """Check the options that have few values."""
        if self.categories not in ("index", "id"):
            raise UsageError(f"map: categories={self.categories}: choose index or id")
        if self.coordinates not in ("pixels", "relative"):
            raise UsageError(f"map: coordinates={self.coordinates}: choose pixels or relative")

    def load_labels(self) -> Array | None:
        """Return the labels in the file ``labels``; a .json is read as COCO's."""
        if self.labels is None or not self.labels.endswith(".json"):
            return super().load_labels()
        categories = cast("Categories", self.categories)
        relative = self.coordinates == "relative"
        return load_coco(self.labels, categories=categories, relative=relative)

    def bound(self, outputs: Mapping[str, Array], size: int) -> Metric:
        """Check that the outputs can be read."""
        require_pycocotools()
        self._reader()(outputs, size)
        return self

    def score(self, outputs: Mapping[str, Array], labels: Array | None, size: int) -> Rows:
        """Return the rows of ``bmopt.bench.box_matching.matched``."""
        found = self._reader()(outputs, size)
        return matched(found, [_truth(each) for each in required(labels, self.name)])

    def estimator(self, rows: Rows) -> Estimator:
        """Return the mean over overlaps and classes."""
        return average_precision(rows, self.thresholds)

    def _reader(self) -> Callable[[Mapping[str, Array], int], list[Detections]]:
        if self.decode is not None:
            function = cast("Decoder", user_function(self.decode))
            return lambda outputs, size: decoded_by(function, outputs, size)
        if self.boxes is None or self.scores is None:
            raise UsageError(
                f"{self.kind}: say where the detections are, {self.kind}:boxes=OUTPUT,"
                "scores=OUTPUT[,classes=OUTPUT], or decode=module:function"
            )
        layout = BoxLayout(
            self.boxes, self.scores, self.classes, self.format, self.scale, self.offset
        )
        return layout.decode


@dataclasses.dataclass(frozen=True)
class MeanAveragePrecision50(MeanAveragePrecision):
    """Mean average precision at an overlap of 0.5; options are those of ``map``."""

    kind: ClassVar[str] = "map50"
    thresholds: ClassVar[int] = 1


def _truth(label: object) -> Array:
    """Return an image's labelled boxes ``[boxes, 6]``."""
    rows = np.asarray(label, dtype=np.float64)
    if not rows.size:
        return np.empty((0, 6))
    if rows.ndim != 2 or rows.shape[1] not in (5, 6):
        raise DataError(
            f"labels for map must be rows class, x1, y1, x2, y2[, crowd] per image, not "
            f"{list(rows.shape)}"
        )
    crowd = rows[:, 5:6] if rows.shape[1] == 6 else np.zeros((len(rows), 1))
    full = np.concatenate([rows[:, :5], crowd], axis=1)
    return full[full[:, 0] >= 0.0]
