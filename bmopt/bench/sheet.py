"""The per-sample rows of models that run on the same batches, together or one after the other."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from bmopt.bench.classification import TOP_K, find_scores, unpadded
from bmopt.bench.classification_metrics import Top1, Top5, class_scores
from bmopt.bench.metric import Metric, Rows, joined
from bmopt.bench.side_by_side import Scored
from bmopt.core.dataset import Batch, Dataset
from bmopt.core.runner import Array, Runner
from bmopt.errors import DataError, ModelError, UsageError


@dataclasses.dataclass(frozen=True)
class _Turn:
    """What all models are scored on.

    Attributes:
        size: Samples of the batch.
        labels: What each metric reads.
        expected: The reference's outputs.
    """

    size: int
    labels: Sequence[Array | None]
    expected: Mapping[str, Array]


class Sheet:
    """The rows of every model and metric, batch by batch.

    Args:
        metrics: None is top-1, and top-5 with more than five classes, where there are labels
            and class scores.
        output: The output with class scores; the first that looks like it if not given.
    """

    def __init__(self, metrics: Sequence[Metric] | None, output: str | None = None) -> None:
        self.output = output
        self.samples = 0
        self._metrics = metrics
        self._bound: list[Metric] | None = None
        self._labels: list[Array | None] = []
        self._turn = _Turn(0, (), {})
        self._rows: dict[str, list[list[Rows]]] = {}

    def turn(self, batch: Batch, expected: Mapping[str, Array]) -> None:
        """Go to a batch, given the reference's outputs; the first decides which are read.

        Raises:
            DataError: There are fewer labels than samples.
            UsageError: A metric does not fit the outputs.
        """
        bound = self._bind(batch, expected) if self._bound is None else self._bound
        begin, self.samples = self.samples, self.samples + batch.size
        labels = [
            batch.labels if own is None else self._slice(metric, own, begin)
            for metric, own in zip(bound, self._labels, strict=True)
        ]
        self._turn = _Turn(batch.size, labels, expected)

    def rewind(self, model: str) -> None:
        """Go back before the first batch, and forget a model's rows."""
        self.samples = 0
        self._rows.pop(model, None)

    def score(self, model: str, outputs: Mapping[str, Array]) -> None:
        """Add a model's rows of this batch."""
        turn = self._turn
        pairs = zip(self._bound or (), turn.labels, strict=True)
        rows = [m.beside(turn.expected, outputs, labels, turn.size) for m, labels in pairs]
        self._rows.setdefault(model, []).append(rows)

    def scored(self, models: Sequence[str]) -> tuple[Scored, ...]:
        """Return the rows and values of the models that ran to the end."""
        return tuple(self._scored(place, models) for place in range(len(self._bound or ())))

    def _scored(self, place: int, models: Sequence[str]) -> Scored:
        assert self._bound is not None
        metric = self._bound[place]
        rows = {name: joined([batch[place] for batch in self._rows[name]]) for name in models}
        values = {name: metric.estimator(rows[name]).value() for name in models}
        return Scored(metric, rows, values)

    def _bind(self, batch: Batch, expected: Mapping[str, Array]) -> list[Metric]:
        if self.output is None:
            self.output = find_scores(expected, batch)
        else:
            class_scores(expected, self.output, batch.size, "accuracy")
        chosen = self._metrics
        if chosen is None:
            chosen = usual_metrics(batch, expected, self.output)
        self._bound = [metric.bound(expected, batch.size) for metric in chosen]
        self._labels = [metric.load_labels() for metric in self._bound]
        return self._bound

    def _slice(self, metric: Metric, labels: Array, begin: int) -> Array:
        if len(labels) < self.samples:
            raise DataError(
                f"{metric.labels}: holds {len(labels)} labels and there are more samples; give "
                "one per sample"
            )
        return labels[begin : self.samples]


def usual_metrics(
    batch: Batch, expected: Mapping[str, Array], output: str | None
) -> tuple[Metric, ...]:
    """Return top-1, and top-5 with more than five classes; none without labels or scores.

    Args:
        batch: The first batch.
        expected: The reference's outputs.
        output: The output with class scores, if there is one.
    """
    labels = batch.labels
    if output is None or labels is None or labels.dtype.kind not in "iu":
        return ()
    scores = class_scores(expected, output, batch.size, "top1").scores
    best = Top1(output=output)
    return (best, Top5(output=output)) if scores.shape[1] > TOP_K else (best,)


def run_batch(runner: Runner, batch: Batch) -> dict[str, Array]:
    """Return a model's outputs without padding; one that is no tensor is empty, of no type."""
    outputs = runner.run(batch.feeds)
    return {name: _tensor(outputs[name], batch) for name in outputs}


def require_outputs(expected: Mapping[str, Array], actual: Mapping[str, Array]) -> None:
    """Refuse a candidate that lacks an output.

    Raises:
        ModelError: It does.
    """
    missing = [name for name in expected if name not in actual]
    if missing:
        raise ModelError(f"the candidate has no output {missing[0]!r}; compare like models")


def require_names(metrics: Sequence[Metric]) -> None:
    """Refuse metrics of the same name.

    Raises:
        UsageError: Two have it.
    """
    names = [metric.name for metric in metrics]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UsageError(f"metric {twice[0]!r} is given twice; give it once")


def require_labels(metrics: Sequence[Metric], dataset: Dataset) -> None:
    """Refuse metrics that lack their labels.

    Raises:
        DataError: One needs labels, and there are none.
    """
    for metric in metrics:
        if metric.needs_labels and metric.labels is None and not dataset.has_labels:
            raise DataError(
                f"{dataset.name}: has no labels for {metric.name}; add labels=FILE to the metric, "
                "or leave it out"
            )


def _tensor(output: object, batch: Batch) -> Array:
    if not isinstance(output, np.ndarray):
        return np.empty(0, dtype=object)
    return unpadded(output, batch)
