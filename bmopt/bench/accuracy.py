"""Accuracy of a model, and of two models side by side on the same samples."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np

from bmopt.bench.classification import TOP_K, find_scores, ranks, scores_of, unpadded
from bmopt.bench.distortion import Sqnr
from bmopt.bench.paired import Flags, Paired
from bmopt.core.dataset import Batch, Dataset
from bmopt.core.ranges import Interval
from bmopt.core.runner import Array, Runner
from bmopt.errors import DataError, ModelError, UsageError

Metric = Literal["top1", "top5", "agreement", "none"]
METRICS: tuple[Metric, ...] = get_args(Metric)


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """One model's classes on a data set.

    Attributes:
        samples: How many samples there were.
        output: The output that holds the class scores; None where none does.
        metrics: ``top1``, and ``top5`` with more than five classes, as fractions; empty without
            labels or class scores.
    """

    samples: int
    output: str | None
    metrics: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class AccuracyReport:
    """A reference model and a candidate on the same samples.

    Attributes:
        metric: The metric that decides.
        samples: How many samples there were.
        output: The output that holds the class scores; None where none does.
        reference: Metric -> the reference's fraction.
        candidate: Metric -> the candidate's fraction.
        agreement: Fraction of samples on which both choose the same class; None without scores.
        sqnr_db: Output -> signal-to-noise ratio in dB; infinite where the outputs are equal.
        incomparable: Outputs that are not numbers, or differ in shape.
        difference: 99 % interval of candidate minus reference top-1; None without labels.
        top1: Which samples each got right, packed; None without labels.
    """

    metric: Metric
    samples: int
    output: str | None
    reference: Mapping[str, float]
    candidate: Mapping[str, float]
    agreement: float | None
    sqnr_db: Mapping[str, float]
    incomparable: tuple[str, ...] = ()
    difference: Interval | None = None
    top1: Paired | None = None

    @property
    def reference_score(self) -> float | None:
        """The reference's value of the metric that decides; None where there is none."""
        return self.reference.get(self.metric)

    @property
    def candidate_score(self) -> float | None:
        """The candidate's value of the metric that decides; None where there is none."""
        return self.candidate.get(self.metric)

    @property
    def loss(self) -> float | None:
        """How much the candidate lost of the metric that decides; None where there is none."""
        if self.reference_score is None or self.candidate_score is None:
            return None
        return self.reference_score - self.candidate_score

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON value; infinite decibels are the strings ``"inf"`` and ``"-inf"``."""
        return {
            "metric": self.metric,
            "samples": self.samples,
            "output": self.output,
            "reference": dict(self.reference),
            "candidate": dict(self.candidate),
            "agreement": self.agreement,
            "sqnr_db": {
                name: value if np.isfinite(value) else str(value)
                for name, value in self.sqnr_db.items()
            },
            "incomparable": list(self.incomparable),
            "difference": None
            if self.difference is None
            else [self.difference.low, self.difference.high],
            "top1": None if self.top1 is None else self.top1.to_dict(),
        }


def evaluate(
    runner: Runner, dataset: Dataset, batch_size: int, *, output: str | None = None
) -> Evaluation:
    """Run a model over a data set and count how often it is right.

    Args:
        runner: The opened model.
        dataset: Its samples; streamed, never held together.
        batch_size: Samples per inference.
        output: The output with the class scores; the first that looks like it if not given.

    Raises:
        DataError: No samples, or labels or feeds that do not fit the model.
        UsageError: ``output`` is no output with class scores.
    """
    votes = _Votes(output, search=True)
    for batch in dataset.batches(batch_size):
        votes.add(batch, _run(runner, batch))
    return Evaluation(_counted(votes, dataset), votes.output, votes.metrics())


def compare_accuracy(
    reference: Runner,
    candidate: Runner,
    dataset: Dataset,
    batch_size: int,
    *,
    metric: Metric | None = None,
    output: str | None = None,
    seed: int = 0,
) -> AccuracyReport:
    """Run two models over the same batches and compare them.

    Args:
        reference: Usually the FP32 model.
        candidate: Usually the INT8 artifact; has the reference's outputs.
        dataset: The samples; streamed, never held together.
        batch_size: Samples per inference.
        metric: What decides. If not given, top1 where there are labels and class scores, else
            agreement where there are class scores, else none.
        output: The output with the class scores; the first that looks like it if not given.
        seed: Of the bootstrap.

    Raises:
        DataError: No samples, labels or feeds that do not fit, or no labels for a metric that
            needs them.
        ModelError: The candidate lacks an output of the reference.
        UsageError: ``output`` is no output with class scores, or the metric needs scores and the
            model has none.
    """
    if metric in ("top1", "top5") and not dataset.has_labels:
        raise DataError(f"{dataset.name}: has no labels for {metric}; use --metric agreement")
    left, right = _Votes(output, search=True), _Votes(output, search=False)
    noise = {name: Sqnr() for name in reference.output_names}
    for batch in dataset.batches(batch_size):
        expected, actual = _run(reference, batch), _run(candidate, batch)
        _require_outputs(expected, actual)
        left.add(batch, expected)
        right.output = left.output
        right.add(batch, {name: actual[name] for name in expected})
        for name, sqnr in noise.items():
            sqnr.update(expected[name], actual[name])
    samples = _counted(left, dataset)
    agreement = left.agreement(right)
    hits = left.paired(right)
    decibels = {name: sqnr.decibels() for name, sqnr in noise.items()}
    agreed = {} if agreement is None else {"agreement": agreement}
    before = {**left.metrics(), **dict.fromkeys(agreed, 1.0)}
    return AccuracyReport(
        metric=_chosen(metric, before),
        samples=samples,
        output=left.output,
        reference=before,
        candidate={**right.metrics(), **agreed},
        agreement=agreement,
        sqnr_db={name: value for name, value in decibels.items() if value is not None},
        incomparable=tuple(name for name, value in decibels.items() if value is None),
        difference=None if hits is None else hits.difference(seed=seed),
        top1=hits,
    )


class _Votes:
    """What one model chose, sample by sample."""

    def __init__(self, output: str | None, *, search: bool) -> None:
        self.output = output
        self.samples = 0
        self._search = search and output is None
        self._classes: list[Array] = []
        self._ranks: list[Array] = []
        self._width = 0

    def add(self, batch: Batch, outputs: Mapping[str, Array]) -> None:
        """Add the outputs of a batch, padding already cut off."""
        if self._search and self.samples == 0:
            self.output = find_scores(outputs, batch)
        self.samples += batch.size
        if self.output is None:
            return
        scores = scores_of(outputs[self.output], batch.size) if self.output in outputs else None
        if scores is None:
            raise UsageError(
                f"output {self.output!r} does not hold class scores [samples, classes]; "
                f"outputs are {', '.join(outputs)}"
            )
        self._width = scores.shape[1]
        self._classes.append(np.argmax(scores, axis=1))
        if batch.labels is not None:
            self._ranks.append(ranks(scores, batch.labels))

    def metrics(self) -> dict[str, float]:
        if not self._ranks:
            return {}
        found = np.concatenate(self._ranks)
        best = {"top1": float(np.mean(found == 0))}
        return {**best, "top5": float(np.mean(found < TOP_K))} if self._width > TOP_K else best

    def agreement(self, other: _Votes) -> float | None:
        if not self._classes:
            return None
        same = np.concatenate(self._classes) == np.concatenate(other._classes)
        return float(np.mean(same))

    def paired(self, other: _Votes) -> Paired | None:
        if not self._ranks:
            return None
        return Paired.of(self._right(), other._right())

    def _right(self) -> Flags:
        right: Flags = np.concatenate(self._ranks) == 0
        return right


def _run(runner: Runner, batch: Batch) -> dict[str, Array]:
    outputs = runner.run(batch.feeds)
    return {name: unpadded(outputs[name], batch) for name in outputs}


def _require_outputs(expected: Mapping[str, Array], actual: Mapping[str, Array]) -> None:
    missing = [name for name in expected if name not in actual]
    if missing:
        raise ModelError(f"the candidate has no output {missing[0]!r}; compare like models")


def _counted(votes: _Votes, dataset: Dataset) -> int:
    if votes.samples == 0:
        raise DataError(f"{dataset.name}: has no samples; give at least one")
    return votes.samples


def _chosen(metric: Metric | None, measured: Mapping[str, float]) -> Metric:
    if metric == "none":
        return "none"
    if metric is None:
        return "top1" if "top1" in measured else "agreement" if measured else "none"
    if metric in measured:
        return metric
    if metric == "top5" and "top1" in measured:
        raise UsageError("top5 needs more than five classes; use --metric top1")
    if metric == "agreement":
        return "none"
    raise UsageError(f"no output holds class scores for {metric}; use --metric none")
