"""What a scenario's record says: its headline, how far it can be trusted, and why not further.

A run is valid by LoadGen's rules: it lasted long enough, enough queries ran for the percentile,
and on a server its bound held. What is not valid says why.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from bmopt.bench.early_stopping import Percentile, percentile, queries_needed
from bmopt.bench.trial_rules import latencies_ns, passes, slow_queries
from bmopt.core.records import to_value
from bmopt.core.scenario import (
    CONFIRM,
    DONE,
    LATE,
    MEASURE,
    OFFLINE,
    SEARCH,
    SERVER,
    WARM_UP,
    ScenarioRun,
    ScenarioSettings,
    Trial,
)

_NS_PER_MS = 1e6
_NS_PER_S = 1e9
# A rate this many times the precision above the one found has failed where the search was fine.
_NEAR = 1.5

QUANTILES = (0.5, 0.9, 0.95, 0.99, 0.999)


@dataclasses.dataclass(frozen=True)
class RateTrial:
    """One trial of a server: at which rate, and whether the bound held.

    Attributes:
        role: What it was for, one of ``bmopt.core.scenario.ROLES``.
        rate: Queries per second that were to be sent.
        ran: Queries that ended.
        slow: How many of them took longer than the bound.
        passed: Whether the bound held, by early stopping.
    """

    role: str
    rate: float
    ran: int
    slow: int
    passed: bool


@dataclasses.dataclass(frozen=True)
class ScenarioSummary:
    """The headline of a scenario.

    Attributes:
        subject: What was measured.
        scenario: Its name.
        metric: What ``value`` is, for example ``"p90 latency"``.
        unit: ``"ns"``, ``"samples/s"`` or ``"queries/s"``.
        value: The result; None where there is none.
        upper: Of a latency, what the percentile of all queries is at most with 99 % confidence.
        queries: Queries of the trial the headline is of.
        needed: Fewest queries for it.
        valid: Whether LoadGen's rules are kept.
        reasons: Why not, a line each.
        notes: What else should be known.
        percentiles: Of the latency in that trial; none offline.
        trials: A server's, in the order they ran.
    """

    subject: str
    scenario: str
    metric: str
    unit: str
    value: float | None
    upper: float | None
    queries: int
    needed: int
    valid: bool
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    percentiles: tuple[Percentile, ...] = ()
    trials: tuple[RateTrial, ...] = ()

    @property
    def text(self) -> str:
        """The headline in a line, or why there is none."""
        if self.value is None:
            return "; ".join(self.reasons)
        shown, unit = (self.value / _NS_PER_MS, "ms") if self.unit == "ns" else (self.value, "")
        line = f"{self.metric} {shown:.4g} {unit or self.unit}"
        return line if self.valid else f"{line} (not valid: {'; '.join(self.reasons)})"

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON value."""
        found: dict[str, Any] = to_value(self)
        return {**found, "text": self.text}


def summary(run: ScenarioRun) -> ScenarioSummary:
    """Return the headline of a run, also of one that ended before its time."""
    if run.settings.scenario == SERVER:
        return _of_server(run)
    return _of_offline(run) if run.settings.scenario == OFFLINE else _of_stream(run)


def _of_stream(run: ScenarioRun) -> ScenarioSummary:
    settings = run.settings
    trial = _measured(run)
    found = percentile(latencies_ns(trial), settings.quantile)
    reasons = [*_cut_short(run, trial)]
    if found.value is None:
        reasons.append(found.text)
    return ScenarioSummary(
        subject=run.subject,
        scenario=settings.scenario,
        metric=f"{found.name} latency",
        unit="ns",
        value=found.value,
        upper=found.upper,
        queries=found.ran,
        needed=max(settings.min_queries, found.needed),
        valid=not reasons,
        reasons=tuple(reasons),
        percentiles=_percentiles(trial),
    )


def _of_offline(run: ScenarioRun) -> ScenarioSummary:
    trial = _measured(run)
    ran = len(trial.end_ns)
    reasons = [*_cut_short(run, trial)]
    samples = ran * trial.samples_per_query
    rate = samples * _NS_PER_S / max(_lasted_ns(trial), 1) if ran else None
    return ScenarioSummary(
        subject=run.subject,
        scenario=OFFLINE,
        metric="throughput",
        unit="samples/s",
        value=rate,
        upper=None,
        queries=ran,
        needed=max(run.settings.min_queries, trial.planned),
        valid=not reasons,
        reasons=tuple(reasons),
    )


