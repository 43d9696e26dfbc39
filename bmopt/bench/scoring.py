"""Run several models over the same batches and score them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from bmopt.bench.classification import TOP_K, find_scores, unpadded
from bmopt.bench.classification_metrics import Top1, Top5, class_scores
from bmopt.bench.likeness import LikenessMeter
from bmopt.bench.metric import Metric, Rows, joined
from bmopt.bench.side_by_side import Scored, SideBySide
from bmopt.core.dataset import Batch, Dataset
from bmopt.core.runner import Array, Runner
from bmopt.errors import BmoptError, DataError, ModelError, UsageError


def compare_models(
    runners: Mapping[str, Runner],
    dataset: Dataset,
    batch_size: int,
    metrics: Sequence[Metric] | None = None,
    *,
    output: str | None = None,
) -> SideBySide:
    """Run every model on every batch; samples are streamed, only their rows are kept.

    A candidate that raises a ``BmoptError`` is left out from there on, and told in ``failures``.

    Args:
        runners: Name -> opened model; the first is the reference, whose outputs all must have.
        dataset: The samples.
        batch_size: Samples per inference.
        metrics: None is top-1, and top-5 with more than five classes, where there are labels
            and class scores.
        output: The output with class scores; the first that looks like it if not given.

    Raises:
        DataError: No samples, no labels for a metric that needs them, or labels or feeds that
            do not fit the reference.
        UsageError: A metric is given twice, or does not fit the reference's outputs; ``output``
            is no output with class scores.
    """
    reference, *candidates = runners
    _require_names(metrics or ())
    _require_labels(metrics or (), dataset)
    sheet = _Sheet(metrics, output)
    meters = {name: LikenessMeter() for name in candidates}
    failures: dict[str, BmoptError] = {}
    for batch in dataset.batches(batch_size):
        expected = _run(runners[reference], batch)
        sheet.turn(batch, expected)
        sheet.score(reference, expected)
        for name in [name for name in candidates if name not in failures]:
            error = _attempt(name, runners[name], batch, expected, sheet, meters[name])
            if error is not None:
                failures[name] = error
    if sheet.samples == 0:
        raise DataError(f"{dataset.name}: has no samples; give at least one")
    finished = [name for name in candidates if name not in failures]
    return SideBySide(
        reference=reference,
        samples=sheet.samples,
        output=sheet.output,
        scored=sheet.scored([reference, *finished]),
        likeness={name: meters[name].likeness() for name in finished},
        failures=failures,
    )


@dataclasses.dataclass(frozen=True)
class _Turn:
    """What all models are scored on: a batch's size, and the labels that each metric reads."""

    size: int
    labels: Sequence[Array | None]


class _Sheet:
    """The rows of every model and metric, batch by batch."""

    def __init__(self, metrics: Sequence[Metric] | None, output: str | None) -> None:
        self.output = output
        self.samples = 0
        self._metrics = metrics
        self._bound: list[Metric] = []
        self._labels: list[Array | None] = []
        self._turn = _Turn(0, ())
        self._rows: dict[str, list[list[Rows]]] = {}

    def turn(self, batch: Batch, expected: Mapping[str, Array]) -> None:
        """Go to a batch; the first decides which outputs are read."""
        if self.samples == 0:
            self._bind(batch, expected)
        begin, self.samples = self.samples, self.samples + batch.size
        self._turn = _Turn(
            batch.size,
            [
                batch.labels if own is None else self._slice(metric, own, begin)
                for metric, own in zip(self._bound, self._labels, strict=True)
            ],
        )

    def score(self, model: str, outputs: Mapping[str, Array]) -> None:
        """Add a model's rows of this batch."""
        turn = self._turn
        pairs = zip(self._bound, turn.labels, strict=True)
        rows = [metric.score(outputs, labels, turn.size) for metric, labels in pairs]
        self._rows.setdefault(model, []).append(rows)

    def scored(self, models: Sequence[str]) -> tuple[Scored, ...]:
        """Return the rows and values of the models that ran to the end."""
        return tuple(self._scored(place, models) for place in range(len(self._bound)))

    def _scored(self, place: int, models: Sequence[str]) -> Scored:
        metric = self._bound[place]
        rows = {name: joined([batch[place] for batch in self._rows[name]]) for name in models}
        values = {name: metric.estimator(rows[name]).value() for name in models}
        return Scored(metric, rows, values)

    def _bind(self, batch: Batch, expected: Mapping[str, Array]) -> None:
        if self.output is None:
            self.output = find_scores(expected, batch)
        else:
            class_scores(expected, self.output, batch.size, "accuracy")
        chosen = self._usual(batch, expected) if self._metrics is None else self._metrics
        self._bound = [metric.bound(expected, batch.size) for metric in chosen]
        self._labels = [metric.load_labels() for metric in self._bound]

    def _usual(self, batch: Batch, expected: Mapping[str, Array]) -> list[Metric]:
        labels = batch.labels
        if self.output is None or labels is None or labels.dtype.kind not in "iu":
            return []
        scores = class_scores(expected, self.output, batch.size, "top1").scores
        best = Top1(output=self.output)
        return [best, Top5(output=self.output)] if scores.shape[1] > TOP_K else [best]

    def _slice(self, metric: Metric, labels: Array, begin: int) -> Array:
        if len(labels) < self.samples:
            raise DataError(
                f"{metric.labels}: holds {len(labels)} labels and there are more samples; give "
                "one per sample"
            )
        return labels[begin : self.samples]


def _attempt(
    name: str,
    runner: Runner,
    batch: Batch,
    expected: Mapping[str, Array],
    sheet: _Sheet,
    meter: LikenessMeter,
) -> BmoptError | None:
    """Score a candidate on a batch; return what ended its run."""
    try:
        actual = _run(runner, batch)
        _require_outputs(expected, actual)
        sheet.score(name, actual)
        meter.add(expected, actual, batch.size, sheet.output)
    except BmoptError as error:
        return error
    return None


def _run(runner: Runner, batch: Batch) -> dict[str, Array]:
    outputs = runner.run(batch.feeds)
    return {name: unpadded(outputs[name], batch) for name in outputs}


def _require_outputs(expected: Mapping[str, Array], actual: Mapping[str, Array]) -> None:
    missing = [name for name in expected if name not in actual]
    if missing:
        raise ModelError(f"the candidate has no output {missing[0]!r}; compare like models")


def _require_names(metrics: Sequence[Metric]) -> None:
    names = [metric.name for metric in metrics]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UsageError(f"metric {twice[0]!r} is given twice; give it once")


def _require_labels(metrics: Sequence[Metric], dataset: Dataset) -> None:
    for metric in metrics:
        if metric.needs_labels and metric.labels is None and not dataset.has_labels:
            raise DataError(
                f"{dataset.name}: has no labels for {metric.name}; add labels=FILE to the metric, "
                "or leave it out"
            )
