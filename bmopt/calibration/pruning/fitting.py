"""A weight fitted to what a product is to compute from other inputs than before."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bmopt.calibration.pruning.normal_equations import Means
from bmopt.calibration.sequence.fitting import damped

Floats = npt.NDArray[np.float64]

_DAMPINGS = (1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 1.0)
"""Weights of the distance to the weight that there is, relative to the mean of the diagonal."""


@dataclasses.dataclass(frozen=True)
class Fit:
    """A weight and how well it does.

    Attributes:
        weight: ``[groups, outputs, K]``.
        is_new: Whether it is another one than before.
        before: Mean squared error of the former weight, over all outputs.
        after: That of this one.
        signal: Mean square of what is to be computed.
    """

    weight: Floats
    is_new: bool
    before: float
    after: float
    signal: float


def fitted(weight: Floats, means: Means, halves: Sequence[Means]) -> Fit:
    """Return a weight that computes what is wanted from what is read, if one is found.

    How far it moves is what is best for the half of the samples that it was not fitted on; where
    no move is, or there is one half only, it stays.

    Args:
        weight: The weight that there is, ``[groups, outputs, K]``.
        means: Of all rows; about their means where a bias takes these up.
        halves: The same of each half.
    """
    found: Floats = weight
    damping = _best_damping(weight, halves) if len(halves) == 2 else math.inf
    if damping < math.inf:
        found = weight + _move(weight, means, damping)
    before, after = (error_of(one, means) for one in (weight, found))
    if after > before:
        found, after, damping = weight, before, math.inf
    return Fit(found, damping < math.inf, before, after, float(means.yy.sum()))


def error_of(weight: Floats, means: Means) -> float:
    """Return the mean squared error of what a weight computes, summed over the outputs."""
    bent = np.einsum("gok,gok->", weight @ means.xx, weight)
    crossed = np.einsum("gok,gok->", weight, means.yx)
    return max(float(bent - 2.0 * crossed + means.yy.sum()), 0.0)


def _move(weight: Floats, means: Means, damping: float) -> Floats:
    pull = means.yx - weight @ means.xx
    solved = np.linalg.solve(damped(means.xx, damping), pull.swapaxes(1, 2))
    found: Floats = solved.swapaxes(1, 2).astype(np.float64)
    return found


def _best_damping(weight: Floats, halves: Sequence[Means]) -> float:
    """Return the damping whose fit to each half is best on the other; infinity for none."""
    best, found = 0.0, math.inf
    for damping in _DAMPINGS:
        change = 0.0
        for mine, other in (halves, halves[::-1]):
            moved: Floats = weight + _move(weight, mine, damping)
            change += error_of(moved, other) - error_of(weight, other)
        if change < best:
            best, found = change, damping
    return found
