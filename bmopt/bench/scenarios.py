"""Load scenarios with the names and rules of MLPerf LoadGen.

single-stream
    One sample at a time, the next when the last has been answered; p90 of latency.
multi-stream
    The same with eight samples per query; p99 of the query's latency.
offline
    All samples at once; samples per second.
server
    Queries of one sample at random moments; the highest rate at which p99 holds a bound, latency
    counted from the moment a query was meant to be sent.

Sources: ``loadgen/test_settings.h``, ``loadgen.cc``, ``issue_query_controller.cc`` and
``results.cc`` of mlcommons/inference.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence

from bmopt.bench.arrivals import SleepUntil, sleep_until
from bmopt.bench.clock import MONOTONIC, Clock
from bmopt.bench.crew import Pace
from bmopt.bench.load_session import LoadSession, Told, TrialEndedError
from bmopt.bench.query_pool import BatchOf, queries_of
from bmopt.bench.server import run_server
from bmopt.core.runner import Feeds, Runner
from bmopt.core.scenario import (
    INTERRUPTED,
    MEASURE,
    OFFLINE,
    SERVER,
    ScenarioRun,
    ScenarioSettings,
)
from bmopt.errors import DataError, UsageError

_MARGIN = 1.1
"""LoadGen's: so much more work than is thought to fill the time."""


class ScenarioInterrupted(KeyboardInterrupt):
    """Ctrl-C during a scenario.

    Attributes:
        run: Everything that had ended by then.
    """

    def __init__(self, run: ScenarioRun) -> None:
        super().__init__(run.failure)
        self.run = run


def run_scenario(
    subject: str,
    runners: Sequence[Runner],
    feeds: Sequence[Feeds],
    settings: ScenarioSettings,
    *,
    batch_of: BatchOf | None = None,
    samples_per_feed: int = 1,
    clock: Clock = MONOTONIC,
    sleep_until: SleepUntil = sleep_until,
    told: Told | None = None,
) -> ScenarioRun:
    """Run a scenario and return every query of it.

    An engine that raises or hangs ends the run, which then has a ``failure`` and the queries
    that had ended. After one that hangs, its runner is still at work in a thread of its own: do
    not use it. An engine that takes its process with it can only be survived from another one.

    Args:
        subject: What is measured.
        runners: One per worker, ``settings.concurrency`` of them. A runner that may be called
            from several threads at once can be given several times.
        feeds: Real inputs of ``samples_per_feed`` samples each, used in rotation.
        settings: Which scenario, for how long.
        batch_of: Joins the samples of a query into one inference, where the model allows;
            otherwise, and where it declines, they run one by one.
        samples_per_feed: Samples in one of ``feeds``.
        clock: Monotonic nanoseconds.
        sleep_until: Waits for a moment of ``clock``.
        told: Told of every trial when it has ended.

    Raises:
        UsageError: The number of runners is not that of the workers, or samples per query are
            not a multiple of those per feed.
        DataError: There are no feeds.
        ScenarioInterrupted: Ctrl-C; has the run so far.
    """
    _check(runners, feeds, settings, samples_per_feed)
    # A feed of four samples is the least query there can be, in every scenario.
    width = max(1, settings.samples_per_query // samples_per_feed)
    queries, batched = queries_of(feeds, width, batch_of)
    session = LoadSession(
        runners, queries, settings, Pace(clock, sleep_until), width * samples_per_feed, told
    )
    with contextlib.suppress(TrialEndedError):
        _run(session)
    run = _record(subject, session, batched)
    if session.ending == INTERRUPTED:
        raise ScenarioInterrupted(run)
    return run


def _check(
    runners: Sequence[Runner],
    feeds: Sequence[Feeds],
    settings: ScenarioSettings,
    samples_per_feed: int,
) -> None:
    if len(runners) != settings.concurrency:
        raise UsageError(
            f"{len(runners)} runners for {settings.concurrency} workers; give one per worker"
        )
    if not feeds:
        raise DataError(f"no inputs for {settings.scenario}; give at least one sample")
    samples = settings.samples_per_query
    if samples > samples_per_feed and samples % samples_per_feed:
        raise UsageError(
            f"samples_per_query={samples}: inputs hold {samples_per_feed} samples each; "
            "give a multiple"
        )


def _run(session: LoadSession) -> None:
    settings = session.settings
    capacity = session.warm_up()
    if settings.scenario == SERVER:
        run_server(session, capacity)
    elif settings.scenario == OFFLINE:
        count = math.ceil(_MARGIN * capacity * settings.duration_s)
        session.at_once(MEASURE, max(count, settings.min_queries))
    else:
        session.closed(MEASURE)


def _record(subject: str, session: LoadSession, batched: bool) -> ScenarioRun:
    failure = f"{subject}: {session.settings.scenario}: {session.failure}"
    return ScenarioRun(
        subject,
        session.settings,
        tuple(session.trials),
        batched,
        failure if session.failure else "",
    )
