"""Agreement with the reference's decisions, for any model that decides anything."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from bmopt.bench.classification import scores_of
from bmopt.bench.decisions import Decision, find_decisions
from bmopt.bench.detection_agreement import SameDetections, find_layout
from bmopt.bench.detections import FORMATS
from bmopt.bench.metric import (
    NO_OPTION,
    RIGHT,
    Estimator,
    Floats,
    Metric,
    Rows,
    mean_of,
    ratio_of_sums,
)
from bmopt.bench.relative_metrics import Relative
from bmopt.core.runner import Array
from bmopt.errors import UsageError

_Rule = Decision | SameDetections | tuple[Decision, ...]


@dataclasses.dataclass(frozen=True)
class Agreement(Relative):
    """How often the reference decides the same, as a fraction; what a decision is follows.

    Of a detector these are the boxes that both find, see ``bmopt.bench.detection_agreement``,
    averaged over the images on which there are any. Of a classifier it is the class, of the first
    output with class scores. Else it is every decision in every output, see
    ``bmopt.bench.decisions``: the share of a sample's decisions, averaged over the samples; the
    worst output decides.

    Attributes:
        axis: Along which floats choose a class; 0 leaves that to their shape.
        threshold: Of a detector, the least score that counts.
        format: Of a detector's boxes: ``xyxy``, ``xywh`` or ``cxcywh``.
        rule: What is compared; chosen by ``bound``.
    """

    axis: int = 0
    threshold: float = 0.5
    format: str = "xyxy"
    rule: _Rule | None = dataclasses.field(default=None, metadata=NO_OPTION)

    kind: ClassVar[str] = "agreement"

    def __post_init__(self) -> None:
        """Check the options that have few values."""
        if self.format not in FORMATS:
            raise UsageError(f"agreement:format={self.format}: choose one of {', '.join(FORMATS)}")
        if self.axis < 0:
            raise UsageError(f"agreement:axis={self.axis}: count axes from the first, 0")

    def bound(self, outputs: Mapping[str, Array], size: int) -> Metric:
        """Choose what is compared."""
        rule = self._chosen(outputs, size)
        if not rule:
            known = ", ".join(f"{n} {a.dtype.name} {list(a.shape)}" for n, a in outputs.items())
            raise UsageError(
                f"agreement: no output {self.output or ''!r} holds decisions, which are class "
                f"scores, boxes, integers or texts; outputs are {known}; use sqnr or cosine"
            )
        return dataclasses.replace(self, rule=rule)

    def beside(
        self,
        expected: Mapping[str, Array],
        outputs: Mapping[str, Array],
        labels: Array | None,
        size: int,
    ) -> Rows:
        """Return ``right`` of a classifier, ``shared`` and ``seen`` of a detector, or ``same``.

        The last is float64 ``[samples, outputs]``, the others are ``[samples]``.
        """
        del labels
        if isinstance(self.rule, SameDetections):
            return self.rule.shared(expected, outputs, size)
        if isinstance(self.rule, Decision):
            name = self.rule.output
            left, right = ({name: _scores(o, name, size)} for o in (expected, outputs))
            return {RIGHT: self.rule.agreed(left, right, size) == 1.0}
        found = [each.agreed(expected, outputs, size) for each in self.rule or ()]
        return {"same": np.stack(found, axis=1)}

    def estimator(self, rows: Rows) -> Estimator:
        """Return the mean over samples, of the worst output where there are several."""
        if RIGHT in rows:
            return mean_of(rows[RIGHT])
        if "seen" in rows:
            return ratio_of_sums(rows["shared"], rows["seen"])
        same = rows["same"]

        def values(counts: Floats) -> Floats:
            shares: Floats = (counts @ same) / counts.sum(axis=1, keepdims=True)
            return np.asarray(shares.min(axis=1))

        return Estimator(len(same), same.size, values)

    def _chosen(self, outputs: Mapping[str, Array], size: int) -> _Rule | None:
        given = {n: a for n, a in outputs.items() if self.output in (None, n)}
        if not self.axis:
            layout = find_layout(given, size, self.format)
            if layout is not None:
                return SameDetections(layout, self.threshold)
            for name, array in given.items():
                if scores_of(array, size) is not None:
                    return Decision(name, 1)
        return find_decisions(given, size, self.axis)


def _scores(outputs: Mapping[str, Array], name: str, size: int) -> Array:
    found = scores_of(outputs[name], size) if name in outputs else None
    # Without scores nothing is the same as the reference's.
    return np.zeros((size, 0), np.float32) if found is None else found
