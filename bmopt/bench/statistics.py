"""Statistics of a measurement: medians, percentiles, ratios with an interval, verdicts."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Literal

import numpy as np
import numpy.typing as npt

from bmopt.bench.early_stopping import queries_needed
from bmopt.bench.schedule import ROUNDS_PER_TURN
from bmopt.core.measurement import Block, Measurement, Settings
from bmopt.errors import UsageError

Verdict = Literal["faster", "slower", "equivalent", "undecided"]
Floats = npt.NDArray[np.float64]

FEWEST_TURNS_TO_STOP = 8
"""With fewer, an interval that is narrow by luck would end a run too often."""

_RESAMPLES = 2000
_QUARTILE = 0.25
_FEWEST_TURNS = 3
_CUT = 4
_ANGLES = 20_001


@dataclasses.dataclass(frozen=True)
class RatioEstimate:
    """How the latency of one variant compares with another's.

    Attributes:
        ratio: Geometric mean of candidate/reference over the middle half of the turns, a block
            counting with its lower-quartile latency; 0.5 is twice as fast.
        low: Lower end of the interval; 0 where there are too few pairs for one.
        high: Upper end; infinite where there are too few pairs.
        verdict: What the interval allows to say of the candidate.
        pairs: How many pairs of blocks were compared.
    """

    ratio: float
    low: float
    high: float
    verdict: Verdict
    pairs: int

    @property
    def relative_width(self) -> float:
        """Width of the interval as a fraction of the ratio."""
        return (self.high - self.low) / self.ratio

    def to_dict(self) -> dict[str, float | int | str | None]:
        """Return a JSON value; an unbounded end is null."""
        high = self.high if math.isfinite(self.high) else None
        return {**dataclasses.asdict(self), "high": high}


@dataclasses.dataclass(frozen=True)
class Latency:
    """One variant's latencies in nanoseconds; ``p90_ns`` is None below 44 samples."""

    samples: int
    median_ns: float
    p90_ns: float | None


def latency(measurement: Measurement, variant: str) -> Latency:
    """Return the median and the 90th percentile of all timed inferences of a variant."""
    samples = samples_ns(measurement, variant)
    return Latency(
        samples=samples.size,
        median_ns=float(np.median(samples)),
        p90_ns=percentile(samples, 0.9),
    )


def samples_ns(measurement: Measurement, variant: str) -> npt.NDArray[np.int64]:
    """Return every latency of a variant, in nanoseconds and in the order they ran.

    Raises:
        UsageError: The measurement has no such variant.
    """
    if variant not in measurement.variants:
        names = ", ".join(measurement.variants)
        raise UsageError(f"variant {variant!r} was not measured; choose one of {names}")
    blocks = [block.latency_ns for block in measurement.blocks if block.variant == variant]
    return np.concatenate([np.asarray(block, dtype=np.int64) for block in blocks])


def percentile(samples: npt.NDArray[np.int64], quantile: float) -> float | None:
    """Return a quantile as an order statistic, or None where there are too few samples."""
    if samples.size < queries_needed(quantile):
        return None
    return float(np.quantile(samples, quantile, method="higher"))


def ratio(
    measurement: Measurement, reference: str, candidate: str, *, quantile: float = _QUARTILE
) -> RatioEstimate:
    """Return the latency of ``candidate`` over that of ``reference``.

    Args:
        measurement: What was recorded.
        reference: A variant.
        candidate: Another.
        quantile: What a block counts with. The default varies least; 0.5 compares medians.

    Raises:
        UsageError: One of them was not measured.
    """
    for name in (reference, candidate):
        if name not in measurement.variants:
            names = ", ".join(measurement.variants)
            raise UsageError(f"variant {name!r} was not measured; choose one of {names}")
    logs = {
        name: log_latencies((b for b in measurement.blocks if b.variant == name), quantile)
        for name in (reference, candidate)
    }
    return estimate(logs[candidate] - logs[reference], measurement.settings)


def log_latencies(blocks: Iterable[Block], quantile: float = _QUARTILE) -> Floats:
    """Return the natural logarithm of a quantile of each block's latencies.

    Other load on the host only ever adds time, so the lower quartile of a block varies much less
    than its median: two to four times less in A/A runs on a two-core host with a load of four.
    """
    typical = [max(float(np.quantile(block.latency_ns, quantile)), 1.0) for block in blocks]
    return np.log(np.asarray(typical, dtype=np.float64))


