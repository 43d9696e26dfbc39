"""Reading a detector's outputs: boxes, scores and classes, in the coordinates of the labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from bmopt.core.runner import Array
from bmopt.errors import DataError, UsageError

FORMATS = ("xyxy", "xywh", "cxcywh")
MOST = 100
"""COCO counts the hundred best detections of an image."""


@dataclasses.dataclass(frozen=True)
class Detections:
    """What was found on one image, best first, at most a hundred.

    Attributes:
        boxes: float64 ``[found, 4]`` corners x1, y1, x2, y2.
        scores: float64 ``[found]``.
        classes: int64 ``[found]``.
    """

    boxes: Array
    scores: Array
    classes: Array

    @classmethod
    def best(cls, boxes: Array, scores: Array, classes: Array) -> Detections:
        """Return the hundred with the highest scores; scores of 0 and below, and NaN, are none."""
        positive = np.flatnonzero(scores > 0.0)
        order = positive[np.argsort(-scores[positive], kind="stable")][:MOST]
        return cls(
            boxes[order].astype(np.float64),
            scores[order].astype(np.float64),
            classes[order].astype(np.int64),
        )


@dataclasses.dataclass(frozen=True)
class BoxLayout:
    """Which outputs hold boxes, scores and classes, after suppression of duplicates.

    Attributes:
        boxes: Output ``[samples, found, 4]``.
        scores: Output ``[samples, found]``, or ``[samples, found, classes]`` where every class
            of a box is a detection of its own.
        classes: Output ``[samples, found]``; None where scores have classes.
        format: ``xyxy`` corners, ``xywh`` corner and size, or ``cxcywh`` centre and size.
        scale: Box coordinates times this are the labels'.
        offset: Added to the classes of the model, -1 where they count from 1.
    """

    boxes: str
    scores: str
    classes: str | None
    format: str
    scale: float
    offset: int

    def __post_init__(self) -> None:
        """Check the format."""
        if self.format not in FORMATS:
            raise UsageError(f"map: format={self.format}: choose one of {', '.join(FORMATS)}")

    def decode(self, outputs: Mapping[str, Array], size: int) -> list[Detections]:
        """Return what was found on each sample.

        Raises:
            UsageError: The outputs have another layout.
        """
        if size == 1 and self.boxes in outputs and outputs[self.boxes].ndim == 2:
            # A model for one image may leave out the axis of the samples.
            outputs = {name: array[None] for name, array in outputs.items()}
        boxes = self._array(outputs, self.boxes, size, (3,))
        scores = self._array(outputs, self.scores, size, (2, 3))
        classes = None
        if self.classes is not None:
            classes = self._array(outputs, self.classes, size, (2,))
        self._require_alike(boxes, scores, classes)
        corners = self._corners(boxes.astype(np.float64)) * self.scale
        if classes is None:
            return [self._of_all_classes(c, s) for c, s in zip(corners, scores, strict=True)]
        rows = zip(corners, scores, classes, strict=True)
        return [Detections.best(c, s, k.astype(np.int64) + self.offset) for c, s, k in rows]

    def _array(
        self, outputs: Mapping[str, Array], name: str, size: int, ranks: tuple[int, ...]
    ) -> Array:
        known = ", ".join(f"{n} {list(a.shape)}" for n, a in outputs.items())
        if name not in outputs:
            raise UsageError(f"map: the model has no output {name!r}; outputs are {known}")
        array = outputs[name]
        if array.ndim not in ranks or len(array) != size:
            raise UsageError(
                f"map: output {name!r} is {list(array.shape)} for {size} samples; outputs are "
                f"{known}, and decode=module:function reads any layout"
            )
        return array

    def _require_alike(self, boxes: Array, scores: Array, classes: Array | None) -> None:
        alike = boxes.shape[2] == 4 and scores.shape[1] == boxes.shape[1]
        if classes is None:
            alike = alike and scores.ndim == 3
        else:
            alike = alike and scores.shape == classes.shape
        if not alike:
            shapes = [list(a.shape) for a in (boxes, scores, classes) if a is not None]
            raise UsageError(
                f"map: boxes, scores and classes of shapes {shapes} are not [N, K, 4], [N, K] "
                "and [N, K], nor boxes [N, K, 4] with scores [N, K, classes] alone"
            )

    def _of_all_classes(self, boxes: Array, scores: Array) -> Detections:
        places, kinds = np.divmod(np.arange(scores.size), scores.shape[1])
        return Detections.best(boxes[places], scores.reshape(-1), kinds + self.offset)

    def _corners(self, boxes: Array) -> Array:
        first, second = boxes[..., :2], boxes[..., 2:]
        if self.format == "xywh":
            second = first + second
        elif self.format == "cxcywh":
            first, second = first - second / 2.0, first + second / 2.0
        return np.concatenate([first, second], axis=-1)


Decoder = Callable[[Mapping[str, Array]], Sequence[Any]]
"""From a batch's outputs to (boxes ``[K, 4]`` corners, scores ``[K]``, classes ``[K]``) of each
sample, in the coordinates and classes of the labels."""


def decoded_by(function: Decoder, outputs: Mapping[str, Array], size: int) -> list[Detections]:
    """Return what a user's function finds in the outputs.

    Raises:
        DataError: It does not return boxes, scores and classes for every sample.
    """
    try:
        found = [tuple(np.asarray(part) for part in each) for each in function(outputs)]
        arrays = [(boxes.reshape(-1, 4), s.reshape(-1), k.reshape(-1)) for boxes, s, k in found]
    except (TypeError, ValueError) as error:
        raise DataError(
            f"decode: return (boxes [K, 4], scores [K], classes [K]) per sample ({error})"
        ) from error
    if len(arrays) != size or any(len({len(a) for a in each}) > 1 for each in arrays):
        raise DataError(
            f"decode: returned {len(arrays)} entries for {size} samples, or unequal lengths; "
            "return (boxes [K, 4], scores [K], classes [K]) per sample"
        )
    return [Detections.best(*each) for each in arrays]
