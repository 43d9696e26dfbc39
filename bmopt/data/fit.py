"""Fit an array to a model's input, or say in one line why it does not fit."""

from __future__ import annotations

from collections.abc import Sequence

import ml_dtypes
import numpy as np
import numpy.typing as npt

from bmopt.core.dataset import InputSpec
from bmopt.core.runner import Array
from bmopt.errors import DataError

_BOOL, _INT, _FLOAT = 0, 1, 2


def numpy_dtype(name: str) -> np.dtype[np.generic]:
    """Return the NumPy type called ``name``, those of ml_dtypes included.

    Raises:
        DataError: There is none.
    """
    try:
        # ml_dtypes adds its types to NumPy's names only once its scalar type is touched.
        return np.dtype(getattr(ml_dtypes, name, name))
    except TypeError as error:
        raise DataError(f"{name!r} is not a NumPy type") from error


def is_float(dtype: npt.DTypeLike) -> bool:
    """Return whether ``dtype`` is a floating-point type, bfloat16 and float8 included."""
    return _level(np.dtype(dtype)) == _FLOAT


def shape_text(shape: Sequence[int | str | None]) -> str:
    """Return a shape as people write it, with ``?`` for an axis without a name."""
    return "[" + ", ".join("?" if n is None else str(n) for n in shape) + "]"


def shape_fits(shape: Sequence[int], declared: Sequence[int | str | None] | None) -> bool:
    """Return whether ``shape`` is possible for an input of the declared shape."""
    if declared is None:
        return True
    pairs = zip(shape, declared, strict=False)
    return len(shape) == len(declared) and all(
        not isinstance(want, int) or have == want for have, want in pairs
    )


def require_castable(dtype: np.dtype[np.generic], spec: InputSpec, where: str) -> None:
    """Raise ``DataError`` unless some array of ``dtype`` can be cast to the input's type.

    Booleans may become integers or floats, integers floats, floats other floats; values are
    checked by ``fit``. Floats never become integers, and strings and objects never anything.
    """
    have, want = _level(dtype), _level(numpy_dtype(spec.dtype))
    if have is None or want is None or have > want:
        raise DataError(
            f"{where}: is {dtype.name}, but input {spec.name!r} wants {spec.dtype}; "
            "convert the samples, or force it with dtype="
        )


def fit(array: Array, spec: InputSpec, where: str, *, finite: bool = False) -> Array:
    """Return ``array`` in the input's type after checking its shape and values.

    Args:
        array: Feed of one inference.
        spec: The input.
        where: What to call the array in an error.
        finite: Refuse infinities too. They are legitimate in an attention mask, never in images.

    Raises:
        DataError: Wrong shape, a cast that would lose something, or NaN.
    """
    if not shape_fits(array.shape, spec.shape):
        raise DataError(
            f"{where}: gives {shape_text(array.shape)}, but input {spec.name!r} wants "
            f"{shape_text(spec.shape or ())}"
        )
    result = _cast(array, spec, where)
    if is_float(result.dtype):
        _require_numbers(result, where, finite=finite)
    return result


def _level(dtype: np.dtype[np.generic]) -> int | None:
    if dtype.kind == "b":
        return _BOOL
    if dtype.kind in "iu" or dtype.name.startswith(("int", "uint")):
        return _INT
    if dtype.kind == "f" or dtype.name.startswith(("bfloat", "float")):
        return _FLOAT
    return None


def _cast(array: Array, spec: InputSpec, where: str) -> Array:
    target = numpy_dtype(spec.dtype)
    if array.dtype == target:
        return array
    require_castable(array.dtype, spec, where)
    with np.errstate(over="ignore", invalid="ignore"):
        result = array.astype(target)
    if is_float(array.dtype):
        kept = np.isinf(result) == np.isinf(array)
    else:
        kept = result.astype(array.dtype) == array
    if not kept.all():
        value = array[~kept].flat[0]
        raise DataError(
            f"{where}: the value {value} ({array.dtype.name}) does not fit into the "
            f"{spec.dtype} of input {spec.name!r}"
        )
    return result


def _require_numbers(array: Array, where: str, *, finite: bool) -> None:
    bad = ~np.isfinite(array) if finite else np.isnan(array)
    if bad.any():
        count = int(np.count_nonzero(bad))
        kind = "NaN" if np.isnan(array).any() else "infinite"
        raise DataError(f"{where}: {count} of {array.size} values are {kind}; clean the samples")