def estimate(log_ratios: Floats, settings: Settings) -> RatioEstimate:
    """Return the geometric-mean ratio, its interval and the verdict.

    All is over turns, each the mean of a pair and the pair in reverse order, in which a linear
    drift cancels. Of the turns the middle half counts: a burst of other load that is about as
    long as a block hits one variant and spares the other, now to this side, now to that, and on a
    shared host such turns would otherwise decide (in simulated A/A runs with bursts the error of
    the plain mean is ten to thirty times as large).

    The interval spans both Student's for a trimmed mean, right for few turns (Yuen, 1974), and
    the percentiles of a circular block bootstrap of the same mean, right for skewed turns and
    turns that depend on their neighbours (Politis and Romano, 1992).

    Args:
        log_ratios: ``[pairs]``, one per round, in the order they ran.
        settings: Gives the confidence, the precision and the seed.
    """
    pairs = log_ratios.size
    count = pairs // ROUNDS_PER_TURN
    turns = log_ratios[: count * ROUNDS_PER_TURN].reshape(count, ROUNDS_PER_TURN).mean(axis=1)
    if count < _FEWEST_TURNS:
        value = math.exp(float(np.mean(log_ratios)))
        return RatioEstimate(value, 0.0, math.inf, "undecided", pairs)
    centre = float(_middle_mean(turns))
    half = _student_half_width(turns, settings.confidence)
    drawn_low, drawn_high = _bootstrap(turns, settings)
    low = _exp(min(centre - half, drawn_low))
    high = _exp(max(centre + half, drawn_high))
    value = math.exp(centre)
    decision = verdict(low, high, settings.precision * value)
    return RatioEstimate(value, low, high, decision, pairs)


def verdict(low: float, high: float, width: float) -> Verdict:
    """Return what an interval of a latency ratio says; ``width`` is the widest for equivalence."""
    if low > 1.0:
        return "slower"
    if high < 1.0:
        return "faster"
    return "equivalent" if high - low <= width else "undecided"


def student_quantile(confidence: float, freedom: int) -> float:
    """Return t with ``P(|T| <= t) = confidence`` for Student's distribution.

    With T = sqrt(freedom) * tan(angle) the density is proportional to cos(angle)^(freedom - 1),
    which is integrated on a grid.
    """
    angles = np.linspace(0.0, math.pi / 2.0, _ANGLES)
    density = np.cos(angles) ** (freedom - 1)
    mass = np.concatenate(([0.0], np.cumsum(density[1:] + density[:-1])))
    angle = float(np.interp(confidence * mass[-1], mass, angles))
    return math.sqrt(freedom) * math.tan(angle)


def _middle_mean(turns: Floats) -> Floats:
    """Return the mean of the middle half along the last axis: a quarter is cut off either end."""
    count = turns.shape[-1]
    cut = count // _CUT
    middle = np.sort(turns, axis=-1)[..., cut : count - cut]
    found: Floats = middle.mean(axis=-1)
    return found


def _student_half_width(turns: Floats, confidence: float) -> float:
    """Return half of Yuen's interval; its spread is that of the turns with the ends drawn in."""
    cut = turns.size // _CUT
    kept = turns.size - 2 * cut
    ordered = np.sort(turns)
    drawn_in = np.clip(ordered, ordered[cut], ordered[turns.size - cut - 1])
    squares = float(np.sum((drawn_in - np.mean(drawn_in)) ** 2))
    return student_quantile(confidence, kept - 1) * math.sqrt(squares / (kept * (kept - 1)))


def _bootstrap(turns: Floats, settings: Settings) -> tuple[float, float]:
    count = turns.size
    length = max(1, round(count ** (1.0 / 3.0)))
    generator = np.random.default_rng(settings.seed)
    begins = generator.integers(count, size=(_RESAMPLES, math.ceil(count / length), 1))
    picks = ((begins + np.arange(length)) % count).reshape(_RESAMPLES, -1)[:, :count]
    tail = (1.0 - settings.confidence) / 2.0
    low, high = np.quantile(_middle_mean(turns[picks]), (tail, 1.0 - tail))
    return float(low), float(high)


def _exp(value: float) -> float:
    return math.exp(value) if value < 700.0 else math.inf
