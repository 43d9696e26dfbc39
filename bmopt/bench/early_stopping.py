"""How many queries a percentile needs, by MLPerf LoadGen's early stopping.

A latency bounds the ``quantile`` of all queries with 99 % confidence when so few of the queries
that ran were slower that this would happen by luck in at most 1 % of runs. The number of slow
queries among ``ran`` is binomial with chance ``1 - quantile`` each, independence presumed.

Source: ``loadgen/early_stopping.cc`` and ``results.cc`` of mlcommons/inference. Where LoadGen
reports the latency with one query fewer above it than the bound allows, this is the bound itself.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.99

Nanoseconds = npt.NDArray[np.int64]

_NS_PER_MS = 1e6


@dataclasses.dataclass(frozen=True)
class Percentile:
    """A percentile of latencies, given only where enough queries ran.

    Attributes:
        quantile: As a fraction, 0.99 for p99.
        value: The percentile of the queries that ran, in nanoseconds; None below ``needed``.
        upper: With 99 % confidence the percentile of all queries is at most this, in
            nanoseconds; None below ``needed``.
        needed: Fewest queries that say anything of this percentile.
        ran: Queries that ran.
    """

    quantile: float
    value: float | None
    upper: float | None
    needed: int
    ran: int

    @property
    def name(self) -> str:
        """Its name, such as ``"p99.9"``."""
        return f"p{self.quantile * 100.0:g}"

    @property
    def text(self) -> str:
        """The percentile in milliseconds, or how many queries it needs."""
        if self.value is None:
            return f"{self.name} needs {self.needed:,} queries, {self.ran:,} ran"
        return f"{self.name} {self.value / _NS_PER_MS:.4g} ms"


def percentile(latencies_ns: Nanoseconds, quantile: float) -> Percentile:
    """Return a percentile of ``latencies_ns [queries]``, in any order."""
    ran = int(latencies_ns.size)
    needed = queries_needed(quantile)
    if ran < needed:
        return Percentile(quantile, None, None, needed, ran)
    ordered = np.sort(latencies_ns)
    # LoadGen's order statistic; a product that rounds to ran itself has none above it.
    value = ordered[min(int(ran * quantile), ran - 1)]
    upper = ordered[ran - 1 - slow_allowed(ran, quantile)]
    return Percentile(quantile, float(value), float(upper), needed, ran)


@functools.cache
def queries_needed(quantile: float, slow: int = 0) -> int:
    """Return how many queries make a bound that ``slow`` of them exceed hold for the quantile.

    The slow ones count among them: 459 for the 99th percentile where none is slow, 662 with one.
    """
    low = high = max(slow + 1, math.ceil(math.log1p(-CONFIDENCE) / math.log(quantile)))
    while slow_allowed(high, quantile) < slow:
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        if slow_allowed(middle, quantile) < slow:
            low = middle + 1
        else:
            high = middle
    return high


@functools.lru_cache(maxsize=4096)
def slow_allowed(ran: int, quantile: float) -> int:
    """Return how many of ``ran`` queries may be slow; -1 where there are too few queries.

    That is the largest t with P(slow queries <= t) <= 1 - CONFIDENCE. The probabilities come by
    recurrence, in logarithms: they start far below the least float.
    """
    # Beyond the mean the probability is about a half, more than any that is allowed.
    counts = np.arange(math.ceil(ran * (1.0 - quantile)) + 1, dtype=np.float64)[:ran]
    odds = (1.0 - quantile) / quantile
    steps = np.log((ran - counts) / (counts + 1.0) * odds)
    logs = ran * math.log(quantile) + np.concatenate(([0.0], np.cumsum(steps)))
    chances = np.cumsum(np.exp(logs))
    return int(np.searchsorted(chances, 1.0 - CONFIDENCE, side="right")) - 1
