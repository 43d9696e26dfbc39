"""Error-compensating rounding with second-order statistics.

The rounding error of a layer's output is a quadratic form in the rounding errors of its weights.

1. The weights are rounded one input after another; the inputs that are left make up for the
   error. This is Babai's nearest plane algorithm, and equals GPTQ (Frantar et al. 2022,
   arXiv:2210.17323; Chen et al. 2025, arXiv:2507.18553, show it), without an inverse.
2. Sweeps of coordinate descent then move single integers while the form falls, which the one-way
   order leaves room for (as in QuantEase, Behdin et al. 2023, arXiv:2309.01885).

All of it on batches of independent matrices, in BLAS calls on blocks of inputs.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bmopt.calibration.sequence.fitting import damped

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_BLOCK = 64


def round_compensated(
    weight: Floats,
    scales: Floats,
    form: Floats,
    limit: int,
    *,
    sweeps: int = 2,
    kept: Mask | None = None,
) -> Floats:
    """Return whole numbers ``q`` with a small form of ``weight - scales * q``.

    Args:
        weight: ``[groups, outputs, K]``, what is to be stored.
        scales: ``[groups, outputs]``.
        form: Symmetric, positive semi-definite, ``[groups, K, K]``.
        limit: Largest magnitude of a stored number.
        sweeps: Of coordinate descent, at most.
        kept: Which numbers may be other than zero, ``[groups, outputs, K]``; those of ``weight``
            that may not are zero. All if not given.

    Returns:
        ``[groups, outputs, K]``.
    """
    matrix = damped(form)
    order = np.argsort(-np.einsum("gii->gi", matrix), axis=1, kind="stable")
    # Inputs come first here: what one step reads lies together.
    steps = (weight / scales[:, :, None]).swapaxes(1, 2)
    steps = np.ascontiguousarray(np.take_along_axis(steps, order[:, :, None], axis=1))
    most = np.broadcast_to(np.float64(limit), steps.shape)
    if kept is not None:
        most = np.take_along_axis(kept.swapaxes(1, 2), order[:, :, None], axis=1) * most
    matrix = np.take_along_axis(matrix, order[:, :, None], axis=1)
    matrix = np.take_along_axis(matrix, order[:, None, :], axis=2)
    nearest = np.rint(steps).clip(-limit, limit)
    stored = _better(steps, _rounded_in_order(steps, matrix, most), nearest, matrix)
    for _ in range(sweeps):
        if not _descend(steps, stored, matrix, most):
            break
    found = np.empty_like(stored)
    np.put_along_axis(found, order[:, :, None], stored, axis=1)
    return np.ascontiguousarray(found.swapaxes(1, 2))


def _rounded_in_order(steps: Floats, matrix: Floats, most: Floats) -> Floats:
    """Round input after input; the error of each goes to those behind it."""
    # The first input is to be rounded first, so its row of the factor reaches all others.
    upper = np.linalg.cholesky(matrix[:, ::-1, ::-1])[:, ::-1, ::-1]
    upper = upper / np.einsum("gii->gi", upper)[:, None, :]
    wanted, stored = steps.copy(), np.empty_like(steps)
    errors = np.empty_like(steps[:, :_BLOCK])
    size = steps.shape[1]
    for start in range(0, size, _BLOCK):
        stop = min(start + _BLOCK, size)
        for i in range(start, stop):
            stored[:, i] = np.rint(wanted[:, i]).clip(-most[:, i], most[:, i])
            error = steps[:, i] - stored[:, i]
            errors[:, i - start] = error
            wanted[:, i + 1 : stop] += upper[:, i, i + 1 : stop, None] * error[:, None, :]
        if stop < size:
            behind = upper[:, start:stop, stop:].swapaxes(1, 2)
            wanted[:, stop:] += behind @ errors[:, : stop - start]
    return stored


def _better(steps: Floats, mine: Floats, other: Floats, matrix: Floats) -> Floats:
    """Return of every output the numbers whose form is less; a greedy order may lose."""
    forms = []
    for stored in (mine, other):
        off = steps - stored
        forms.append(np.einsum("gko,gko->go", off, matrix @ off))
    return np.where((forms[0] <= forms[1])[:, None, :], mine, other)


def _descend(steps: Floats, stored: Floats, matrix: Floats, most: Floats) -> bool:
    """Move single numbers to where the form is least; return whether one moved."""
    gradient = matrix @ (steps - stored)
    diagonal = np.einsum("gii->gi", matrix)
    size = steps.shape[1]
    moved = False
    for start in range(0, size, _BLOCK):
        stop = min(start + _BLOCK, size)
        changes = np.zeros_like(stored[:, start:stop])
        for i in range(start, stop):
            best = stored[:, i] + gradient[:, i] / diagonal[:, i, None]
            new = np.rint(best).clip(-most[:, i], most[:, i])
            change = new - stored[:, i]
            if not change.any():
                continue
            moved = True
            stored[:, i] = new
            changes[:, i - start] = change
            gradient[:, i:stop] -= matrix[:, i:stop, i, None] * change[:, None, :]
        if stop < size:
            gradient[:, stop:] -= matrix[:, stop:, start:stop] @ changes
    return moved
