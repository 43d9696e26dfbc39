"""McNemar's test: does one of two classifiers get more samples right, on the same samples?"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

_MOST_EXACT = 100_000


@dataclasses.dataclass(frozen=True)
class McNemar:
    """The discordant samples of two models, and how surprising they would be of equals.

    Attributes:
        gained: Samples that only the candidate got right.
        lost: Samples that only the reference got right.
        p: Two-sided exact p-value, which is conservative.
        mid_p: Two-sided mid-p value, near the nominal level even for few samples.
    """

    gained: int
    lost: int
    p: float
    mid_p: float

    def to_dict(self) -> dict[str, int | float]:
        """Return a JSON value."""
        return dataclasses.asdict(self)


def mcnemar(gained: int, lost: int) -> McNemar:
    """Return the exact conditional test of ``gained`` against ``lost``.

    Of equal models, every discordant sample is a fair coin. The mid-p value counts the observed
    outcome by half (Fagerland, Lydersen and Laake, BMC Medical Research Methodology, 2013). With
    more than 100,000 discordant samples the binomial is taken for normal.
    """
    if min(gained, lost) < 0:
        raise ValueError("counts cannot be negative")
    total, fewer = gained + lost, min(gained, lost)
    if total == 0:
        return McNemar(gained, lost, 1.0, 1.0)
    if total > _MOST_EXACT:
        p = math.erfc(abs(gained - lost) / math.sqrt(2.0 * total))
        return McNemar(gained, lost, p, p)
    below, here = _binomial_tail(total, fewer)
    if gained == lost:
        return McNemar(gained, lost, 1.0, 1.0 - 0.5 * here)
    return McNemar(gained, lost, min(1.0, 2.0 * (below + here)), min(1.0, 2.0 * below + here))


def _binomial_tail(total: int, successes: int) -> tuple[float, float]:
    """Return P(X < successes) and P(X = successes) of ``total`` fair coins."""
    # log P(X = k) from log P(X = k - 1): each step multiplies by (total - k + 1) / k.
    steps = np.arange(1, successes + 1, dtype=np.float64)
    logs = np.concatenate(([0.0], np.cumsum(np.log(total - steps + 1.0) - np.log(steps))))
    masses = np.exp(logs - total * math.log(2.0))
    return float(np.sum(masses[:-1])), float(masses[-1])
