"""Metrics of classifiers: top-k accuracy, precision, recall and F1."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from bmopt.bench.classification import TOP_K, ranks, scores_of
from bmopt.bench.metric import RIGHT, Estimator, Floats, Metric, Rows, mean_of, required
from bmopt.core.runner import Array
from bmopt.errors import DataError, UsageError

AVERAGES = ("macro", "micro", "weighted", "binary")


@dataclasses.dataclass(frozen=True)
class Top1(Metric):
    """The fraction of samples whose right class has the highest score."""

    kind: ClassVar[str] = "top1"
    places: ClassVar[int] = 1

    def bound(self, outputs: Mapping[str, Array], size: int) -> Metric:
        """Choose the first output with class scores, more classes than places."""
        found = class_scores(outputs, self.output, size, self.name)
        if found.scores.shape[1] <= self.places:
            raise UsageError(f"{self.name} needs more than five classes; use --metric top1")
        return dataclasses.replace(self, output=found.output)

    def score(self, outputs: Mapping[str, Array], labels: Array | None, size: int) -> Rows:
        """Return ``right``: bool ``[samples]``."""
        found = class_scores(outputs, self.output, size, self.name)
        return {RIGHT: ranks(found.scores, class_labels(labels, self.name)) < self.places}

    def estimator(self, rows: Rows) -> Estimator:
        """Return the mean of ``right``."""
        return mean_of(rows[RIGHT])


@dataclasses.dataclass(frozen=True)
class Top5(Top1):
    """The fraction of samples whose right class is among the five highest scores."""

    kind: ClassVar[str] = "top5"
    places: ClassVar[int] = TOP_K


@dataclasses.dataclass(frozen=True)
class Precision(Metric):
    """The fraction of what was called a class that is of it.

    The predicted class is the one with the highest score; of an output with one score a sample,
    it is 1 above the threshold and 0 below. Averages are scikit-learn's: ``macro`` is the plain
    mean over the classes that occur among labels or predictions, ``weighted`` counts each as
    often as it is a label, ``micro`` pools all decisions, and ``binary`` is that of one class.
    A class that is never predicted, or is no label, counts 0.

    Attributes:
        average: ``macro``, ``micro``, ``weighted`` or ``binary``.
        positive: The class that ``binary`` looks at.
        threshold: Of an output with one score a sample.
    """

    average: str = "macro"
    positive: int = 1
    threshold: float = 0.5

    kind: ClassVar[str] = "precision"
    positional: ClassVar[str | None] = "average"

    def __post_init__(self) -> None:
        """Check the average."""
        if self.average not in AVERAGES:
            raise UsageError(f"{self.kind}:{self.average}: choose one of {', '.join(AVERAGES)}")

    @property
    def name(self) -> str:
        """The kind, with an average that is not macro."""
        if self.average == "binary" and self.positive != 1:
            return f"{self.kind}:class-{self.positive}"
        return self.kind if self.average == "macro" else f"{self.kind}:{self.average}"

    def bound(self, outputs: Mapping[str, Array], size: int) -> Metric:
        """Choose the first output with scores."""
        names = [self.output] if self.output else list(outputs)
        for name in names:
            if name in outputs and self._decisions(outputs[name], size) is not None:
                return dataclasses.replace(self, output=name)
        raise _no_scores(self.name, self.output, outputs)

    def score(self, outputs: Mapping[str, Array], labels: Array | None, size: int) -> Rows:
        """Return ``label`` and ``predicted``: int64 ``[samples]``."""
        output = outputs.get(self.output or "")
        decisions = None if output is None else self._decisions(output, size)
        if decisions is None:
            raise _no_scores(self.name, self.output, outputs)
        truth = class_labels(labels, self.name)
        if truth.shape != decisions.shape or (truth < 0).any():
            raise DataError(f"labels for {self.name} must be one class from 0 on per sample")
        return {"label": truth, "predicted": decisions}

    def estimator(self, rows: Rows) -> Estimator:
        """Return the average over the classes, from weighted confusion counts."""
        label, predicted = rows["label"], rows["predicted"]
        classes, found = np.unique(np.concatenate([label, predicted]), return_inverse=True)
        truth, guess = found[: label.size], found[label.size :]

        def values(counts: Floats) -> Floats:
            hits = _summed(counts * (truth == guess), truth, classes.size)
            called = _summed(counts, guess, classes.size)
            actual = _summed(counts, truth, classes.size)
            return self._averaged(hits, called, actual, classes)

        return Estimator(label.size, 12 * label.size, values)

    def of_class(self, hits: Floats, called: Floats, actual: Floats) -> Floats:
        """Return the metric from counts of one shape; ``actual`` is how often a class is right."""
        del actual
        return _share(hits, called)

    def _averaged(self, hits: Floats, called: Floats, actual: Floats, classes: Array) -> Floats:
        if self.average == "micro":
            return self.of_class(hits.sum(axis=1), called.sum(axis=1), actual.sum(axis=1))
        each = self.of_class(hits, called, actual)
        if self.average == "binary":
            return np.asarray(each @ (classes == self.positive), np.float64)
        weights = actual if self.average == "weighted" else ((called + actual) > 0) * 1.0
        return _share((each * weights).sum(axis=1), weights.sum(axis=1))

    def _decisions(self, output: Array, size: int) -> Array | None:
        scores = scores_of(output, size)
        if scores is not None:
            best: Array = np.argmax(scores, axis=1)
            return best
        if output.size != size or not output.ndim or output.dtype.kind not in "fiub":
            return None
        single = output.reshape(size)
        return single.astype(np.int64) if single.dtype.kind in "iub" else _above(self, single)


@dataclasses.dataclass(frozen=True)
class Recall(Precision):
    """The fraction of what is of a class that was called so; averages are those of precision."""

    kind: ClassVar[str] = "recall"

    def of_class(self, hits: Floats, called: Floats, actual: Floats) -> Floats:
        """Return hits over ``actual``."""
        del called
        return _share(hits, actual)


@dataclasses.dataclass(frozen=True)
class F1(Precision):
    """The harmonic mean of a class' precision and recall; averages are those of precision."""

    kind: ClassVar[str] = "f1"

    def of_class(self, hits: Floats, called: Floats, actual: Floats) -> Floats:
        """Return twice the hits over all that was called or is of the class."""
        return _share(2.0 * hits, called + actual)


