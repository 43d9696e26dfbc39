"""Accuracy and latency of an artifact beside the model it was made from."""

from __future__ import annotations

import dataclasses
import itertools
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from bmopt.bench.compare import compare_latency
from bmopt.bench.environment import describe
from bmopt.bench.statistics import latency, ratio
from bmopt.core.measurement import Measurement
from bmopt.core.runner import DeviceTimed, Feeds, Runner

SOURCE = "source"
ARTIFACT = "artifact"

_DEVICE_RUNS = 50


@dataclasses.dataclass(frozen=True)
class LatencyReport:
    """An artifact's latency beside another model's, timed in turns.

    Attributes:
        measurement: The samples.
        threads: Threads of both.
        device_ns: Which of the two -> median time between its device events, where it has any.
    """

    measurement: Measurement
    threads: int
    device_ns: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the statistics as a JSON value."""
        found = ratio(self.measurement, SOURCE, ARTIFACT)
        return {
            **found.to_dict(),
            "reference_ns": latency(self.measurement, SOURCE).median_ns,
            "candidate_ns": latency(self.measurement, ARTIFACT).median_ns,
            "threads": self.threads,
            "device_ns": dict(self.device_ns),
        }


def device_median_ns(runner: Runner, feeds: Sequence[Feeds]) -> int | None:
    """Return the median time between a runner's device events, None where it has none.

    The runs are apart from those that latency is measured on, after which nothing is cold.
    """
    if not isinstance(runner, DeviceTimed) or not feeds:
        return None
    times: list[int] = []
    for _, feed in zip(range(_DEVICE_RUNS), itertools.cycle(feeds), strict=False):
        runner.run(feed)
        if runner.device_ns is not None:
            times.append(runner.device_ns)
    return int(statistics.median(times)) if times else None


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
    both = ((SOURCE, reference), (ARTIFACT, candidate))
    device = {name: device_median_ns(runner, feeds) for name, runner in both}
    known = {name: time for name, time in device.items() if time is not None}
    return LatencyReport(measurement, threads, known)
