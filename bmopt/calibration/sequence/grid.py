"""Weights on the grid of their scales."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import numpy.typing as npt

from bmopt.core.plan import WeightQuant
from bmopt.core.runner import Array

Floats = npt.NDArray[np.float64]

_LARGEST = 127
"""Of 8-bit integers around 0; the smallest is one less than its negative."""


def limit_of(quant: WeightQuant) -> int:
    """Return the largest magnitude that a stored integer may have on both sides of 0."""
    return min(quant.limit, _LARGEST)


def on_grid(weight: Array, quant: WeightQuant) -> Array:
    """Return ``weight`` rounded to nearest as ``quant`` stores it, in float32."""
    scales = _along(np.array(quant.scales, np.float32), quant.axis, weight.ndim)
    return (_stored(weight / scales, quant) * scales).astype(np.float32)


def regridded(array: Array, quant: WeightQuant, gain: Floats, scales: Floats) -> Array:
    """Return ``gain`` times an array on the grid of ``scales``.

    What is stored stays the same where these scales are ``gain`` times those whose grid it is on.

    Args:
        array: Float32, of any rank.
        quant: How it is stored, but for its scales.
        gain: One per index of the channel axis, or a single one.
        scales: As many.
    """
    factor, after = (_along(values, quant.axis, array.ndim) for values in (gain, scales))
    stored = _stored((array * factor / after), quant)
    return (stored * after.astype(np.float32)).astype(np.float32)


def _stored(steps: Array, quant: WeightQuant) -> Array:
    """Return the nearest numbers that are stored."""
    limited = steps.clip(-quant.limit, quant.limit)
    if quant.dtype == "float8e4m3fn":
        return limited.astype(ml_dtypes.float8_e4m3fn).astype(steps.dtype)
    rounded: Array = np.rint(limited).clip(None, _LARGEST)
    return rounded


def _along(values: Array, axis: int | None, rank: int) -> Array:
    """Return values per index of ``axis``, to be broadcast against an array of ``rank``."""
    if axis is None or values.size == 1:
        return values.reshape(())
    shape = [1] * rank
    shape[axis] = -1
    return values.reshape(shape)
