"""The server scenario: queries arrive at random moments, and so many per second as can be borne.

LoadGen's ``FindPeakPerformance`` doubles the rate until a trial fails and bisects. So does this,
on short trials with the same pattern of arrivals, from the rate of the warm-up. The rate found is
then confirmed by a trial of full length with another pattern, and lowered where that fails: the
highest of many trials that passed is one that was lucky.
"""

from __future__ import annotations

import math

from bmopt.bench.early_stopping import queries_needed
from bmopt.bench.load_session import LoadSession
from bmopt.bench.trial_rules import passes
from bmopt.core.scenario import CONFIRM, MEASURE, SEARCH

_FIRST_LOAD = 0.6
_SEARCH_SHARE = 0.2
_MOST_STEPS = 12
_MOST_CONFIRMATIONS = 12
_SMALL_STEPS = 4
_LONGEST_STEP = 0.2


def run_server(session: LoadSession, capacity: float) -> None:
    """Run one trial at the rate that the settings give, or search the highest that holds.

    Args:
        session: Keeps the trials.
        capacity: Queries per second that the workers answer back to back.
    """
    settings = session.settings
    if settings.target_qps:
        _full_trial(session, MEASURE, settings.target_qps, settings.seed)
        return
    rate = _search(session, capacity)
    for attempt in range(1, _MOST_CONFIRMATIONS + 1):
        if rate is None or _full_trial(session, CONFIRM, rate, settings.seed + attempt):
            return
        rate *= 1.0 - _step(attempt, settings.rate_precision)


def _step(attempt: int, precision: float) -> float:
    """Return the share to go down by; it doubles where small steps do not help."""
    return min(_LONGEST_STEP, precision * 2.0 ** max(0, attempt - _SMALL_STEPS))


def _search(session: LoadSession, capacity: float) -> float | None:
    """Return the highest rate that passed, None where none did."""
    low, high = _bracket(session, _FIRST_LOAD * capacity)
    if low is None or high is None:
        return low
    while high > low * (1.0 + session.settings.rate_precision):
        middle = math.sqrt(low * high)
        if not _has_time(session, middle):
            break
        if _short_trial(session, middle):
            low = middle
        else:
            high = middle
    return low


def _bracket(session: LoadSession, rate: float) -> tuple[float | None, float | None]:
    """Return the highest rate that passed and the lowest that failed, a factor of two apart."""
    low: float | None = None
    high: float | None = None
    for _ in range(_MOST_STEPS):
        if not _has_time(session, rate):
            break
        if _short_trial(session, rate):
            low, rate = rate, 2.0 * rate
        else:
            high, rate = rate, rate / 2.0
        if low is not None and high is not None:
            break
    return low, high


def _short_trial(session: LoadSession, rate: float) -> bool:
    settings = session.settings
    trial = session.poisson(
        SEARCH,
        rate,
        duration_s=_SEARCH_SHARE * settings.duration_s,
        min_queries=queries_needed(settings.quantile, 1),
        seed=settings.seed,
    )
    return passes(trial, settings)


def _full_trial(session: LoadSession, role: str, rate: float, seed: int) -> bool:
    settings = session.settings
    trial = session.poisson(
        role,
        rate,
        duration_s=settings.duration_s,
        min_queries=settings.min_queries,
        seed=seed,
    )
    return passes(trial, settings)


def _has_time(session: LoadSession, rate: float) -> bool:
    """Whether a short trial at ``rate`` still fits, and a full one after it."""
    settings = session.settings
    short_s = max(_SEARCH_SHARE * settings.duration_s, queries_needed(settings.quantile, 1) / rate)
    full_s = max(settings.duration_s, settings.min_queries / rate)
    return session.left_s() > short_s + full_s
