"""NumPy twins of the kernels that choose ranges from what an observer counted.

Cuts are distances from zero in bin widths; two-sided ones are ``(negative, positive)``.

Sources: percentile, Wu et al. 2020, "Integer Quantization for Deep Learning Inference: Principles
and Empirical Evaluation"; entropy, Migacz 2017, "8-bit Inference with TensorRT"; clipping plus
rounding error, Banner et al. 2019, "Post Training 4-bit Quantization of Convolutional Networks for
Rapid-Deployment".
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bmopt.calibration.reference import HALF_BINS, Floats, Summary, moving_average, summarise

AFFINE_LEVELS, SYMMETRIC_LEVELS = 256, 128
AFFINE_STEPS, SYMMETRIC_STEPS = 255.0, 127.0
MSE_GRID = 64
ENTROPY_GRID_ONE_SIDED, ENTROPY_GRID_TWO_SIDED = 128, 24

Doubles = npt.NDArray[np.float64]
Choice = tuple[float, float, float]
"""Affine low and high, and the bound of the symmetric interval."""


def select_ranges(
    values: Floats, groups: Sequence[Floats], percentile: float
) -> dict[str, Choice]:
    """Return every method's choice for ``values``, which arrived in ``groups``."""
    summary = summarise(values)
    if summary.finite == 0:
        return dict.fromkeys(
            ("minmax", "moving-average", "percentile", "entropy", "mse"), (0, 0, 0)
        )
    finite = [summarise(group) for group in groups]
    low = moving_average(group.low for group in finite if group.finite)
    high = moving_average(group.high for group in finite if group.finite)
    profile = Profile.of(summary)
    return {
        "minmax": (summary.low, summary.high, max(abs(summary.low), abs(summary.high))),
        "moving-average": (low, high, max(abs(low), abs(high))),
        "percentile": profile.choice(
            percentile_cut(profile, percentile), percentile_bound(profile, percentile)
        ),
        "entropy": profile.choice(entropy_cut(profile), entropy_bound(profile)),
        "mse": profile.choice(mse_cut(profile), mse_bound(profile)),
    }


@dataclasses.dataclass(frozen=True)
class Side:
    """Counts outwards from zero, up to the bin of the extreme; ``extreme`` is in bin widths."""

    counts: Doubles
    extreme: float

    @property
    def top(self) -> int:
        """How many bins there are."""
        return len(self.counts)

    def edge(self, k: int) -> float:
        """Return where a cut after the first k bins lies; the last one cuts nothing."""
        return self.extreme if k == self.top else float(k)

    def edges(self, cuts: npt.NDArray[np.int64]) -> Doubles:
        """Return the edge of every cut."""
        return np.where(cuts == self.top, self.extreme, cuts.astype(np.float64))

    def clipping_errors(self, cuts: npt.NDArray[np.int64]) -> Doubles:
        """Return the squared error, in bin widths, of moving outer values to the cut."""
        middles = np.arange(self.top) + 0.5
        distance = np.maximum(middles[None, :] - cuts[:, None], 0.0)
        errors: Doubles = (self.counts * distance**2).sum(axis=1)
        return errors

    def inside(self, cuts: npt.NDArray[np.int64]) -> Doubles:
        """Return how many values each cut leaves alone."""
        return np.concatenate([[0.0], np.cumsum(self.counts)])[cuts]


@dataclasses.dataclass(frozen=True)
class Profile:
    """A histogram prepared for choosing ranges."""

    summary: Summary
    negative: Side
    positive: Side
    magnitude: Side

    @classmethod
    def of(cls, summary: Summary) -> Profile:
        """Split a histogram at zero."""
        width = 2.0**summary.exponent / HALF_BINS
        negative = _side(summary.counts[:HALF_BINS][::-1], -summary.low / width)
        positive = _side(summary.counts[HALF_BINS:], summary.high / width)
        wider, other = sorted((negative, positive), key=lambda side: side.top, reverse=True)
        both = wider.counts + np.pad(other.counts, (0, wider.top - other.top))
        extreme = max(negative.extreme, positive.extreme)
        return cls(summary, negative, positive, Side(both, extreme))

    @property
    def width(self) -> float:
        """The width of a bin."""
        return 2.0**self.summary.exponent / HALF_BINS

    def choice(self, cut: tuple[float, float], bound: float) -> Choice:
        """Turn cuts into ranges within the extremes; a cut that leaves nothing cuts nothing."""
        low, high = self.summary.low, self.summary.high
        affine = (
            max(low, -cut[0] * self.width) if self.negative.top else low,
            min(high, cut[1] * self.width) if self.positive.top else high,
        )
        limit = max(abs(low), abs(high))
        symmetric = min(limit, bound * self.width)
        affine = affine if affine[0] < affine[1] else (low, high)
        return (*affine, symmetric if symmetric > 0.0 else limit)


def _side(counts: npt.NDArray[np.uint64], extreme: float) -> Side:
    top = int(extreme) + 1 if extreme > 0.0 else 0
    return Side(counts[:top].astype(np.float64), max(extreme, 0.0))


def percentile_cut(profile: Profile, percentile: float) -> tuple[float, float]:
    """Cut half of 1 - percentile/100 of all values, zeros included, off each side."""
    tail = (1.0 - percentile / 100.0) * profile.summary.finite / 2.0
    return _tail_edge(profile.negative, tail), _tail_edge(profile.positive, tail)


def percentile_bound(profile: Profile, percentile: float) -> float:
    """Cut 1 - percentile/100 of all magnitudes off."""
    tail = (1.0 - percentile / 100.0) * profile.summary.finite
    return _tail_edge(profile.magnitude, tail)


