"""Scales of a weight that make its rounding error small, rather than its largest value fit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_SHARES = (1.0, 0.96, 0.92, 0.88, 0.84, 0.8, 0.75, 0.7, 0.6, 0.5)
_SMALLEST = float(np.finfo(np.float32).tiny)


def best_scales(weight: Floats, importance: Floats, limit: int, *, per_channel: bool) -> Floats:
    """Return scales whose rounding error, weighted by importance, is least.

    Shares of the largest magnitude are tried; 1 wins a tie.

    Args:
        weight: ``[groups, outputs, K]``.
        importance: Mean square of what each input is multiplied by, ``[groups, K]``.
        limit: Largest magnitude of a stored number.
        per_channel: Every output has a scale of its own; otherwise all have one.

    Returns:
        ``[groups, outputs]``; float32 numbers.
    """
    largest = np.abs(weight).max(axis=2)
    if not per_channel:
        largest = np.full_like(largest, largest.max(initial=0.0))
    full = np.where(largest > _SMALLEST * limit, largest / limit, 1.0)
    best, least = full, np.full(full.shape, np.inf)
    for share in _SHARES:
        scales = (share * full).astype(np.float32).astype(np.float64)
        errors = _errors(weight, scales, importance, limit)
        if not per_channel:
            errors = np.full_like(errors, errors.sum())
        better = errors < least * (1 - 1e-9)
        best, least = np.where(better, scales, best), np.where(better, errors, least)
    return best


def _errors(weight: Floats, scales: Floats, importance: Floats, limit: int) -> Floats:
    steps = weight / scales[:, :, None]
    off = (steps - np.rint(steps).clip(-limit, limit)) * scales[:, :, None]
    found: Floats = np.einsum("gok,gk->go", off * off, importance)
    return found
