"""Workers that answer queries, each with a runner and a thread of its own.

They take queries in order; one that is not due yet is waited for, one that is overdue starts at
once. That is a queue without bound before ``len(runners)`` servers. The calling thread only
watches: it notices an engine that hangs, and it receives Ctrl-C.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import threading
import time
from collections.abc import Sequence

from bmopt.bench.arrivals import SleepUntil, sleep_until
from bmopt.bench.clock import MONOTONIC, Clock
from bmopt.bench.schedule import garbage_collector_off
from bmopt.core.runner import Feeds, Runner
from bmopt.core.scenario import DONE, FAILED, HOPELESS, HUNG, INTERRUPTED, LATE
from bmopt.errors import BmoptError

Query = tuple[Feeds, ...]
"""Feeds of one query, run one after the other."""

ENGINE_FAULTS = (BmoptError, RuntimeError, OSError, MemoryError)
"""What an engine may raise; anything else is a bug of ours and is raised again."""

_IDLE = -1
_LEAD_NS = 10_000_000
_NAP_NS = 50_000_000
_LOOKS_PER_TIMEOUT = 8
_LONGEST_LOOK_S = 0.05
_GRACE_S = 2.0


@dataclasses.dataclass(frozen=True)
class Pace:
    """The clock queries are timed by, in nanoseconds, and how to wait for a moment of it."""

    clock: Clock = MONOTONIC
    sleep_until: SleepUntil = sleep_until


@dataclasses.dataclass(frozen=True)
class Job:
    """What a crew is to do.

    Attributes:
        queries: Used in rotation.
        due_ns: When each query is due, after the start. None is a closed loop: each worker sends
            its next query when the last one has ended.
        least: Closed loop: fewest queries.
        least_ns: Closed loop: queries are sent at least this long.
        deadline_ns: No query is started after this reading of the clock.
        bound_ns: A query that takes longer than this from when it was due is slow.
        slow_allowed: With more slow queries than this, the crew gives up.
    """

    queries: Sequence[Query]
    due_ns: Sequence[int] | None = None
    least: int = 1
    least_ns: int = 0
    deadline_ns: int | None = None
    bound_ns: int | None = None
    slow_allowed: int = 0


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The queries that ended, in order.

    Attributes:
        times_ns: Per query when it was due, started and ended, after the start.
        ending: How the job ended, one of ``bmopt.core.scenario.ENDINGS``.
        detail: What went wrong with which query; empty where nothing did.
    """

    times_ns: tuple[tuple[int, int, int], ...]
    ending: str
    detail: str = ""


def work(runners: Sequence[Runner], job: Job, pace: Pace, timeout_s: float) -> Outcome:
    """Let one worker per runner do the job.

    An engine that raises ends the job, and so does one whose query takes longer than
    ``timeout_s`` seconds of real time: its thread is left behind and its runner must not be used
    any more. Ctrl-C waits a moment for queries under way. None of these is raised, they are the
    outcome's ending.
    """
    return _Crew(runners, job, pace, timeout_s).run()