def _tail_edge(side: Side, mass: float) -> float:
    """Return where ``mass`` values lie beyond, linear within a bin; 0 where there are fewer."""
    for k in reversed(range(side.top)):
        if side.counts[k] and side.counts[k] >= mass:
            return min(side.extreme, k + 1 - mass / float(side.counts[k]))
        mass -= float(side.counts[k])
    return 0.0


def mse_cut(profile: Profile) -> tuple[float, float]:
    """Minimise clipping error plus step^2/12 on a grid, then around its best point."""
    left, right = profile.negative, profile.positive
    grids = [_mse_grid(side) for side in (left, right)]
    for _ in range(2):
        errors = mse_affine_errors(profile, grids[0], grids[1])
        negative, positive = np.unravel_index(int(np.argmin(errors)), errors.shape)
        best = int(grids[0][negative]), int(grids[1][positive])
        grids = [_mse_around(*pair) for pair in zip((left, right), best, strict=True)]
    return left.edge(best[0]), right.edge(best[1])


def mse_affine_errors(
    profile: Profile, negative: npt.NDArray[np.int64], positive: npt.NDArray[np.int64]
) -> Doubles:
    """Return the squared error of 8-bit affine quantisation for every pair of cuts."""
    left, right = profile.negative, profile.positive
    span = left.edges(negative)[:, None] + right.edges(positive)[None, :]
    clipped = left.clipping_errors(negative)[:, None] + right.clipping_errors(positive)[None, :]
    inside = left.inside(negative)[:, None] + right.inside(positive)[None, :]
    errors: Doubles = clipped + inside * (span / AFFINE_STEPS) ** 2 / 12.0
    return errors


def mse_bound(profile: Profile) -> float:
    """Minimise the squared error of 8-bit symmetric quantisation over all bins."""
    side = profile.magnitude
    cuts = np.arange(side.top, -1, -1)
    return side.edge(int(cuts[np.argmin(mse_symmetric_errors(side, cuts))]))


def mse_symmetric_errors(side: Side, cuts: npt.NDArray[np.int64]) -> Doubles:
    """Return the squared error of 8-bit symmetric quantisation for every cut."""
    rounding = side.inside(cuts) * (side.edges(cuts) / SYMMETRIC_STEPS) ** 2 / 12.0
    errors: Doubles = side.clipping_errors(cuts) + rounding
    return errors


def _mse_grid(side: Side) -> npt.NDArray[np.int64]:
    return np.arange(side.top, -1, -max(1, side.top // MSE_GRID))


def _mse_around(side: Side, k: int) -> npt.NDArray[np.int64]:
    reach = max(1, side.top // MSE_GRID)
    return np.arange(min(side.top, k + reach), max(0, k - reach) - 1, -1)


def entropy_cut(profile: Profile) -> tuple[float, float]:
    """Minimise the divergence of the affine 256-level distribution from the clipped one."""
    left, right = profile.negative, profile.positive
    one_sided = left.top == 0 or right.top == 0
    grid = ENTROPY_GRID_ONE_SIDED if one_sided else ENTROPY_GRID_TWO_SIDED
    line = np.concatenate([left.counts[::-1], right.counts])
    best, least = (left.top, right.top), math.inf
    for negative in _entropy_cuts(left.top, grid):
        for positive in _entropy_cuts(right.top, grid):
            if negative + positive < AFFINE_LEVELS:
                continue
            begin, end = left.top - negative, left.top + positive
            found = divergence(line, begin, end, AFFINE_LEVELS)
            if found < least:
                best, least = (negative, positive), found
    return left.edge(best[0]), right.edge(best[1])


def entropy_bound(profile: Profile) -> float:
    """Minimise the divergence over the magnitudes, with the 128 levels of a signed byte."""
    side = profile.magnitude
    best, least = side.top, math.inf
    for cut in _entropy_cuts(side.top, ENTROPY_GRID_ONE_SIDED):
        if cut >= SYMMETRIC_LEVELS:
            found = divergence(side.counts, 0, cut, SYMMETRIC_LEVELS)
            best, least = (cut, found) if found < least else (best, least)
    return side.edge(best)


def divergence(line: Doubles, begin: int, end: int, levels: int) -> float:
    """Return KL(P || Q) in nats, the criterion of TensorRT's entropy calibrator.

    P is the histogram clipped to the bins [begin, end), with what lies outside in the outermost
    bins. Q is the histogram inside, summed in ``levels`` groups of bins and spread evenly over the
    bins of each group that P occupies. A group that P occupies and Q does not counts as half a
    value in Q, so that a gap before an outlier is no obstacle. Infinite where nothing is inside.
    """
    inside = line[begin:end]
    clipped = inside.copy()
    clipped[0] += line[:begin].sum()
    clipped[-1] += line[end:].sum()
    starts = np.arange(levels) * len(inside) // levels
    sizes = np.diff(np.append(starts, len(inside)))
    group_mass = np.add.reduceat(inside, starts)
    group_occupied = np.add.reduceat((clipped > 0.0).astype(np.float64), starts)
    if not inside.any():
        return math.inf
    filled = np.where(group_mass > 0.0, group_mass, 0.5)
    spread = np.repeat(filled / np.maximum(group_occupied, 1.0), sizes)
    occupied = clipped > 0.0
    p = clipped[occupied] / clipped.sum()
    q = spread[occupied] / inside.sum()
    return float((p * np.log(p / q)).sum())


def _entropy_cuts(top: int, grid: int) -> list[int]:
    """Return cuts to try on a side, widest first."""
    return list(dict.fromkeys(-(-top * i // grid) for i in range(grid, 0, -1)))
