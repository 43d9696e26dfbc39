"""How far a metric fell from the reference to the candidate, and how well that is known."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from bmopt.bench.binomial import rate_interval
from bmopt.bench.bootstrap import FEWEST_SAMPLES, paired_bootstrap, unseen_share, value_interval
from bmopt.bench.metric import RIGHT, Metric, Rows
from bmopt.bench.paired import Paired
from bmopt.bench.statistics import student_quantile
from bmopt.core.ranges import Interval

EXACT = "exact binomial interval (Clopper-Pearson)"
PAIRED = "paired bootstrap of right and wrong"
BOOTSTRAP = "paired bootstrap"
ALONE = "bootstrap"
NONE = f"none, it takes {FEWEST_SAMPLES} samples"

_EVERYTHING = Interval(-math.inf, math.inf)


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A number from samples, in the metric's own unit.

    Attributes:
        value: The number.
        interval: Where it may be among all samples there could be; everything where too few ran.
        resolvable: The smallest drop, or distance, that so many samples can tell from none.
        method: What the interval is.
        p: McNemar's exact two-sided p-value, where there is right and wrong of two models.
    """

    value: float
    interval: Interval
    resolvable: float
    method: str
    p: float | None = None


def drop_of(
    metric: Metric, reference: Rows, candidate: Rows, *, confidence: float, seed: int = 0
) -> Estimate:
    """Return how much worse the candidate is on the same samples; a gain is negative.

    Of right and wrong of two models the interval is ``Paired.bootstrap``'s. What can be resolved
    is then half of Wald's interval for paired proportions around no drop, with half a gain and
    half a loss more (Agresti and Min, Statistics in Medicine 24, 2005):
    t sqrt(gained + lost + 1) / n, with t Student's quantile for n - 1 degrees of freedom. It is no
    less than a sample, nor than ``unseen_share``, the drop that n samples may all have missed: of
    500 with 20 discordant ones 1.8 points, without any 0.7 points. Of agreement with the
    reference, and of all other metrics, it is half of the interval.

    Args:
        metric: The metric that made the rows, its output chosen.
        reference: The reference's rows.
        candidate: The candidate's rows, in the same order.
        confidence: Coverage.
        seed: Of the bootstrap.
    """
    if RIGHT not in candidate:
        return _of_values(metric, reference, candidate, confidence, seed)
    if metric.is_relative:
        flags = candidate[RIGHT]
        interval = rate_interval(int(np.sum(~flags)), flags.size, confidence)
        half = max(1.0 / flags.size, (interval.high - interval.low) / 2.0)
        return Estimate(float(np.mean(~flags)), interval, half, EXACT)
    pair = Paired.of(reference[RIGHT], candidate[RIGHT])
    gained, lost = pair.discordant()
    change = pair.bootstrap(confidence=confidence, seed=seed).change
    return Estimate(
        value=(lost - gained) / pair.samples,
        interval=Interval(-change.high, -change.low),
        resolvable=resolvable_share(gained + lost, pair.samples, confidence),
        method=PAIRED,
        p=pair.mcnemar().p,
    )


def resolvable_share(discordant: int, samples: int, confidence: float) -> float:
    """Return the smallest drop of a rate that paired samples resolve; see ``drop_of``."""
    quantile = student_quantile(confidence, max(samples - 1, 1))
    half = quantile * math.sqrt(discordant + 1.0) / samples
    return min(1.0, max(1.0 / samples, half, unseen_share(samples, confidence)))


def value_of(metric: Metric, rows: Rows, *, confidence: float, seed: int = 0) -> Estimate:
    """Return one model's value; arguments are those of ``drop_of``."""
    if RIGHT in rows:
        flags = rows[RIGHT]
        interval = rate_interval(int(np.sum(flags)), flags.size, confidence)
        half = max(1.0 / flags.size, (interval.high - interval.low) / 2.0)
        return Estimate(float(np.mean(flags)), interval, half, EXACT)
    found = metric.estimator(rows)
    value, fraction = found.value(), metric.is_fraction
    known = value_interval(found, fraction=fraction, confidence=confidence, seed=seed)
    return _with_half(value, known, found.samples if fraction else 0, ALONE)


def _of_values(
    metric: Metric, reference: Rows, candidate: Rows, confidence: float, seed: int
) -> Estimate:
    before, after = metric.estimator(reference), metric.estimator(candidate)
    sign = -1.0 if metric.higher_is_better else 1.0
    drop = sign * (after.value() - before.value())
    found = paired_bootstrap(
        before, after, fraction=metric.is_fraction, confidence=confidence, seed=seed
    )
    known = None
    if found is not None:
        ends = sorted((sign * found.change.low, sign * found.change.high))
        # Nothing agrees with the reference better than the reference.
        known = Interval(max(ends[0], 0.0) if metric.is_relative else ends[0], ends[1])
    return _with_half(drop, known, before.samples if metric.is_fraction else 0, BOOTSTRAP)


def _with_half(value: float, known: Interval | None, samples: int, method: str) -> Estimate:
    """Return the estimate; ``samples`` is 0 where a sample may change it by any amount."""
    if known is None:
        return Estimate(value, _EVERYTHING, math.inf, NONE)
    # The ends of decibels of equal outputs are infinite both.
    half = 0.0 if known.low == known.high else (known.high - known.low) / 2.0
    return Estimate(value, known, max(half, 1.0 / samples if samples else 0.0), method)