class _Crew:
    def __init__(self, runners: Sequence[Runner], job: Job, pace: Pace, timeout_s: float) -> None:
        self._job = job
        self._pace = pace
        self._timeout_s = timeout_s
        self._indices = itertools.count()
        self._stop = threading.Event()
        # Written by one worker and read by the watcher: single operations on lists, which the
        # interpreter does not divide.
        self._busy = [_IDLE] * len(runners)
        self._rows: list[tuple[int, int, int, int]] = []
        self._slow: list[int] = []
        self._errors: list[tuple[int, BaseException]] = []
        self._ending = DONE
        self._origin = 0
        # Daemons: one that hangs must not keep the process from ending.
        self._threads = [
            threading.Thread(target=self._work, args=(number, runner), daemon=True)
            for number, runner in enumerate(runners)
        ]

    def run(self) -> Outcome:
        detail = ""
        try:
            with garbage_collector_off():
                lead = 0 if self._job.due_ns is None else _LEAD_NS
                self._origin = self._pace.clock() + lead
                for thread in self._threads:
                    thread.start()
                detail = self._watch()
        except KeyboardInterrupt:
            self._ending = INTERRUPTED
            with contextlib.suppress(KeyboardInterrupt):
                self._wind_up()
        if not detail and self._errors:
            detail = self._fault()
        rows = sorted(self._rows[:])
        return Outcome(tuple(row[1:] for row in rows), self._ending, detail)

    def _work(self, number: int, runner: Runner) -> None:
        try:
            self._serve(number, runner)
        except BaseException as error:  # handed to the watching thread, which judges it
            self._errors.append((self._busy[number], error))
            self._stop.set()
        finally:
            self._busy[number] = _IDLE

    def _serve(self, number: int, runner: Runner) -> None:
        clock, run, queries = self._pace.clock, runner.run, self._job.queries
        while (index := self._claim()) is not None:
            query = queries[index % len(queries)]
            self._busy[number] = index
            start = clock()
            for feeds in query:
                outputs = run(feeds)
            end = clock()
            self._busy[number] = _IDLE
            del outputs  # freed only now, when the clock has been read
            self._note(index, start, end)

    def _claim(self) -> int | None:
        """Return the next query's index when it is due, None where there is none for now."""
        index = next(self._indices)
        due_ns = self._job.due_ns
        if due_ns is None:
            elapsed = self._pace.clock() - self._origin
            more = index < self._job.least or elapsed < self._job.least_ns
        else:
            more = index < len(due_ns)
            if more:
                self._await(self._origin + due_ns[index])
        if not more or self._stop.is_set() or self._too_late():
            return None
        return index

    def _await(self, moment: int) -> None:
        """Sleep in naps, so that nobody has to wait for a worker whose query is far off."""
        clock, stop = self._pace.clock, self._stop
        while (now := clock()) < moment and not stop.is_set():
            self._pace.sleep_until(min(moment, now + _NAP_NS))

    def _too_late(self) -> bool:
        deadline = self._job.deadline_ns
        if deadline is None or self._pace.clock() < deadline:
            return False
        self._end(LATE)
        return True

    def _note(self, index: int, start: int, end: int) -> None:
        due_ns, origin = self._job.due_ns, self._origin
        due = start - origin if due_ns is None else due_ns[index]
        self._rows.append((index, due, start - origin, end - origin))
        bound = self._job.bound_ns
        if bound is not None and end - origin - due > bound:
            self._slow.append(index)
            if len(self._slow) > self._job.slow_allowed:
                self._end(HOPELESS)

    def _end(self, ending: str) -> None:
        self._ending = ending
        self._stop.set()

    def _watch(self) -> str:
        """Wait for the workers; return what is to be said of one that hangs."""
        look_s = min(_LONGEST_LOOK_S, self._timeout_s / _LOOKS_PER_TIMEOUT)
        since = [(_IDLE, time.monotonic())] * len(self._threads)
        for thread in self._threads:
            while thread.is_alive():
                thread.join(look_s)
                now = time.monotonic()
                since = [
                    known if busy != _IDLE and busy == known[0] else (busy, now)
                    for known, busy in zip(since, self._busy, strict=True)
                ]
                index, began = min(since, key=lambda known: known[1])
                if now - began > self._timeout_s:
                    self._end(HUNG)
                    return f"query {index:,} has not ended after {self._timeout_s:g} s"
        return ""

    def _wind_up(self) -> None:
        self._stop.set()
        deadline = time.monotonic() + min(_GRACE_S, self._timeout_s)
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))

    def _fault(self) -> str:
        """Return what the first worker that failed ran into, or raise it where it is a bug."""
        index, error = self._errors[0]
        if isinstance(error, KeyboardInterrupt):
            self._ending = INTERRUPTED
            return ""
        if not isinstance(error, ENGINE_FAULTS):
            raise error
        self._ending = FAILED
        said = " ".join(str(error).split()) or type(error).__name__
        return f"query {index:,} failed ({said})"
