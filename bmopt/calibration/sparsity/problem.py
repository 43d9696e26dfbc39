"""What a sparse weight is to compute, as a quadratic form."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from bmopt.calibration.sequence.fitting import damped

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_STEPS = 200
_ROUGH_STEPS = 40
_FEWEST_STEPS = 20
_WORK = 1e12
"""Multiply-adds that a fit may take, about: large layers get fewer steps, though not too few."""
_CLOSE = 1e-9
ROUGHLY = 1e-5
"""How close is enough where the weight is fitted again later, or only compared."""


@dataclasses.dataclass(frozen=True)
class Problem:
    """A weight that is wanted, and what it costs to be off.

    Attributes:
        wanted: The best weight without zeros, ``[groups, outputs, K]``.
        form: Symmetric, positive definite, ``[groups, K, K]``.
        taps: K is that many times the number of channels, which vary slower.
    """

    wanted: Floats
    form: Floats
    taps: int

    @classmethod
    def of(cls, weight: Floats, xx: Floats, yx: Floats, taps: int, *, damping: float) -> Problem:
        """Return how to compute ``y`` from ``x`` with a weight that is near another one.

        Args:
            weight: ``[groups, outputs, K]``.
            xx: Mean of ``x^T x``, ``[groups, K, K]``.
            yx: Mean of ``y^T x``, ``[groups, outputs, K]``.
            taps: As the attribute.
            damping: Weight of the distance, as a share of the mean of ``xx``'s diagonal.
        """
        form = damped(xx, damping)
        moved = np.linalg.solve(form, (yx - weight @ xx).swapaxes(1, 2)).swapaxes(1, 2)
        return cls(weight + moved, form, taps)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Groups, outputs, inputs, taps."""
        groups, outputs, size = self.wanted.shape
        return groups, outputs, size // self.taps, self.taps

    def pull(self, weight: Floats) -> Floats:
        """Return half the negative gradient at ``weight``."""
        found: Floats = (self.wanted - weight) @ self.form
        return found

    def errors(self, weight: Floats) -> Floats:
        """Return the form of what ``weight`` is off, ``[groups, outputs]``."""
        found: Floats = np.einsum("gok,gok->go", self.pull(weight), self.wanted - weight)
        return found


def refitted(problem: Problem, start: Floats, kept: Mask, *, close: float = _CLOSE) -> Floats:
    """Return the best weight whose numbers are zero where ``kept`` is not.

    All outputs at once by conjugate gradients, scaled by the diagonal (M. Hestenes and E. Stiefel,
    1952); the error never grows from that of ``start``.

    Args:
        problem: What it is to compute.
        start: ``[groups, outputs, K]``; numbers that are not kept do not count.
        kept: Of the same shape.
        close: Which part of what there is to gain may be left, about.
    """
    weight = np.where(kept, start, 0.0)
    scale = 1.0 / np.einsum("gii->gi", problem.form)[:, None]
    rest = np.where(kept, problem.pull(weight), 0.0)
    step = rest * scale
    size = np.einsum("gok,gok->go", rest, step)
    enough = close * np.maximum(size, 1e-300)
    work = weight.size * weight.shape[2]
    most = _STEPS if close < ROUGHLY else _ROUGH_STEPS
    for _ in range(min(most, max(_FEWEST_STEPS, int(_WORK / max(work, 1))))):
        if np.all(size <= enough):
            break
        bent = np.where(kept, step @ problem.form, 0.0)
        length = size / np.maximum(np.einsum("gok,gok->go", step, bent), 1e-300)
        length = np.where(size > enough, length, 0.0)[:, :, None]
        weight += length * step
        rest -= length * bent
        scaled = rest * scale
        before, size = size, np.einsum("gok,gok->go", rest, scaled)
        step = scaled + (size / np.maximum(before, 1e-300))[:, :, None] * step
    return weight
