"""Accuracy of many candidates beside one model that is run once, and the verdict on each."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

import numpy as np

from bmopt.bench.accuracy import CANDIDATE, REFERENCE, AccuracyReport, accuracy_report
from bmopt.bench.agreement import Agreement
from bmopt.bench.budget import AUTO, CONFIDENCE, NO_METRIC, Budget, Verdict, judge
from bmopt.bench.classification import find_scores
from bmopt.bench.likeness import LikenessMeter
from bmopt.bench.metric import Metric
from bmopt.bench.metric_text import parse_metric
from bmopt.bench.output_spool import OutputSpool
from bmopt.bench.sheet import Sheet, require_labels, require_outputs, run_batch, usual_metrics
from bmopt.bench.side_by_side import SideBySide
from bmopt.core.dataset import Batch, Dataset
from bmopt.core.runner import Array, Runner
from bmopt.errors import DataError, UsageError


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """A candidate on all samples.

    Attributes:
        report: It beside the reference, as ``compare_accuracy`` reports it, and the metric that
            decides where that is another.
        verdict: What became of the budget; None where there is none.
    """

    report: AccuracyReport
    verdict: Verdict | None

    def to_dict(self) -> dict[str, Any]:
        """Return the report as a JSON value, with the verdict under ``budget``."""
        verdict = None if self.verdict is None else self.verdict.to_dict()
        return {**self.report.to_dict(), "budget": verdict}


class Evaluator:
    """Runs a reference over the samples once, and then any number of candidates.

    Of the reference a few numbers for each sample stay in memory; its outputs lie on disk, in a
    temporary file that ``close`` removes. Only a user's metric that is ``whole`` keeps outputs.

    Args:
        dataset: The samples; each evaluation streams them again.
        batch_size: Samples per inference.
        metric_text: What decides: a metric's text; ``auto`` is top1 where there are labels and
            class scores, else agreement where the model decides anything, else ``none``.
        budget: What candidates may lose; its metric is the same text, or ``auto``.
        seed: Of the bootstraps.
        confidence: Coverage of a verdict's intervals.

    Raises:
        DataError: There are no labels for a metric that needs them.
        UsageError: The metric makes no sense, or the budget asks for another.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        metric_text: str = AUTO,
        budget: Budget | None = None,
        *,
        seed: int = 0,
        confidence: float = CONFIDENCE,
    ) -> None:
        self._dataset = dataset
        self._batch_size = batch_size
        self._budget = budget
        self._seed = seed
        self._confidence = confidence
        self._asked = None if metric_text in (AUTO, NO_METRIC) else parse_metric(metric_text)
        self._is_auto = metric_text == AUTO
        if budget is not None:
            _require_one_metric(budget, metric_text, self._asked)
        require_labels([] if self._asked is None else [self._asked], dataset)
        self._sheet: Sheet | None = None
        self._spool: OutputSpool | None = None
        self._sizes: list[int] = []
        self._evaluations = 0
        self._metric = NO_METRIC

    @property
    def evaluations(self) -> int:
        """How often a model has run over all samples; the reference counts."""
        return self._evaluations

    @property
    def metric(self) -> str:
        """Name of the metric that decides; ``none`` where none does, and before the reference."""
        return self._metric

    def reference(self, runner: Runner) -> Mapping[str, float]:
        """Run the model that candidates are compared with; return metric -> value.

        Raises:
            DataError: There are no samples, labels or feeds do not fit, or the metric that is to
                be judged is not a number.
            OutputError: The disk is full.
            UsageError: The metric does not fit the outputs, or nothing can be judged.
        """
        self.close()
        spool = self._spool = OutputSpool()
        sheet, sizes = None, []
        for batch in self._dataset.batches(self._batch_size):
            outputs = run_batch(runner, batch)
            if sheet is None:
                sheet = Sheet(self._chosen(batch, outputs))
            spool.add(outputs)
            sheet.turn(batch, outputs)
            sheet.score(REFERENCE, outputs)
            sizes.append(batch.size)
        if sheet is None:
            raise DataError(f"{self._dataset.name}: has no samples; give at least one")
        values = {each.metric.name: each.values[REFERENCE] for each in sheet.scored([REFERENCE])}
        if self._budget is not None and np.isnan(values[self._metric]):
            raise DataError(
                f"{self._dataset.name}: {self._metric} of the source model is not a number on "
                "these samples, so that no budget can be judged; choose another metric or samples"
            )
        self._sheet, self._sizes = sheet, sizes
        self._evaluations += 1
        return values

    def evaluate(self, runner: Runner) -> Evaluated:
        """Run a candidate and compare it with the reference, which must have run.

        Raises:
            DataError: Feeds do not fit, or the samples are others than the last time.
            ModelError: The candidate lacks an output of the reference.
        """
        sheet = self._sheet
        if sheet is None:
            raise ValueError("run the reference before its candidates")
        sheet.rewind(CANDIDATE)
        meter = LikenessMeter()
        for batch, expected in self._paired():
            actual = run_batch(runner, batch)
            require_outputs(expected, actual)
            sheet.turn(batch, expected)
            sheet.score(CANDIDATE, actual)
            meter.add(expected, actual, batch.size, sheet.output)
        self._evaluations += 1
        return self._evaluated(sheet, meter)

    def close(self) -> None:
        """Remove the reference's outputs; it has to run again before another candidate."""
        if self._spool is not None:
            self._spool.close()
        self._sheet = self._spool = None

    def __enter__(self) -> Evaluator:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _chosen(self, batch: Batch, outputs: Mapping[str, Array]) -> list[Metric]:
        """Return all metrics to be scored, and note which one decides."""
        usual = usual_metrics(batch, outputs, find_scores(outputs, batch))
        decides = self._deciding(batch, outputs, usual)
        self._metric = NO_METRIC if decides is None else decides.name
        if decides is None:
            return list(usual)
        if self._budget is not None:
            self._budget.require_fit(decides)
        # A metric with options of its own takes the place of the usual one of that name.
        others = {metric.name: metric for metric in usual}
        return list({**others, decides.name: decides}.values())

    def _deciding(
        self, batch: Batch, outputs: Mapping[str, Array], usual: tuple[Metric, ...]
    ) -> Metric | None:
        if self._asked is not None and not isinstance(self._asked, Agreement):
            return self._asked
        if self._asked is None and (usual or not self._is_auto):
            return usual[0] if self._is_auto else None
        agreement = self._asked or Agreement()
        try:
            agreement.bound(outputs, batch.size)
        except UsageError as error:
            if self._budget is None:
                return None
            raise UsageError(
                f"the budget has nothing to be judged by ({error}); give --metric sqnr with "
                "--min-metric, or --metric module:function"
            ) from error
        return agreement

    def _paired(self) -> Iterator[tuple[Batch, Mapping[str, Array]]]:
        """Yield every batch with the reference's outputs."""
        assert self._spool is not None
        count = 0
        for count, batch in enumerate(self._dataset.batches(self._batch_size), 1):
            if [batch.size] != self._sizes[count - 1 : count]:
                raise _changed(self._dataset)
            yield batch, self._spool.read(count - 1)
        if count != len(self._sizes):
            raise _changed(self._dataset)

    def _evaluated(self, sheet: Sheet, meter: LikenessMeter) -> Evaluated:
        scored = sheet.scored([REFERENCE, CANDIDATE])
        found = SideBySide(
            REFERENCE, sheet.samples, sheet.output, scored, {CANDIDATE: meter.likeness()}
        )
        report = accuracy_report(found, self._metric, seed=self._seed)
        if self._budget is None:
            return Evaluated(report, None)
        decides = next(each for each in scored if each.metric.name == self._metric)
        verdict = judge(
            self._budget,
            decides.metric,
            decides.rows[REFERENCE],
            decides.rows[CANDIDATE],
            confidence=self._confidence,
            seed=self._seed,
        )
        return Evaluated(report, verdict)


def _require_one_metric(budget: Budget, metric_text: str, metric: Metric | None) -> None:
    if metric_text == NO_METRIC:
        raise UsageError("a budget needs a metric; leave out --metric none")
    if budget.metric not in (AUTO, metric_text):
        raise UsageError(f"the budget is for {budget.metric} and the metric is {metric_text}")
    if metric is not None:
        budget.require_fit(metric)


def _changed(dataset: Dataset) -> DataError:
    return DataError(
        f"{dataset.name}: yields other samples than when the source model ran; a data set must "
        "yield the same ones each time"
    )
