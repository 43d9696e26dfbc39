"""Variants on other machines: their latencies are read off the clock there."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from bmopt.bench.clock import Clock
from bmopt.bench.schedule import Lane, Stamps
from bmopt.core.runner import Feeds, Runner, SelfTimed

_MOST_RUNS = 1000
_MOST_NS = 1_000_000_000
"""In one request, which cannot be interrupted."""

_FEEDS = 8
"""How many inputs take turns: they stay in the memory of a machine that may have little."""


class FarLane(Lane):
    """A variant on another machine. Inputs rotate from request to request, not run to run."""

    def __init__(self, name: str, runner: SelfTimed, feeds: Sequence[Feeds]) -> None:
        self.name = name
        self._runner = runner
        self._feeds = tuple(feeds)[:_FEEDS]
        self._next = 0
        self._typical_ns = 0

    def drop_one(self) -> None:
        """Do nothing: every request runs an inference first that is not timed."""

    def collect(self, clock: Clock, least_ns: int, fewest: int) -> tuple[Stamps, Stamps]:
        """Time inferences for ``least_ns``, ``fewest`` at least; return starts and latencies.

        Starts are those of a request by ``clock`` and what ran before in it: the network's time
        lies between two requests.
        """
        starts: list[Stamps] = []
        latencies: list[Stamps] = []
        count, passed = 0, 0
        while count < fewest or passed < least_ns:
            begin = clock()
            took = self._timed(max(fewest - count, self._runs(least_ns - passed)))
            starts.append(begin + np.cumsum(took) - took)
            latencies.append(took)
            count, passed = count + took.size, passed + int(took.sum())
        return np.concatenate(starts), np.concatenate(latencies)

    def _timed(self, count: int) -> Stamps:
        feed = self._feeds[self._next % len(self._feeds)]
        self._next += 1
        took = np.asarray(self._runner.timed_runs(feed, count), dtype=np.int64)
        self._typical_ns = max(1, int(np.median(took)))
        return took

    def _runs(self, least_ns: int) -> int:
        """Return how many runs take so long, as far as is known."""
        if not self._typical_ns:
            return 1
        least_ns = min(least_ns, _MOST_NS)
        return min(_MOST_RUNS, max(1, math.ceil(least_ns / self._typical_ns)))


def lane_of(name: str, runner: Runner, feeds: Sequence[Feeds]) -> Lane:
    """Return a runner as what takes turns, timed here, or where it runs."""
    if isinstance(runner, SelfTimed):
        return FarLane(name, runner, feeds)
    return Lane(name, runner.run, feeds)
