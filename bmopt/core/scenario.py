"""What a load scenario recorded: its settings and every query that ended.

Names, rules and defaults are those of MLPerf LoadGen (``loadgen/test_settings.h`` of
mlcommons/inference). Statistics are functions of the record (``bmopt.bench.scenario_summary``).
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from bmopt.core.records import from_value, to_value
from bmopt.errors import ArtifactError, UsageError

SINGLE_STREAM = "single-stream"
MULTI_STREAM = "multi-stream"
OFFLINE = "offline"
SERVER = "server"
SCENARIOS = (SINGLE_STREAM, MULTI_STREAM, OFFLINE, SERVER)

WARM_UP = "warm-up"
MEASURE = "measure"
SEARCH = "search"
CONFIRM = "confirm"
ROLES = (WARM_UP, MEASURE, SEARCH, CONFIRM)

DONE = "done"
LATE = "time is up"
HOPELESS = "hopeless"
FAILED = "failed"
HUNG = "hung"
INTERRUPTED = "interrupted"
ENDINGS = (DONE, LATE, HOPELESS, FAILED, HUNG, INTERRUPTED)

KEY = "bmopt_scenario"
VERSION = 1

_SAMPLES = {SINGLE_STREAM: 1, MULTI_STREAM: 8, OFFLINE: 8, SERVER: 1}
_QUANTILE = {SINGLE_STREAM: 0.9, MULTI_STREAM: 0.99, OFFLINE: 0.9, SERVER: 0.99}
# What early stopping asks for where one query is slow.
_QUERIES = {SINGLE_STREAM: 64, MULTI_STREAM: 662, OFFLINE: 1, SERVER: 662}
_MOST_DURATIONS = 10.0


@dataclasses.dataclass(frozen=True)
class ScenarioSettings:
    """How a scenario is run. What is 0 takes the scenario's own number when it is made.

    Attributes:
        scenario: One of ``SCENARIOS``.
        duration_s: Least time that queries are issued for, in seconds.
        max_duration_s: No query is issued later than this after the start of the warm-up;
            0 is ten times ``duration_s``.
        min_queries: Fewest queries; 0 is what the percentile needs where one query is slow.
        samples_per_query: Samples of a query; 0 is 1, and 8 for multi-stream. Offline, where
            all samples are one query, those of one inference; 0 is 8.
        quantile: The percentile that counts, as a fraction; 0 is 0.9 for single-stream and 0.99
            for multi-stream and server.
        target_latency_ms: Server: what the percentile may be at most, in milliseconds.
        target_qps: Server: queries per second; 0 searches the highest rate that holds.
        rate_precision: Server: the search ends when the rate is known this well, as a fraction.
        concurrency: Server and offline: how many workers answer queries.
        seed: Of the arrivals.
        timeout_s: A query that takes longer, in seconds, makes the engine count as hung.

    Raises:
        UsageError: A value is out of its range.
    """

    scenario: str
    duration_s: float = 10.0
    max_duration_s: float = 0.0
    min_queries: int = 0
    samples_per_query: int = 0
    quantile: float = 0.0
    target_latency_ms: float = 100.0
    target_qps: float = 0.0
    rate_precision: float = 0.02
    concurrency: int = 1
    seed: int = 0
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        """Fill in the scenario's own numbers and check the ranges."""
        if self.scenario not in SCENARIOS:
            names = ", ".join(SCENARIOS)
            raise UsageError(f"scenario {self.scenario!r} does not exist; choose one of {names}")
        self._default("max_duration_s", _MOST_DURATIONS * self.duration_s)
        self._default("min_queries", _QUERIES[self.scenario])
        self._default("samples_per_query", _SAMPLES[self.scenario])
        self._default("quantile", _QUANTILE[self.scenario])
        self._check_ranges()

    def _default(self, name: str, value: float) -> None:
        if getattr(self, name) == 0:
            object.__setattr__(self, name, value)

    def _check_ranges(self) -> None:
        positive = ("duration_s", "max_duration_s", "target_latency_ms", "timeout_s")
        for name in (*positive, "min_queries", "samples_per_query", "concurrency"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name}={getattr(self, name)}: give a number above 0")
        for name in ("target_qps", "seed"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"{name}={getattr(self, name)}: give 0 or more")
        for name in ("quantile", "rate_precision"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise UsageError(f"{name}={getattr(self, name)}: give a number between 0 and 1")
        if self.scenario in (SINGLE_STREAM, MULTI_STREAM) and self.concurrency != 1:
            raise UsageError(
                f"concurrency={self.concurrency}: {self.scenario} has one query at a time; give 1"
            )
        if self.scenario in (SINGLE_STREAM, SERVER) and self.samples_per_query != 1:
            raise UsageError(
                f"samples_per_query={self.samples_per_query}: a query of {self.scenario} is one "
                f"sample; choose {MULTI_STREAM} or {OFFLINE}"
            )


@dataclasses.dataclass(frozen=True)
class Trial:
    """Queries under one load. Only those that ended are here, in the order they were scheduled.

    Times are nanoseconds after the trial's start. Latency counts from ``scheduled_ns``, the
    moment a query was meant to be sent: one that waits for a worker pays for it. In a closed
    loop that moment is when it was sent; offline it is the trial's start.

    Attributes:
        role: One of ``ROLES``.
        scheduled_ns: When each query was to be sent.
        start_ns: When a worker took it.
        end_ns: When its last answer was there.
        planned: How many queries were to run; 0 where that was open.
        rate: Queries per second of the schedule; 0 where there is none.
        seed: Of the schedule.
        samples_per_query: Samples in each query.
        ending: One of ``ENDINGS``; ``HOPELESS`` is a trial given up because so many queries
            were slow that the rest could not save it.
    """

    role: str
    scheduled_ns: tuple[int, ...]
    start_ns: tuple[int, ...]
    end_ns: tuple[int, ...]
    planned: int = 0
    rate: float = 0.0
    seed: int = 0
    samples_per_query: int = 1
    ending: str = DONE

    def __post_init__(self) -> None:
        """Check that every query has its three times, in order."""
        if self.role not in ROLES or self.ending not in ENDINGS:
            raise ValueError(f"a trial cannot be {self.role!r} and end as {self.ending!r}")
        if not len(self.scheduled_ns) == len(self.start_ns) == len(self.end_ns):
            raise ValueError("queries without all of their times")
        times = zip(self.scheduled_ns, self.start_ns, self.end_ns, strict=True)
        if any(not due <= start <= end for due, start, end in times):
            raise ValueError("a query ended before it started, or started before it was due")

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON value; times are written as steps, and steps that are all 0 left out."""
        plain = dataclasses.replace(self, scheduled_ns=(), start_ns=(), end_ns=())
        steps = {
            "scheduled_ns": _differences((0, *self.scheduled_ns[:-1]), self.scheduled_ns),
            "start_ns": _differences(self.scheduled_ns, self.start_ns),
            "end_ns": _differences(self.start_ns, self.end_ns),
        }
        return {**to_value(plain), **steps, "queries": len(self.end_ns)}

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> Trial:
        """Read ``to_dict``'s value; raise ``ValueError``, ``KeyError`` or ``TypeError``."""
        rest = dict(document)
        count = int(rest.pop("queries"))
        gaps, waits, took = (
            [int(step) for step in rest.pop(name) or itertools.repeat(0, count)]
            for name in ("scheduled_ns", "start_ns", "end_ns")
        )
        if not len(gaps) == len(waits) == len(took) == count:
            raise ValueError("queries without all of their times")
        due = tuple(itertools.accumulate(gaps))
        start = tuple(map(sum, zip(due, waits, strict=True)))
        end = tuple(map(sum, zip(start, took, strict=True)))
        times = {"scheduled_ns": due, "start_ns": start, "end_ns": end}
        return from_value(cls, {**rest, **times}, "trial")


@dataclasses.dataclass(frozen=True)
class ScenarioRun:
    """A scenario of one subject, as it was recorded.

    Attributes:
        subject: What was measured.
        settings: How.
        trials: The warm-up; then one trial, or those of a server's search in the order they ran.
        batched: Whether the samples of a query ran as one inference.
        failure: Why the run ended before its time, in one line; empty where it did not.
    """

    subject: str
    settings: ScenarioSettings
    trials: tuple[Trial, ...]
    batched: bool = False
    failure: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON value that ``from_dict`` reads."""
        plain = to_value(dataclasses.replace(self, trials=()))
        return {KEY: VERSION, **plain, "trials": [trial.to_dict() for trial in self.trials]}

    def to_json(self) -> str:
        """Return the run as one line of JSON; ``from_json`` gives an equal one back."""
        return json.dumps(self.to_dict(), separators=(",", ":"), allow_nan=False) + "\n"

    @classmethod
    def from_dict(cls, document: Any, *, source: str = "scenario") -> ScenarioRun:  # noqa: ANN401 - any JSON value
        """Read ``to_dict``'s value.

        Raises:
            ArtifactError: It is no scenario's record, or one of another version.
        """
        if not isinstance(document, Mapping) or KEY not in document:
            raise ArtifactError(f"{source}: is no record of a scenario; measure with bmopt bench")
        if document[KEY] != VERSION:
            raise ArtifactError(
                f"{source}: scenario version {document[KEY]!r}, this bmopt reads {VERSION}; "
                "measure again"
            )
        rest = {key: item for key, item in document.items() if key != KEY}
        try:
            trials = tuple(Trial.from_dict(trial) for trial in rest["trials"])
            plain = from_value(cls, {**rest, "trials": []}, "scenario")
        except (ValueError, KeyError, TypeError, UsageError) as error:
            raise ArtifactError(f"{source}: {error}; measure again") from error
        return dataclasses.replace(plain, trials=trials)

    @classmethod
    def from_json(cls, text: str, *, source: str = "scenario") -> ScenarioRun:
        """Parse ``to_json``'s text; errors as in ``from_dict``."""
        try:
            document = json.loads(text)
        except ValueError as error:
            raise ArtifactError(f"{source}: is not JSON ({error}); measure again") from error
        return cls.from_dict(document, source=source)


def _differences(before: Sequence[int], after: Sequence[int]) -> list[int]:
    # An empty sequence has no predecessor; strict would refuse the 0 put before it.
    steps = [late - early for early, late in zip(before, after, strict=False)]
    return steps if any(steps) else []
