"""Single weights or blocks that go in rounds, those at the least cost first.

The cost is that of "Optimal Brain Surgeon" (B. Hassibi and D. Stork, 1992): ``w_S (Q_SS)^-1 w_S``
with ``Q`` the inverse of the form; what stays is fitted anew after every round.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from bmopt.calibration.sparsity.problem import Floats, Mask, Problem, refitted
from bmopt.core.sparsity_pattern import SparsityPattern
from bmopt.graph.sparse_masks import kept_mask

_ROUNDS = 8


def in_rounds(problem: Problem, pattern: SparsityPattern) -> Floats:
    """Return a weight without the part of its numbers or blocks that ``pattern`` says.

    Returns:
        ``[groups, outputs, K]``.
    """
    inverse = np.asarray(np.linalg.inv(problem.form), np.float64)
    weight = problem.wanted
    for number in range(1, _ROUNDS + 1):
        ratio = pattern.ratio * (1.0 - (1.0 - number / _ROUNDS) ** 3)
        part = dataclasses.replace(pattern, ratio=ratio)
        kept = _kept(problem, inverse, weight, part)
        weight = refitted(problem, weight, kept)
    return weight


def masked(problem: Problem, weight: Floats, pattern: SparsityPattern) -> Mask:
    """Return which numbers of a weight stay by their size alone."""
    squares: Floats = np.square(weight).reshape(problem.shape)
    return kept_mask(squares, pattern).reshape(weight.shape)


def _kept(problem: Problem, inverse: Floats, weight: Floats, pattern: SparsityPattern) -> Mask:
    if pattern.columns == 1:
        worth: Floats = np.square(weight) / np.einsum("gii->gi", inverse)[:, None]
    else:
        worth = _in_blocks(problem, inverse, weight, pattern.columns)
    return kept_mask(worth.reshape(problem.shape), pattern).reshape(weight.shape)


def _in_blocks(problem: Problem, inverse: Floats, weight: Floats, columns: int) -> Floats:
    """Return what numbers next to each other are worth together, the same for each of them."""
    _, _, inputs, taps = problem.shape
    worth = np.empty_like(weight)
    for first in range(0, inputs, columns):
        for tap in range(taps):
            at = np.arange(first, min(first + columns, inputs)) * taps + tap
            taken = weight[:, :, at]
            solved = np.linalg.solve(inverse[:, at[:, None], at], taken.swapaxes(1, 2))
            worth[:, :, at] = (np.einsum("gok,gko->go", taken, solved) / len(at))[:, :, None]
    return worth
