"""A sparse weight that computes nearly what a dense one does."""

from __future__ import annotations

import numpy as np

from bmopt.calibration.sparsity.cells import Cells, improved, in_one_pass
from bmopt.calibration.sparsity.gradual import in_rounds, masked
from bmopt.calibration.sparsity.problem import Floats, Problem, refitted
from bmopt.core.sparsity_pattern import SparsityPattern


def compensated(problem: Problem, weight: Floats, pattern: SparsityPattern) -> Floats:
    """Return a sparse weight whose error is no larger than that of dropping small numbers.

    Two ways are gone, and of N:M the better one is taken of every output.

    Args:
        problem: What it is to compute.
        weight: That is made sparse, ``[groups, outputs, K]``.
        pattern: Where zeros are to be.
    """
    small = masked(problem, weight, pattern)
    by_size = refitted(problem, weight, small)
    if not pattern.of:
        found = in_rounds(problem, pattern)
        is_better = problem.errors(found).sum() < problem.errors(by_size).sum()
        return found if is_better else by_size
    cells = Cells.of(problem, pattern.kept, pattern.of)
    by_size = improved(problem, by_size, cells)
    found = improved(problem, in_one_pass(problem, cells), cells)
    better = problem.errors(found) < problem.errors(by_size)
    return np.where(better[:, :, None], found, by_size)