@dataclasses.dataclass(frozen=True)
class ClassScores:
    """Class scores and the output that they are from."""

    output: str
    scores: Array


def class_scores(
    outputs: Mapping[str, Array], output: str | None, size: int, metric: str
) -> ClassScores:
    """Return the scores in ``output``, or in the first output that holds class scores.

    Raises:
        UsageError: There are none.
    """
    for name in [output] if output is not None else list(outputs):
        scores = scores_of(outputs[name], size) if name in outputs else None
        if scores is not None:
            return ClassScores(name, scores)
    raise _no_scores(metric, output, outputs)


def class_labels(labels: Array | None, metric: str) -> Array:
    """Return labels as ``int64 [samples]``.

    Raises:
        DataError: They are no class indices.
    """
    given = required(labels, metric)
    if given.dtype.kind not in "iub" or given.size != len(given):
        raise DataError(
            f"labels for {metric} must be class indices, one a sample; these are "
            f"{given.dtype.name} {list(given.shape)}"
        )
    return given.reshape(-1).astype(np.int64)


def _no_scores(metric: str, output: str | None, outputs: Mapping[str, Array]) -> UsageError:
    known = ", ".join(f"{name} {list(array.shape)}" for name, array in outputs.items())
    if output is None:
        return UsageError(f"no output holds class scores for {metric}; outputs are {known}")
    return UsageError(
        f"output {output!r} does not hold class scores [samples, classes]; outputs are {known}"
    )


def _above(metric: Precision, scores: Array) -> Array:
    return (scores.astype(np.float64) > metric.threshold).astype(np.int64)


def _summed(counts: Floats, groups: Array, size: int) -> Floats:
    """Return ``[resamples, size]``: the counts of each group's samples."""
    order = np.argsort(groups, kind="stable")
    present, begins = np.unique(groups[order], return_index=True)
    sums = np.zeros((len(counts), size))
    sums[:, present] = np.add.reduceat(counts[:, order], begins, axis=1)
    return sums


def _share(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
