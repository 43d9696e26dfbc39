"""When two results count as equal.

Floats: ``|got - want| <= relative * (|want| + max|want|) + absolute``. The second term is what
rounding in a sum of large terms leaves on a small result; the third what rounding before a
sigmoid or softmax leaves on a small probability, so a tensor that is small throughout (all below
``absolute``) is not told apart. A half-precision tensor has its own ``relative``. NaNs and
infinities must stand in the same places. 8-bit integers may be one step apart, because a
quantised value on the edge of a step falls either way under rounding. Other integers and
booleans (arg-max, comparisons) must be equal, but for one element in a thousand that may flip on
a near tie. Anything else must be equal.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from bmopt.core.runner import Array
from bmopt.optimizer.pass_log import TensorDifference

_FLIPS_ALLOWED = 1e-3
_HALF_BYTES = 2


@dataclasses.dataclass(frozen=True)
class Tolerance:
    """How far apart results may be, relative to a tensor's magnitude.

    Attributes:
        relative: For float32, float64 and complex tensors.
        half_relative: For float16, bfloat16 and smaller floats.
        absolute: For all of them.
    """

    relative: float = 1e-4
    half_relative: float = 1e-2
    absolute: float = 1e-6


def first_difference(
    want: Mapping[str, Array], got: Mapping[str, Array], tolerance: Tolerance
) -> TensorDifference | None:
    """Return the first tensor of ``want``, in its order, that ``got`` has differently."""
    for name, reference in want.items():
        if name not in got:
            return TensorDifference(name, math.inf, math.inf, "is missing")
        found = difference_of(name, reference, got[name], tolerance)
        if found is not None:
            return found
    return None


def difference_of(
    name: str, want: Array, got: Array, tolerance: Tolerance
) -> TensorDifference | None:
    """Return how far ``got`` is off, None where it is equal within ``tolerance``."""
    want, got = np.asarray(want), np.asarray(got)
    if want.dtype != got.dtype:
        return _other(name, f"type {got.dtype} instead of {want.dtype}")
    if want.shape != got.shape:
        return _other(name, f"shape {list(got.shape)} instead of {list(want.shape)}")
    if want.dtype.kind in "biu":
        return _integer_difference(name, want, got)
    if want.dtype.kind in "fcV":
        half = want.dtype.itemsize <= _HALF_BYTES
        relative = tolerance.half_relative if half else tolerance.relative
        wide = np.complex128 if want.dtype.kind == "c" else np.float64
        limits = (relative, tolerance.absolute)
        return _float_difference(name, want.astype(wide), got.astype(wide), *limits)
    same = all(np.array_equal(a, b) for a, b in zip(want.flat, got.flat, strict=True))
    return None if same else _other(name, "values differ")


def _other(name: str, detail: str) -> TensorDifference:
    return TensorDifference(name, math.inf, math.inf, detail)


def _integer_difference(name: str, want: Array, got: Array) -> TensorDifference | None:
    step = 1 if want.dtype.itemsize == 1 and want.dtype.kind != "b" else 0
    apart = np.abs(want.astype(np.float64) - got.astype(np.float64))
    if np.count_nonzero(apart > step) <= _FLIPS_ALLOWED * apart.size:
        return None
    return _numeric(name, apart, np.abs(want.astype(np.float64)))


def _float_difference(
    name: str, want: Array, got: Array, relative: float, absolute: float
) -> TensorDifference | None:
    finite = np.isfinite(want)
    if not np.array_equal(want[~finite], got[~finite], equal_nan=True) or not np.all(
        np.isfinite(got[finite])
    ):
        return _other(name, "NaN or infinity in other places")
    magnitude, apart = np.abs(want[finite]), np.abs(want[finite] - got[finite])
    largest = magnitude.max(initial=0.0)
    if np.all(apart <= relative * (magnitude + largest) + absolute):
        return None
    return _numeric(name, apart, magnitude)


def _numeric(name: str, apart: Array, magnitude: Array) -> TensorDifference:
    worst, largest = float(apart.max(initial=0.0)), float(magnitude.max(initial=0.0))
    return TensorDifference(name, worst, worst / largest if largest else math.inf)
