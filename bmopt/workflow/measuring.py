"""Accuracy and latency of an artifact beside the model it was made from."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, cast

from bmopt.bench.accuracy import AccuracyReport, Metric, compare_accuracy
from bmopt.bench.compare import compare_latency
from bmopt.bench.environment import describe
from bmopt.bench.statistics import latency, ratio
from bmopt.core.dataset import Dataset
from bmopt.core.measurement import Measurement
from bmopt.core.runner import Feeds, Runner

SOURCE = "source"
ARTIFACT = "artifact"


@dataclasses.dataclass(frozen=True)
class LatencyReport:
    """An artifact's latency beside the source model's, timed in turns."""

    measurement: Measurement
    threads: int

    def to_dict(self) -> dict[str, Any]:
        """Return the statistics as a JSON value."""
        found = ratio(self.measurement, SOURCE, ARTIFACT)
        return {
            **found.to_dict(),
            "reference_ns": latency(self.measurement, SOURCE).median_ns,
            "candidate_ns": latency(self.measurement, ARTIFACT).median_ns,
            "threads": self.threads,
        }


def measure_accuracy(
    reference: Runner, candidate: Runner, dataset: Dataset, batch_size: int, metric: str
) -> AccuracyReport:
    """Compare on the same samples; ``metric`` is a recipe's."""
    return compare_accuracy(
        reference,
        candidate,
        dataset,
        batch_size,
        metric=None if metric == "auto" else cast("Metric", metric),
    )


def measure_latency(
    reference: Runner, candidate: Runner, feeds: Sequence[Feeds], *, threads: int, seconds: float
) -> LatencyReport:
    """Time both in turns on the same feeds."""
    measurement = compare_latency(
        {SOURCE: reference, ARTIFACT: candidate},
        feeds,
        duration_s=seconds,
        environment=describe({"intra_op": threads}),
    )
    return LatencyReport(measurement, threads)