def _of_server(run: ScenarioRun) -> ScenarioSummary:
    settings = run.settings
    trial, held = _server_trial(run)
    name = Percentile(settings.quantile, None, None, 0, 0).name
    ran = len(trial.end_ns)
    reasons = [] if held else _not_held(run, trial, name)
    return ScenarioSummary(
        subject=run.subject,
        scenario=SERVER,
        metric=f"rate with {name} <= {settings.target_latency_ms:g} ms",
        unit="queries/s",
        value=trial.rate if held else None,
        upper=None,
        queries=ran,
        needed=max(settings.min_queries, queries_needed(settings.quantile)),
        valid=held,
        reasons=tuple(reasons),
        notes=_search_notes(run, trial.rate) if held and trial.role == CONFIRM else (),
        percentiles=_percentiles(trial),
        trials=tuple(_rate_trial(one, settings) for one in run.trials if one.role != WARM_UP),
    )


def _server_trial(run: ScenarioRun) -> tuple[Trial, bool]:
    """Return the trial that the headline is of, and whether its bound held."""
    full = [trial for trial in run.trials if trial.role in (CONFIRM, MEASURE)]
    held = [trial for trial in full if passes(trial, run.settings)]
    if held:
        return held[-1], True
    rest = full or [trial for trial in run.trials if trial.role == SEARCH]
    return (rest[-1] if rest else Trial(MEASURE, (), (), ())), False


def _not_held(run: ScenarioRun, trial: Trial, name: str) -> list[str]:
    settings = run.settings
    if run.failure:
        return [run.failure]
    if not trial.rate:
        return ["the time was up before the first trial; give a longer max_duration_s"]
    if trial.ending == LATE:
        return [f"the time was up at {trial.rate:.4g} queries/s; give a longer max_duration_s"]
    slow = slow_queries(trial, settings)
    load = f"{settings.target_latency_ms:g} ms at {trial.rate:.4g} queries/s"
    return [f"{name} is above {load}: {slow:,} of {len(trial.end_ns):,} queries were slow"]


def _search_notes(run: ScenarioRun, found: float) -> tuple[str, ...]:
    """Say so where no trial a little above the rate that was found has failed."""
    searched = (trial for trial in run.trials if trial.role in (SEARCH, CONFIRM))
    failed = [one.rate for one in searched if not passes(one, run.settings)]
    above = [rate for rate in failed if rate > found]
    if above and min(above) <= found * (1.0 + _NEAR * run.settings.rate_precision):
        return ()
    return ("the search stayed coarse: the highest rate may be higher",)


def _rate_trial(trial: Trial, settings: ScenarioSettings) -> RateTrial:
    slow = slow_queries(trial, settings)
    return RateTrial(trial.role, trial.rate, len(trial.end_ns), slow, passes(trial, settings))


def _measured(run: ScenarioRun) -> Trial:
    found = [trial for trial in run.trials if trial.role == MEASURE]
    return found[-1] if found else Trial(MEASURE, (), (), (), ending=LATE)


def _cut_short(run: ScenarioRun, trial: Trial) -> list[str]:
    """Return which of LoadGen's rules on duration and queries are broken."""
    settings = run.settings
    if run.failure:
        return [run.failure]
    reasons = []
    ran, needed = len(trial.end_ns), max(settings.min_queries, trial.planned)
    if ran < needed:
        reasons.append(f"{needed:,} queries were to run, {ran:,} did")
    lasted_s = _lasted_ns(trial) / _NS_PER_S
    if trial.ending == DONE and lasted_s < settings.duration_s:
        reasons.append(f"lasted {lasted_s:.3g} s of {settings.duration_s:g} s; measure again")
    return reasons


def _lasted_ns(trial: Trial) -> int:
    return max(trial.end_ns, default=0)


def _percentiles(trial: Trial) -> tuple[Percentile, ...]:
    latencies = latencies_ns(trial)
    return tuple(percentile(latencies, quantile) for quantile in QUANTILES)
