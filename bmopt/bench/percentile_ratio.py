"""How percentiles and means of all latencies of one variant compare with another's.

A block has too few samples for its tail, so these are of all samples of a variant together. The
interval comes from turns drawn anew, whole turns and the same for both variants: what slows a turn
down slows both, and its samples are alike.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import numpy as np
import numpy.typing as npt

from bmopt.bench.early_stopping import Percentile, queries_needed
from bmopt.bench.schedule import ROUNDS_PER_TURN
from bmopt.bench.statistics import Floats, samples_ns, student_quantile
from bmopt.core.measurement import Measurement
from bmopt.core.ranges import Interval

Integers = npt.NDArray[np.int64]

RESAMPLES = 2000

FEWEST_TURNS = 3
"""Below these nothing has an interval."""

_MOST_LOG = 700.0


@dataclasses.dataclass(frozen=True)
class PooledRatio:
    """A statistic of all of a candidate's latencies over the reference's.

    Attributes:
        name: Of the statistic, such as ``"p99.9"``.
        reference_ns: The reference's; None where it has too few samples.
        candidate_ns: The candidate's.
        interval: Of candidate over reference; None where there is none, see ``note``.
        samples: How many the variant with fewer of them has.
        confidence: Coverage of the interval.
        note: Why there is no interval; empty where there is one.
    """

    name: str
    reference_ns: float | None
    candidate_ns: float | None
    interval: Interval | None
    samples: int
    confidence: float
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """The estimate; None where one of the two is not known."""
        if self.reference_ns is None or self.candidate_ns is None:
            return None
        return self.candidate_ns / max(self.reference_ns, 1.0)


def percentile_ratio(
    measurement: Measurement, reference: str, candidate: str, quantile: float
) -> PooledRatio:
    """Return the ratio of two variants' percentiles with its interval.

    There is none below the samples that the percentile needs, see
    ``bmopt.bench.early_stopping.queries_needed``.

    Args:
        measurement: What was recorded.
        reference: A variant.
        candidate: Another.
        quantile: Which percentile, as a fraction.

    Raises:
        UsageError: One of them was not measured.
    """
    name = Percentile(quantile, None, None, 0, 0).name
    return _ratio(measurement, (reference, candidate), quantile, name)


def mean_ratio(measurement: Measurement, reference: str, candidate: str) -> PooledRatio:
    """Return the ratio of two variants' mean latencies with its interval.

    Raises:
        UsageError: One of them was not measured.
    """
    return _ratio(measurement, (reference, candidate), None, "mean")


def _ratio(
    measurement: Measurement, names: tuple[str, str], quantile: float | None, name: str
) -> PooledRatio:
    """Return the ratio of a percentile, or of means where ``quantile`` is None."""
    needed = 1 if quantile is None else queries_needed(quantile)
    pooled = [_Pooled.of(measurement, variant) for variant in names]
    before, after = (one.value(quantile) if one.samples >= needed else None for one in pooled)
    fewest, turns = min(one.samples for one in pooled), pooled[0].turns
    confidence = measurement.settings.confidence
    interval, note = None, ""
    if before is None or after is None:
        note = f"{name} needs {needed:,} samples, {fewest:,} ran"
    elif turns < FEWEST_TURNS:
        note = f"{name} needs {FEWEST_TURNS} turns, {turns} ran"
    else:
        draws = _Draws.of(turns, measurement.settings.seed)
        first, second = (np.log(one.resampled(quantile, draws.counts)) for one in pooled)
        interval = draws.interval(second - first, math.log(after / before), confidence)
    return PooledRatio(name, before, after, interval, fewest, confidence, note)


@dataclasses.dataclass(frozen=True)
class _Draws:
    """How often each turn is in each resample.

    Attributes:
        counts: ``[RESAMPLES, turns]``.
        length: How many neighbours are drawn together.
    """

    counts: Floats
    length: int

    @classmethod
    def of(cls, turns: int, seed: int) -> _Draws:
        """Draw circular blocks as long as the cube root of their number (Politis, Romano 1992)."""
        length = max(1, round(turns ** (1.0 / 3.0)))
        generator = np.random.default_rng(seed)
        begins = generator.integers(turns, size=(RESAMPLES, math.ceil(turns / length), 1))
        picks = ((begins + np.arange(length)) % turns).reshape(RESAMPLES, -1)[:, :turns]
        places = picks + turns * np.arange(RESAMPLES)[:, None]
        found = np.bincount(places.reshape(-1), minlength=RESAMPLES * turns)
        return cls(found.reshape(RESAMPLES, turns).astype(np.float64), length)

    def interval(self, drawn: Floats, centre: float, confidence: float) -> Interval:
        """Return the interval of a ratio whose logarithm is ``drawn`` in the resamples.

        It spans Student's, right for few turns, and the percentiles, right for skewed ones; both
        are widened because blocks of turns vary less than all turns do (Hesterberg, "What Teachers
        Should Know About the Bootstrap", 2015).
        """
        turns = self.counts.shape[1]
        freedom = turns - self.length
        reach = student_quantile(confidence, freedom) * math.sqrt(turns / freedom)
        half = reach * float(np.std(drawn, ddof=1))
        tail = 0.5 * math.erfc(reach / math.sqrt(2.0))
        low, high = map(float, np.quantile(drawn, (tail, 1.0 - tail)))
        ends = min(low, centre - half), max(high, centre + half)
        return Interval(*(math.exp(min(end, _MOST_LOG)) for end in ends))


@dataclasses.dataclass(frozen=True)
class _Pooled:
    """All latencies of a variant, at least 1 ns and ascending, and the turn that each is of."""

    latency_ns: Integers
    turn: Integers
    turns: int

    @classmethod
    def of(cls, measurement: Measurement, variant: str) -> _Pooled:
        latency_ns = np.maximum(samples_ns(measurement, variant), 1)
        sizes = [len(b.latency_ns) for b in measurement.blocks if b.variant == variant]
        turns = max(1, len(sizes) // ROUNDS_PER_TURN)
        # A last round without its reverse belongs to the turn before it.
        of_round = np.minimum(np.arange(len(sizes)) // ROUNDS_PER_TURN, turns - 1)
        order = np.argsort(latency_ns, kind="stable")
        return cls(latency_ns[order], np.repeat(of_round, sizes)[order], turns)

    @property
    def samples(self) -> int:
        return int(self.latency_ns.size)

    def value(self, quantile: float | None) -> float:
        """Return the order statistic of ``early_stopping.percentile``, or the mean."""
        if quantile is None:
            return float(np.mean(self.latency_ns))
        return float(self.latency_ns[min(int(self.samples * quantile), self.samples - 1)])

    def resampled(self, quantile: float | None, counts: Floats) -> Floats:
        """Return the same in every resample."""
        if quantile is None:
            sums = np.bincount(self.turn, self.latency_ns, self.turns)
            means: Floats = (counts @ sums) / (counts @ np.bincount(self.turn, None, self.turns))
            return means
        return self._percentiles(quantile, counts)

    def _percentiles(self, quantile: float, counts: Floats) -> Floats:
        """Return the percentile in every resample.

        The samples are divided into stretches of equal length. How many of a resample lie below
        each stretch is a product of matrices; only the stretch that holds the percentile is looked
        into, sample by sample.
        """
        below = counts @ self._below
        whole = below[:, -1]
        wanted = np.minimum(np.floor(whole * quantile), whole - 1.0)
        stretch = np.sum(below <= wanted[:, None], axis=1) - 1
        every = np.arange(len(counts))
        places = stretch[:, None] * self._stretch + np.arange(self._stretch)
        kept = np.minimum(places, self.samples - 1)
        weights = np.take_along_axis(counts, self.turn[kept], axis=1)
        reached = below[every, stretch][:, None] + np.cumsum(weights, axis=1)
        first = np.argmax(reached > wanted[:, None], axis=1)
        found: Floats = self.latency_ns[kept[every, first]].astype(np.float64)
        return found

    @property
    def _stretch(self) -> int:
        return math.ceil(math.sqrt(self.samples))

    @functools.cached_property
    def _below(self) -> Floats:
        """How many samples of each turn lie before each stretch, ``[turns, stretches + 1]``."""
        stretches = math.ceil(self.samples / self._stretch)
        table = np.zeros((self.turns, stretches + 1))
        np.add.at(table, (self.turn, np.arange(self.samples) // self._stretch + 1), 1.0)
        found: Floats = np.cumsum(table, axis=1)
        return found
