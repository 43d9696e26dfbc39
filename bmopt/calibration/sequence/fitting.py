"""Weights fitted to what a layer is to compute, from second-order statistics in closed form.

What a product with weight ``w`` computes from the float activations ``t``, another one is to
compute from the quantised ones ``x``. The squared difference is a quadratic form; damping pulls
its minimum to ``w``, and cross-validation tells how far.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_SMALLEST = 1e-30
"""A mean square below this is none; float32 holds what is left of it with damping."""
_DAMPING = 0.01
_DAMPINGS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


def damped(form: Floats, damping: float = _DAMPING) -> Floats:
    """Return ``form`` with that share of its mean diagonal added to its diagonal.

    Inputs that never vary get a diagonal of one more mean, so that the result is positive
    definite.

    Args:
        form: Symmetric, positive semi-definite, ``[groups, K, K]``.
        damping: The share.
    """
    diagonal = np.einsum("gii->gi", form)
    mean = diagonal.mean(axis=1, keepdims=True)
    mean = np.where(mean > _SMALLEST, mean, 1.0)
    found = form.copy()
    view = np.einsum("gii->gi", found)
    view += damping * mean + np.where(diagonal <= 1e-12 * mean, mean, 0.0)
    return found


def least_squares(weight: Floats, xx: Floats, tx: Floats, *, damping: float = _DAMPING) -> Floats:
    """Return the weight that computes from ``x`` what ``weight`` does from ``t``, nearly.

    Args:
        weight: ``[groups, outputs, K]``.
        xx: Mean of ``x^T x``, ``[groups, K, K]``.
        tx: Mean of ``t^T x``, likewise.
        damping: Weight of the distance to ``weight``, relative to the mean of ``xx``'s diagonal.
    """
    wanted = weight @ (tx - xx)
    solved = np.linalg.solve(damped(xx, damping), wanted.swapaxes(1, 2))
    found: Floats = weight + solved.swapaxes(1, 2)
    return found


def choose_damping(weight: Floats, halves: Sequence[tuple[Floats, Floats]]) -> float:
    """Return the damping whose fit to one half of the samples is best on the other.

    Infinity where no fit is better than ``weight`` itself, or there is one half only. The error
    is taken to have one minimum: from the middle it is followed downwards.

    Args:
        weight: ``[groups, outputs, K]``.
        halves: ``xx`` and ``tx`` of each half, as ``least_squares`` takes them.
    """
    if len(halves) < 2:
        return math.inf
    trial = _Trial(weight, halves)
    place = len(_DAMPINGS) // 2
    while True:
        near = [i for i in (place, place + 1, place - 1) if 0 <= i < len(_DAMPINGS)]
        best = min(near, key=trial.change)
        if best == place:
            return _DAMPINGS[place] if trial.change(place) < 0 else math.inf
        place = best


class _Trial:
    """Errors of fits to each of two halves on the other one."""

    def __init__(self, weight: Floats, halves: Sequence[tuple[Floats, Floats]]) -> None:
        self._weight = weight
        self._halves = halves
        # How the error falls where the weight moves, but for a factor: zero at its minimum.
        self._pulls = [weight @ (tx - xx) for xx, tx in halves]
        self._changes: dict[int, float] = {}

    def change(self, place: int) -> float:
        """Return how the mean squared error changes with a damping; what falls is negative."""
        if place not in self._changes:
            self._changes[place] = sum(self._crossed(_DAMPINGS[place]))
        return self._changes[place]

    def _crossed(self, damping: float) -> list[float]:
        changes = []
        for mine, other in ((0, 1), (1, 0)):
            form = damped(self._halves[mine][0], damping).astype(np.float32)
            pull = self._pulls[mine].swapaxes(1, 2).astype(np.float32)
            try:
                solved = np.linalg.solve(form, pull)
            except np.linalg.LinAlgError:
                return [math.inf]  # too little damping for float32
            moved = solved.swapaxes(1, 2).astype(np.float64)
            bent = np.vdot(moved, moved @ self._halves[other][0])
            changes.append(float(bent - 2 * np.vdot(moved, self._pulls[other])))
        return changes
