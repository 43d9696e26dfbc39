"""When queries of the server scenario are sent: Poisson arrivals, as MLPerf LoadGen has them.

Gaps are exponential, the first query is due at once. The same seed gives the same pattern at
every rate, only faster or slower: two rates then differ in their load and not in their luck.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from bmopt.bench.clock import MONOTONIC

SleepUntil = Callable[[int], None]
"""Returns when the clock reads at least these nanoseconds, or a little earlier."""

_NS_PER_S = 1e9
_CHUNK = 4096


def poisson_schedule(
    rate: float, *, duration_s: float, min_queries: int, seed: int
) -> npt.NDArray[np.int64]:
    """Return when each query is due, in nanoseconds after the start, ascending from 0.

    Args:
        rate: Queries per second on average.
        duration_s: The last query is due no earlier than this.
        min_queries: Fewest queries.
        seed: Of the gaps.
    """
    generator = np.random.default_rng(seed)
    gaps = np.zeros(1)
    while gaps.size < min_queries or float(gaps.sum()) < duration_s * rate:
        gaps = np.concatenate((gaps, generator.exponential(size=max(_CHUNK, gaps.size))))
    due_s = np.cumsum(gaps) / rate
    count = max(min_queries, int(np.searchsorted(due_s, duration_s)) + 1)
    return np.round(due_s[:count] * _NS_PER_S).astype(np.int64)


def sleep_until(moment_ns: int) -> None:
    """Sleep until the monotonic clock reads ``moment_ns``.

    It does not spin: a thread that spins would keep the interpreter from those that work.
    What the host oversleeps, about 0.1 ms, counts as latency of the query, as in LoadGen.
    """
    left_ns = moment_ns - MONOTONIC()
    if left_ns > 0:
        time.sleep(left_ns / _NS_PER_S)
