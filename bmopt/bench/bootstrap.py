"""A paired bootstrap of the difference of two models on the same samples."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from bmopt.bench.metric import Estimator, Floats
from bmopt.bench.statistics import student_quantile
from bmopt.core.ranges import Interval

RESAMPLES = 10_000
FEWEST_SAMPLES = 10
"""Below these a metric other than right or wrong has no interval."""

_BUDGET = 400_000_000
_FEWEST_RESAMPLES = 200
_FEWEST_FOR_PERCENTILES = 2_000
_CHUNK = 2_000_000


@dataclasses.dataclass(frozen=True)
class Difference:
    """What a candidate changed of a metric, as intervals.

    Attributes:
        change: Candidate minus reference.
        relative: Candidate over reference, minus 1; None where the reference may be 0.
        resamples: How many resamples they are from.
        confidence: Their coverage.
    """

    change: Interval
    relative: Interval | None
    resamples: int
    confidence: float


def paired_bootstrap(
    reference: Estimator,
    candidate: Estimator,
    *,
    fraction: bool,
    confidence: float = 0.99,
    seed: int = 0,
) -> Difference | None:
    """Return intervals of the difference, or None below ten samples or where it is no number.

    Both models are evaluated on the same resamples. There are 10,000, fewer where they are
    expensive: 400 million elementary operations, but never below 200. The ends are percentiles,
    widened for few samples (Hesterberg, "What Teachers Should Know About the Bootstrap", 2015);
    with fewer than 2,000 resamples, whose tails are too rough, they are the standard error times
    Student's quantile.

    Args:
        reference: The reference's samples.
        candidate: The candidate's, in the same order.
        fraction: Whether one sample can change the metric by 1/samples at most. Then the
            interval reaches at least as far as changes that this many samples may have missed,
            see ``unseen_share``.
        confidence: Coverage.
        seed: Of the resamples.
    """
    if reference.samples != candidate.samples:
        raise ValueError("both models must have run on the same samples")
    if reference.samples < FEWEST_SAMPLES:
        return None
    before, after = reference.value(), candidate.value()
    if not (math.isfinite(before) and math.isfinite(after)):
        return None
    drawn = _draws((reference, candidate), seed)
    floor = unseen_share(reference.samples, confidence) if fraction else 0.0
    return summarised((before, after), drawn, reference.samples, floor, confidence)


def summarised(
    values: tuple[float, float], drawn: Floats, samples: int, floor: float, confidence: float
) -> Difference:
    """Return the intervals of resampled values ``[2, resamples]``, reference first.

    Args:
        values: The reference's and the candidate's value.
        drawn: The values on the resamples; a resample on which one is no number is left out.
        samples: How many samples there are.
        floor: The change's interval reaches at least this far to both sides of the estimate.
        confidence: Coverage.
    """
    before, after = values
    kept = drawn[:, np.isfinite(drawn).all(axis=0)]
    change = _reaching(_interval(kept[1] - kept[0], after - before, samples, confidence), floor)
    relative = None
    # A quotient's interval means something only where the reference stays clear of 0.
    if before > 0.0 and kept.size and float(kept[0].min()) > 0.0:
        quotients = kept[1] / kept[0] - 1.0
        around = after / before - 1.0
        relative = _reaching(_interval(quotients, around, samples, confidence), floor / before)
    return Difference(
        change.interval, None if relative is None else relative.interval, kept.shape[1], confidence
    )


def value_interval(
    found: Estimator, *, fraction: bool, confidence: float = 0.99, seed: int = 0
) -> Interval | None:
    """Return a bootstrap interval of one model's value, or None below ten samples.

    As ``paired_bootstrap``, but for values that may be infinite, as decibels are: where one on a
    resample is, the ends are order statistics, however few the resamples. None too where the
    value is no number.

    Args:
        found: The model's samples.
        fraction: As for ``paired_bootstrap``.
        confidence: Coverage.
        seed: Of the resamples.
    """
    value = found.value()
    if found.samples < FEWEST_SAMPLES or math.isnan(value):
        return None
    drawn = _draws((found,), seed)[0]
    drawn = drawn[~np.isnan(drawn)]
    if math.isfinite(value) and np.isfinite(drawn).all():
        floor = unseen_share(found.samples, confidence) if fraction else 0.0
        return _reaching(_interval(drawn, value, found.samples, confidence), floor).interval
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(drawn, (tail, 1.0 - tail), method="inverted_cdf")
    return Interval(min(float(low), value), max(float(high), value))


def unseen_share(samples: int, confidence: float) -> float:
    """Return which share of all samples may behave in a way that none of these ``samples`` did.

    This is Clopper and Pearson's upper end for no event: about 5.3 / samples for 99 %.
    """
    return 1.0 - float(((1.0 - confidence) / 2.0) ** (1.0 / samples))


@dataclasses.dataclass(frozen=True)
class _Around:
    """An interval and the estimate that it is of."""

    interval: Interval
    estimate: float


def _reaching(found: _Around, floor: float) -> _Around:
    low = min(found.interval.low, found.estimate - floor)
    high = max(found.interval.high, found.estimate + floor)
    return _Around(Interval(low, high), found.estimate)


def _interval(drawn: Floats, estimate: float, samples: int, confidence: float) -> _Around:
    if drawn.size < 2:
        return _Around(Interval(-math.inf, math.inf), estimate)
    freedom = max(samples - 1, 1)
    quantile = student_quantile(confidence, freedom)
    widening = math.sqrt(samples / freedom)
    if drawn.size < _FEWEST_FOR_PERCENTILES:
        half = quantile * widening * float(np.std(drawn, ddof=1))
        return _Around(Interval(estimate - half, estimate + half), estimate)
    tail = 0.5 * math.erfc(quantile * widening / math.sqrt(2.0))
    low, high = np.quantile(drawn, (tail, 1.0 - tail))
    return _Around(Interval(min(float(low), estimate), max(float(high), estimate)), estimate)


def _draws(estimators: Sequence[Estimator], seed: int) -> Floats:
    """Return all models' values on the same resamples, ``[models, resamples]``."""
    samples = estimators[0].samples
    affordable = _BUDGET // max(1, sum(each.work for each in estimators))
    total = min(RESAMPLES, max(_FEWEST_RESAMPLES, affordable))
    chunk = max(1, _CHUNK // samples)
    generator = np.random.default_rng(seed)
    parts = []
    for begin in range(0, total, chunk):
        counts = _counts(generator, min(chunk, total - begin), samples)
        parts.append(np.stack([each.values(counts) for each in estimators]))
    return np.concatenate(parts, axis=1)


def _counts(generator: np.random.Generator, resamples: int, samples: int) -> Floats:
    """Return how often each sample is in each resample, ``[resamples, samples]``."""
    picks = generator.integers(samples, size=(resamples, samples))
    picks += np.arange(resamples)[:, None] * samples
    found = np.bincount(picks.reshape(-1), minlength=resamples * samples)
    return found.reshape(resamples, samples).astype(np.float64)
