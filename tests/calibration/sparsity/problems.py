"""Small problems with correlated inputs, and what can be found for them by trying everything."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from bmopt.calibration.sparsity.problem import Floats, Problem


def problem(
    seed: int, *, groups: int = 1, outputs: int = 3, inputs: int = 8, taps: int = 1
) -> tuple[Problem, Floats]:
    """Return a problem and the weight that it starts from."""
    rng = np.random.default_rng(seed)
    size = inputs * taps
    mix = rng.standard_normal((groups, 3, size))
    rows = rng.standard_normal((groups, 400, 3)) @ mix
    rows = np.maximum(rows + 0.5 * rng.standard_normal(rows.shape), 0.0)
    rows[:, :, 0] *= rng.choice([0.0, 1.0], p=[0.1, 0.9])
    weight = rng.standard_normal((groups, outputs, size))
    xx = rows.swapaxes(1, 2) @ rows / 400
    target = weight + 0.1 * rng.standard_normal(weight.shape)
    return Problem.of(weight, xx, target @ xx, taps, damping=0.01), weight


def exact(given: Problem, kept: npt.NDArray[np.bool_]) -> Floats:
    """Return the best weight with these numbers kept, by solving for every output alone."""
    found = np.zeros_like(given.wanted)
    for group, output in np.ndindex(*found.shape[:2]):
        at = np.flatnonzero(kept[group, output])
        form = given.form[group]
        right = form[at] @ given.wanted[group, output]
        found[group, output, at] = np.linalg.solve(form[at[:, None], at], right)
    return found


def best_of_all(given: Problem, count: int, width: int) -> Floats:
    """Return the least error of every output, over all ways to keep ``count`` of every cell."""
    groups, outputs, inputs, taps = given.shape
    assert taps == 1
    cells = [range(start, start + width) for start in range(0, inputs, width)]
    least = np.full((groups, outputs), np.inf)
    for picks in itertools.product(*(itertools.combinations(cell, count) for cell in cells)):
        kept = np.zeros(given.wanted.shape, np.bool_)
        kept[:, :, [place for pick in picks for place in pick]] = True
        least = np.minimum(least, given.errors(exact(given, kept)))
    return least
