"""Two functions timed in turns, so that what else the machine does falls on both."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Callable, Sequence

_BLOCK_NS = 400_000
_MOST_CALLS = 2_000
_DEVIATIONS = 2.576
"""Of the normal distribution, for an interval of 99 %."""

_LOOKED_AT = 4
_HOPELESS = math.log(1.15)

Timed = Callable[[int], float]
"""Runs a function so many times, and returns the nanoseconds of one."""


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A candidate beside the default.

    Attributes:
        ratio: Of its time to the default's.
        low: Lower end of the ratio's interval.
        high: Upper end.
        us: Median time of the default in microseconds.
        rounds: How often both were timed.
    """

    ratio: float
    low: float
    high: float
    us: float
    rounds: int


def compared(candidate: Timed, default: Timed, rounds: int) -> Comparison:
    """Return how a candidate compares; one that is hopeless is given up early.

    Every round times default, candidate, candidate, default. The ratio is the median of the
    rounds', its interval the one of the median's order statistics.
    """
    calls = calls_for(default(1))
    candidate(1)
    logs: list[float] = []
    times: list[float] = []
    for done in range(rounds):
        first, one, other, last = (run(calls) for run in (default, candidate, candidate, default))
        # The lesser of each two: what interrupts one of them is not the kernel's.
        logs.append(math.log(min(one, other) / min(first, last)))
        times.append(min(first, last) / 1e3)
        if done + 1 == _LOOKED_AT and statistics.median(logs) > _HOPELESS:
            break
    low, high = _interval(logs)
    return Comparison(
        math.exp(statistics.median(logs)),
        math.exp(low),
        math.exp(high),
        statistics.median(times),
        len(logs),
    )


def calls_for(once_ns: float) -> int:
    """Return how many calls make a block that a clock can time."""
    return max(1, min(_MOST_CALLS, round(_BLOCK_NS / max(once_ns, 1.0))))


def _interval(values: Sequence[float]) -> tuple[float, float]:
    """Return the interval of the median, from order statistics; all of them where they are few.

    Source: W. J. Conover, Practical Nonparametric Statistics, 3rd edition, section 3.2.
    """
    order, count = sorted(values), len(values)
    away = max(0, math.floor(count / 2 - _DEVIATIONS * math.sqrt(count) / 2))
    return order[away], order[count - 1 - away]
