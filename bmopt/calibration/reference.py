"""NumPy twins of the observing kernels: what ``bmopt._ext`` counts, written to be read.

They are the oracle of its tests and define the algorithms.

* The histogram has 2,048 equal bins on each side of zero over (-2^e, 2^e), the smallest power of
  two above every magnitude. Doubling the range merges bins in pairs, exactly.
* Zeros are counted, but kept out of the histogram: every encoding holds zero exactly, so no range
  can hurt them, while the spike a ReLU makes would dominate any criterion.
* The moving average follows Jacob et al. 2018, "Quantization and Training of Neural Networks for
  Efficient Integer-Arithmetic-Only Inference".
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

HALF_BINS = 2048
MIN_EXPONENT = -100
MOMENTUM = 0.9

Floats = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Summary:
    """Exact facts of a set of float32 values; ``low`` > ``high`` where none is finite.

    Attributes:
        counts: ``uint64 [4096]`` histogram of the finite values that are not zero.
        exponent: The histogram's range is (-2^exponent, 2^exponent).
    """

    finite: int
    zeros: int
    infinities: int
    nans: int
    low: float
    high: float
    exponent: int
    counts: npt.NDArray[np.uint64]


def summarise(values: Floats) -> Summary:
    """Return the facts of float32 values of any shape."""
    finite = values[np.isfinite(values)].reshape(-1)
    exponent = exponent_for(float(np.abs(finite).max(initial=0.0)))
    return Summary(
        finite=finite.size,
        zeros=int(np.count_nonzero(finite == 0.0)),
        infinities=int(np.count_nonzero(np.isinf(values))),
        nans=int(np.count_nonzero(np.isnan(values))),
        low=float(finite.min(initial=np.inf)) + 0.0,
        high=float(finite.max(initial=-np.inf)) + 0.0,
        exponent=exponent,
        counts=count_bins(finite, exponent),
    )


def exponent_for(magnitude: float) -> int:
    """Return the smallest e >= -100 with ``magnitude`` < 2^e; -100 for zero."""
    return max(math.frexp(magnitude)[1], MIN_EXPONENT) if magnitude else MIN_EXPONENT


def count_bins(finite: Floats, exponent: int) -> npt.NDArray[np.uint64]:
    """Count float32 values that are not zero in 4,096 bins over (-2^exponent, 2^exponent)."""
    values = finite[finite != 0.0].astype(np.float64)
    offset = np.trunc(np.abs(values) * 2.0**-exponent * HALF_BINS).astype(np.int64)
    bins = np.where(values < 0.0, HALF_BINS - 1 - offset, HALF_BINS + offset)
    return np.bincount(bins, minlength=2 * HALF_BINS).astype(np.uint64)


def double_range(counts: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return the histogram over twice the range."""
    pairs = counts.reshape(-1, 2).sum(axis=1)
    padding = np.zeros(HALF_BINS // 2, np.uint64)
    return np.concatenate([padding, pairs, padding]).astype(np.uint64)


def moving_average(extremes: Iterable[float]) -> float:
    """Return m*average + (1-m)*extreme over the groups, starting at the first; 0 for none."""
    average: float | None = None
    for extreme in extremes:
        average = extreme if average is None else MOMENTUM * average + (1.0 - MOMENTUM) * extreme
    return 0.0 if average is None else average
