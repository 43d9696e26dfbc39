"""Accuracy of a model, and of two models side by side on the same samples."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, get_args

from bmopt.bench.classification_metrics import Top1
from bmopt.bench.likeness import decibel_values
from bmopt.bench.metric import RIGHT
from bmopt.bench.paired import Paired
from bmopt.bench.scoring import compare_models
from bmopt.bench.side_by_side import AGREEMENT, SideBySide
from bmopt.core.dataset import Dataset
from bmopt.core.ranges import Interval
from bmopt.core.runner import Runner
from bmopt.errors import DataError, UsageError

Metric = Literal["top1", "top5", "agreement", "none"]
METRICS: tuple[Metric, ...] = get_args(Metric)

REFERENCE = "reference"
CANDIDATE = "candidate"


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
        agreement: Fraction of samples on which both choose the same class, or of decisions that
            are the same where the metric is agreement; None without either.
        sqnr_db: Output -> signal-to-noise ratio in dB; infinite where the outputs are equal.
        incomparable: Outputs that are not numbers, or differ in shape.
        difference: 99 % interval of candidate minus reference top-1; None without labels.
        top1: Which samples each got right, packed; None without labels.
    """

    metric: str
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
        """Return a JSON value; what is not finite is ``"inf"``, ``"-inf"`` or ``"nan"``."""
        return {
            "metric": self.metric,
            "samples": self.samples,
            "output": self.output,
            "reference": decibel_values(self.reference),
            "candidate": decibel_values(self.candidate),
            "agreement": self.agreement,
            "sqnr_db": decibel_values(self.sqnr_db),
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
    found = compare_models({"model": runner}, dataset, batch_size, output=output)
    return Evaluation(found.samples, found.output, _values(found, "model"))


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
    runners = {REFERENCE: reference, CANDIDATE: candidate}
    found = compare_models(runners, dataset, batch_size, output=output)
    if CANDIDATE in found.failures:
        raise found.failures[CANDIDATE]
    report = accuracy_report(found, seed=seed)
    return dataclasses.replace(report, metric=_chosen(metric, report.reference))


def accuracy_report(found: SideBySide, metric: str = "none", *, seed: int = 0) -> AccuracyReport:
    """Return the report of a ``reference`` and a ``candidate`` that ran side by side.

    Args:
        found: What both scored.
        metric: Name of the metric that decides.
        seed: Of the bootstrap.
    """
    likeness = found.likeness[CANDIDATE]
    before, after = _values(found, REFERENCE), _values(found, CANDIDATE)
    if likeness.agreed is not None:
        before.setdefault(AGREEMENT, 1.0)
        after.setdefault(AGREEMENT, likeness.agreed)
    hits = _hits(found)
    return AccuracyReport(
        metric=metric,
        samples=found.samples,
        output=found.output,
        reference=before,
        candidate=after,
        agreement=after.get(AGREEMENT),
        sqnr_db=likeness.sqnr_db,
        incomparable=likeness.incomparable,
        difference=None if hits is None else hits.difference(seed=seed),
        top1=hits,
    )


def _values(found: SideBySide, model: str) -> dict[str, float]:
    return {each.metric.name: each.values[model] for each in found.scored}


def _hits(found: SideBySide) -> Paired | None:
    """Return which samples each model got right, None without labels or class scores."""
    for each in found.scored:
        if isinstance(each.metric, Top1):
            return Paired.of(each.rows[REFERENCE][RIGHT], each.rows[CANDIDATE][RIGHT])
    return None


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
