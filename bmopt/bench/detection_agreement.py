"""Agreement of two detectors: the reference's detections are taken for the truth."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from bmopt.bench.decisions import is_float
from bmopt.bench.detections import BoxLayout, Detections
from bmopt.bench.metric import Floats
from bmopt.core.runner import Array

OVERLAP = 0.5
"""Boxes that overlap as much, intersection over union, are the same."""


@dataclasses.dataclass(frozen=True)
class SameDetections:
    """Which detections two models share, image by image.

    Attributes:
        layout: Where they are read.
        threshold: Only those with at least this score count.
    """

    layout: BoxLayout
    threshold: float

    def shared(
        self, expected: Mapping[str, Array], actual: Mapping[str, Array], size: int
    ) -> dict[str, Floats]:
        """Return ``shared`` and ``seen``: float64 ``[samples]`` each.

        ``seen`` is 1 where at least one of the models detects anything, else 0. ``shared`` is
        then the F1 score of the candidate's detections, 2 pairs / (all of both); pairs are
        formed from the reference's highest score down, each with the box that overlaps most, of
        the same class, by half at least.

        Raises:
            UsageError: The candidate's outputs have another layout.
        """
        pairs = [
            (_above(left, self.threshold), _above(right, self.threshold))
            for left, right in zip(
                _decoded(self.layout, expected, size),
                _decoded(self.layout, actual, size),
                strict=True,
            )
        ]
        totals = np.array([len(left.scores) + len(right.scores) for left, right in pairs])
        twice = np.array([2.0 * matches(left, right) for left, right in pairs])
        shared = np.divide(twice, totals, out=np.zeros(size), where=totals > 0)
        return {"shared": shared, "seen": (totals > 0) * 1.0}


def matches(reference: Detections, candidate: Detections) -> int:
    """Return how many of the reference's detections the candidate has too."""
    overlaps = _overlaps(reference.boxes, candidate.boxes)
    overlaps[reference.classes[:, None] != candidate.classes[None, :]] = 0.0
    found = 0
    for row in range(len(overlaps)):
        best = int(np.argmax(overlaps[row])) if overlaps.shape[1] else 0
        if overlaps.shape[1] and overlaps[row, best] >= OVERLAP:
            overlaps[:, best] = 0.0
            found += 1
    return found


def find_layout(outputs: Mapping[str, Array], size: int, box_format: str) -> BoxLayout | None:
    """Return where boxes, scores and classes are, None where the outputs are no detector's.

    Boxes are floats ``[samples, found, 4]``; scores are floats up to 1,
    ``[samples, found]``, or ``[samples, found, classes]`` where there are none of the former.
    Classes are whole numbers ``[samples, found]``.
    """
    if size == 1 and any(_is_boxes(a, 2) and len(a) != 1 for a in outputs.values()):
        # A model for one image may leave out the axis of the samples.
        outputs = {name: array[None] for name, array in outputs.items()}
    boxes = [name for name, array in outputs.items() if _is_boxes(array, 3)]
    if len(boxes) != 1 or len(outputs[boxes[0]]) != size:
        return None
    shape = outputs[boxes[0]].shape[:2]
    others = {n: a for n, a in outputs.items() if n != boxes[0] and a.shape[:2] == shape}
    flat = {name: array for name, array in others.items() if array.ndim == 2}
    scores = [name for name, array in flat.items() if _is_score(array)]
    # Where nothing is found in a batch scores may be zeros, which classes may be too.
    scores.sort(key=lambda name: (_is_whole(flat[name]), "score" not in name.lower()))
    classes = [n for n, a in flat.items() if n not in scores[:1] and _is_whole(a)]
    if not scores:
        scores = [name for name, array in others.items() if array.ndim == 3 and _is_score(array)]
        classes = []
    if not scores:
        return None
    return BoxLayout(boxes[0], scores[0], classes[0] if classes else None, box_format, 1.0, 0)


def _decoded(layout: BoxLayout, outputs: Mapping[str, Array], size: int) -> list[Detections]:
    scores, boxes = outputs.get(layout.scores), outputs.get(layout.boxes)
    flat = scores is not None and boxes is not None and scores.ndim == boxes.ndim - 1
    if layout.classes is None and scores is not None and flat:
        outputs = {**outputs, layout.scores: scores[..., None]}
    return layout.decode(outputs, size)


def _above(found: Detections, score: float) -> Detections:
    kept = found.scores >= score
    return Detections(found.boxes[kept], found.scores[kept], found.classes[kept])


def _overlaps(left: Array, right: Array) -> Floats:
    """Return the intersection over union of every pair of boxes ``[n, 4]`` and ``[m, 4]``."""
    low = np.maximum(left[:, None, :2], right[None, :, :2])
    high = np.minimum(left[:, None, 2:], right[None, :, 2:])
    common = np.clip(high - low, 0.0, None).prod(axis=2)
    areas = [np.clip(b[:, 2:] - b[:, :2], 0.0, None).prod(axis=1) for b in (left, right)]
    union = areas[0][:, None] + areas[1][None, :] - common
    found: Floats = np.divide(common, union, out=np.zeros_like(common), where=union > 0.0)
    return found


def _is_boxes(array: Array, rank: int) -> bool:
    return is_float(array) and array.ndim == rank and array.shape[-1] == 4


def _is_score(array: Array) -> bool:
    # Some models fill up the rows with -1.
    return is_float(array) and bool(((array >= -1.0) & (array <= 1.0)).all())


def _is_whole(array: Array) -> bool:
    if array.dtype.kind in "iu":
        return True
    wide = array.astype(np.float64) if is_float(array) else np.full(1, 0.5)
    return bool((np.isfinite(wide) & (wide == np.round(wide))).all())
