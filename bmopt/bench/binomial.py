"""The exact interval of a rate."""

from __future__ import annotations

import math
import statistics

import numpy as np

from bmopt.bench.metric import Floats
from bmopt.core.ranges import Interval

_STEPS = 60
_MOST_EXACT = 1_000_000


def rate_interval(successes: int, trials: int, confidence: float) -> Interval:
    """Return Clopper and Pearson's two-sided interval of a rate, which covers at least so often.

    Its ends are the rates at which as many successes, or as few, are still as likely as half of
    what ``confidence`` leaves (Clopper and Pearson, Biometrika 26, 1934). Found by bisection to
    2^-60. With more than a million trials it is Wilson's (Journal of the American Statistical
    Association 22, 1927), from which it then hardly differs.

    Args:
        successes: How many there were.
        trials: How many there could have been, at least one.
        confidence: Coverage.
    """
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError("successes lie between 0 and the trials, of which there is one at least")
    if trials > _MOST_EXACT:
        return _wilson(successes, trials, confidence)
    tail = (1.0 - confidence) / 2.0
    high = 1.0 if successes == trials else _upper(successes, trials, tail)
    low = 0.0 if successes == 0 else 1.0 - _upper(trials - successes, trials, tail)
    return Interval(low, high)


def _upper(successes: int, trials: int, tail: float) -> float:
    """Return the rate at which P(X <= successes) falls to ``tail``."""
    coefficients = _log_coefficients(successes, trials)
    counts = np.arange(successes + 1, dtype=np.float64)
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2.0
        logs = coefficients + counts * math.log(middle) + (trials - counts) * math.log1p(-middle)
        if float(np.exp(logs).sum()) > tail:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0


def _log_coefficients(successes: int, trials: int) -> Floats:
    """Return log C(trials, k) for k from 0 to ``successes``."""
    steps = np.arange(1, successes + 1, dtype=np.float64)
    ratios = np.log(trials - steps + 1.0) - np.log(steps)
    return np.concatenate(([0.0], np.cumsum(ratios)))


def _wilson(successes: int, trials: int, confidence: float) -> Interval:
    z = statistics.NormalDist().inv_cdf((1.0 + confidence) / 2.0)
    rate = successes / trials
    centre = (rate + z * z / (2.0 * trials)) / (1.0 + z * z / trials)
    spread = math.sqrt(rate * (1.0 - rate) / trials + (z / (2.0 * trials)) ** 2)
    half = z * spread / (1.0 + z * z / trials)
    return Interval(max(0.0, centre - half), min(1.0, centre + half))
