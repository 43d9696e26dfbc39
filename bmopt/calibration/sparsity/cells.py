"""N of every M: which, such that what stays makes up best for what goes.

1. Cell after cell (M inputs at one tap), the inputs that are left make up for what goes, as in
   E. Frantar and D. Alistarh, "SparseGPT" (2023, arXiv:2301.00774); here every choice of what may
   go together is tried, by its own part of the inverse ("Optimal Brain Compression", 2022).
2. Sweeps then choose each cell anew, the other ones given, while the error falls.
"""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import numpy.typing as npt

from bmopt.calibration.sparsity.problem import ROUGHLY, Floats, Problem, refitted

Ints = npt.NDArray[np.intp]

_MOST_CHOICES = 100
_SWEEPS = 6
_WORTH_IT = 1e-4
"""Share of the error by which a further sweep has to lower it."""


@dataclasses.dataclass(frozen=True)
class Cells:
    """Where the cells of a weight are.

    Attributes:
        places: Inputs of every cell, ``[cells, M]``.
        kept: How many of them stay.
    """

    places: Ints
    kept: int

    @classmethod
    def of(cls, problem: Problem, kept: int, of: int) -> Cells:
        """Return the cells of ``of`` channels that lie next to each other, at every tap."""
        _, _, inputs, taps = problem.shape
        places = np.arange(inputs * taps).reshape(inputs // of, of, taps).swapaxes(1, 2)
        return cls(np.ascontiguousarray(places).reshape(-1, of), kept)

    @property
    def width(self) -> int:
        """How many inputs a cell has."""
        return int(self.places.shape[1])

    @property
    def can_enumerate(self) -> bool:
        """Whether there are few enough choices to try all of them."""
        return math.comb(self.width, self.kept) <= _MOST_CHOICES

    def choices(self, count: int) -> Ints:
        """Return all ways to take ``count`` inputs of a cell, ``[choices, count]``."""
        return np.array(list(itertools.combinations(range(self.width), count)), np.intp)


def in_one_pass(problem: Problem, cells: Cells) -> Floats:
    """Return a sparse weight whose cells were decided one after the other.

    Returns:
        ``[groups, outputs, K]``.
    """
    order = cells.places.reshape(-1)
    inverse = np.linalg.inv(problem.form)[:, order[:, None], order]
    upper = np.linalg.cholesky((inverse + inverse.swapaxes(1, 2)) / 2).swapaxes(1, 2)
    weight = problem.wanted[:, :, order]
    width, going = cells.width, cells.width - cells.kept
    for start in range(0, len(order), width):
        stop = start + width
        rows = upper[:, start:stop, start:]
        ahead = rows[:, :, :width].swapaxes(1, 2) @ rows
        own = weight[:, :, start:stop]
        gone = _least(own, ahead[:, :, :width], cells, going)
        put = _solved(own, ahead[:, :, :width], gone)
        weight[:, :, start:] -= put @ ahead
        np.put_along_axis(weight[:, :, start:stop], gone, 0.0, axis=2)
    found = np.empty_like(weight)
    found[:, :, order] = weight
    return found


def _least(own: Floats, inverse: Floats, cells: Cells, going: int) -> Ints:
    """Return what goes of a cell at the least cost, ``[groups, outputs, going]``."""
    if not cells.can_enumerate:
        worth = own * own / np.einsum("gii->gi", inverse)[:, None]
        order: Ints = np.argsort(worth, axis=2, kind="stable")
        return order[:, :, :going]
    choices = cells.choices(going)
    parts = np.linalg.inv(inverse[:, choices[:, :, None], choices[:, None, :]])
    taken = own[:, :, choices]
    costs = np.einsum("gosr,gsrq,gosq->gos", taken, parts, taken, optimize=True)
    found: Ints = choices[np.argmin(costs, axis=2)]
    return found


def _solved(own: Floats, inverse: Floats, gone: Ints) -> Floats:
    """Return how hard each input of a cell is pulled to zero, zero for those that stay."""
    groups = np.arange(own.shape[0])[:, None, None, None]
    parts = inverse[groups, gone[:, :, :, None], gone[:, :, None, :]]
    taken = np.take_along_axis(own, gone, axis=2)
    put = np.zeros_like(own)
    np.put_along_axis(put, gone, np.linalg.solve(parts, taken[..., None])[..., 0], axis=2)
    return put


def improved(problem: Problem, start: Floats, cells: Cells) -> Floats:
    """Return a weight at least as good as ``start``, sparse as well, every number fitted.

    Args:
        problem: What it is to compute.
        start: ``[groups, outputs, K]``, with at most ``cells.kept`` numbers in every cell.
        cells: What may stay of what.
    """
    if not cells.can_enumerate:
        return refitted(problem, start, start != 0)
    weight = refitted(problem, start, start != 0, close=ROUGHLY)
    error = problem.errors(weight).sum()
    choices = cells.choices(cells.kept)
    for _ in range(_SWEEPS):
        swept = _swept(problem, weight, cells.places, choices)
        swept = refitted(problem, swept, swept != 0, close=ROUGHLY)
        before, error = error, problem.errors(swept).sum()
        if error < before:
            weight = swept
        if error >= before * (1.0 - _WORTH_IT):
            break
    return refitted(problem, weight, weight != 0)


def _swept(problem: Problem, start: Floats, places: Ints, choices: Ints) -> Floats:
    """Choose and fit one cell after the other, the rest of the weight given."""
    weight = start.copy()
    pull = problem.pull(weight)
    for place in places:
        square = problem.form[:, place[:, None], place]
        parts = np.linalg.inv(square[:, choices[:, :, None], choices[:, None, :]])
        alone = pull[:, :, place] + weight[:, :, place] @ square
        taken = alone[:, :, choices]
        fits = np.einsum("gsrq,gosq->gosr", parts, taken, optimize=True)
        best = np.argmax(np.einsum("gosr,gosr->gos", fits, taken), axis=2)
        own = np.zeros_like(alone)
        fit = np.take_along_axis(fits, best[:, :, None, None], axis=2)[:, :, 0]
        np.put_along_axis(own, choices[best], fit, axis=2)
        change = own - weight[:, :, place]
        weight[:, :, place] = own
        pull -= change @ problem.form[:, place]
    return weight
