"""What is read off a trial: latencies, slow queries, and whether its bound held."""

from __future__ import annotations

import numpy as np

from bmopt.bench.early_stopping import Nanoseconds, slow_allowed
from bmopt.core.scenario import DONE, ScenarioSettings, Trial

_NS_PER_MS = 1e6


def bound_ns(settings: ScenarioSettings) -> int:
    """Return the target latency in nanoseconds."""
    return round(settings.target_latency_ms * _NS_PER_MS)


def latencies_ns(trial: Trial) -> Nanoseconds:
    """Return each query's latency ``[queries]``, from when it was meant to be sent."""
    return np.asarray(trial.end_ns, np.int64) - np.asarray(trial.scheduled_ns, np.int64)


def slow_queries(trial: Trial, settings: ScenarioSettings) -> int:
    """Return how many queries took longer than the target latency."""
    return int(np.count_nonzero(latencies_ns(trial) > bound_ns(settings)))


def passes(trial: Trial, settings: ScenarioSettings) -> bool:
    """Whether a trial ran as planned and early stopping accepts its latency bound."""
    ran = len(trial.end_ns)
    as_planned = trial.ending == DONE and ran >= trial.planned
    return as_planned and slow_queries(trial, settings) <= slow_allowed(ran, settings.quantile)
