"""One scenario on its way: runs trials one after the other and keeps them, whatever happens."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from bmopt.bench.arrivals import poisson_schedule
from bmopt.bench.crew import Job, Outcome, Pace, Query, work
from bmopt.bench.early_stopping import slow_allowed
from bmopt.bench.trial_rules import bound_ns
from bmopt.core.runner import Runner
from bmopt.core.scenario import (
    DONE,
    FAILED,
    HOPELESS,
    HUNG,
    INTERRUPTED,
    WARM_UP,
    ScenarioSettings,
    Trial,
)

Told = Callable[[Trial], None]
"""Told of every trial when it has ended, so that it can be shown or written down."""

NS_PER_S = 1e9

_WARM_UP_SHARE = 0.1
_WARM_UP_S = 2.0
_WARM_UP_QUERIES = 4


class TrialEndedError(Exception):
    """Ends a scenario: a trial failed, or its time is up. Never leaves ``run_scenario``."""


class LoadSession:
    """Trials of one scenario.

    Attributes:
        settings: How the scenario is run.
        trials: Those that ended, in order.
        failure: Which query failed in which trial and how; empty where none did.
        ending: How the last trial ended.
    """

    def __init__(
        self,
        runners: Sequence[Runner],
        queries: Sequence[Query],
        settings: ScenarioSettings,
        pace: Pace,
        samples_per_query: int,
        told: Told | None = None,
    ) -> None:
        self.settings = settings
        self.trials: list[Trial] = []
        self.failure = ""
        self.ending = DONE
        self._runners = runners
        self._queries = queries
        self._pace = pace
        self._samples = samples_per_query
        self._told = told
        self._deadline_ns = pace.clock() + round(settings.max_duration_s * NS_PER_S)

    def warm_up(self) -> float:
        """Run queries back to back on all workers; return how many they answer per second."""
        seconds = min(_WARM_UP_S, _WARM_UP_SHARE * self.settings.duration_s)
        least = _WARM_UP_QUERIES * len(self._runners)
        trial = self._closed(WARM_UP, least, seconds)
        return _settled_rate(trial, len(self._runners))

    def closed(self, role: str) -> Trial:
        """Send one query after the other, as long and as many as the settings say."""
        return self._closed(role, self.settings.min_queries, self.settings.duration_s)

    def at_once(self, role: str, count: int) -> Trial:
        """Send ``count`` queries at the start."""
        job = Job(self._queries, due_ns=[0] * count, deadline_ns=self._deadline_ns)
        return self._run(job, Trial(role, (), (), (), planned=count))

    def poisson(
        self, role: str, rate: float, *, duration_s: float, min_queries: int, seed: int
    ) -> Trial:
        """Send queries at random moments, ``rate`` per second; give up where it cannot pass."""
        due = poisson_schedule(rate, duration_s=duration_s, min_queries=min_queries, seed=seed)
        job = Job(
            self._queries,
            due_ns=due.tolist(),
            deadline_ns=self._deadline_ns,
            bound_ns=bound_ns(self.settings),
            slow_allowed=slow_allowed(due.size, self.settings.quantile),
        )
        return self._run(job, Trial(role, (), (), (), planned=due.size, rate=rate, seed=seed))

    def left_s(self) -> float:
        """Return the seconds until the scenario's time is up."""
        return (self._deadline_ns - self._pace.clock()) / NS_PER_S

    def _closed(self, role: str, least: int, seconds: float) -> Trial:
        least_ns = round(seconds * NS_PER_S)
        job = Job(self._queries, None, least, least_ns, self._deadline_ns)
        return self._run(job, Trial(role, (), (), ()))

    def _run(self, job: Job, plan: Trial) -> Trial:
        outcome = work(self._runners, job, self._pace, self.settings.timeout_s)
        trial = _filled(plan, outcome, self._samples)
        self.trials.append(trial)
        self.ending = trial.ending
        if trial.ending in (FAILED, HUNG, INTERRUPTED):
            self.failure = _failure(trial, outcome)
        if self._told is not None:
            self._told(trial)
        if trial.ending not in (DONE, HOPELESS):
            raise TrialEndedError
        return trial


def _filled(plan: Trial, outcome: Outcome, samples: int) -> Trial:
    due, start, end = zip(*outcome.times_ns, strict=True) if outcome.times_ns else ((), (), ())
    return dataclasses.replace(
        plan,
        scheduled_ns=due,
        start_ns=start,
        end_ns=end,
        samples_per_query=samples,
        ending=outcome.ending,
    )


def _failure(trial: Trial, outcome: Outcome) -> str:
    during = f"{trial.role} at {trial.rate:.4g} queries/s" if trial.rate else trial.role
    what = outcome.detail or "interrupted"
    return f"{during}: {what}; {len(trial.end_ns):,} queries had ended"


def _settled_rate(trial: Trial, workers: int) -> float:
    """Return queries per second of the later half, when caches are warm.

    A worker's next query follows its last one, so the rate is that of ``workers`` such chains.
    """
    took = [e - s for s, e in zip(trial.start_ns, trial.end_ns, strict=True)]
    later = took[len(took) // 2 :]
    return workers * len(later) * NS_PER_S / max(sum(later), 1)
