"""Casts that lose nothing pass; the others say what was lost."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from bmopt.core.dataset import InputSpec
from bmopt.core.runner import Array
from bmopt.data.fit import fit
from bmopt.errors import DataError


def spec(dtype: str, *shape: int | str | None) -> InputSpec:
    return InputSpec("x", dtype, shape)


@pytest.mark.parametrize(
    ("array", "dtype"),
    [
        (np.array([0.1, 2.0]), "float32"),
        (np.array([0.1, 2.0], np.float32), "float16"),
        (np.array([0.5, 2.0], np.float32), "bfloat16"),
        (np.array([1.0, np.inf]), "float32"),
        (np.array([1, 2], np.int64), "int32"),
        (np.array([1, 2], np.int64), "float32"),
        (np.array([True, False]), "int64"),
        (np.array([1.5, 2.5], ">f4"), "float32"),
    ],
)
def test_casts_what_keeps_its_value(array: Array, dtype: str) -> None:
    result = fit(array, spec(dtype, "N"), "here")
    assert result.dtype.name == dtype
    assert np.allclose(result.astype(np.float64), array.astype(np.float64), rtol=1e-3)


def test_does_not_copy_what_fits() -> None:
    array = np.zeros((2, 3), np.float32)
    assert fit(array, spec("float32", "N", 3), "here") is array
    assert fit(array, InputSpec("x", "float32", None), "here") is array


@pytest.mark.parametrize(
    ("array", "dtype", "message"),
    [
        (np.array([1.0]), "int64", "here: is float64, but input 'x' wants int64"),
        (np.array([1]), "bool", "is int64, but input 'x' wants bool"),
        (np.array(["a"]), "float32", "wants float32"),
        (np.array([300]), "uint8", "the value 300 (int64) does not fit into the uint8"),
        (np.array([2**24 + 1]), "float32", "the value 16777217"),
        (np.array([1e300]), "float32", "does not fit into the float32"),
        (np.array([70000.0], np.float32), "float16", "does not fit into the float16"),
        (np.array([np.nan, 1.0]), "float32", "1 of 2 values are NaN"),
        (np.array([np.nan], ml_dtypes.bfloat16), "bfloat16", "1 of 1 values are NaN"),
        (np.array([[1.0]]), "float32", "gives [1, 1], but input 'x' wants [N]"),
        (np.array([1.0]), "nonsense", "'nonsense' is not a NumPy type"),
    ],
)
def test_refuses_in_one_line(array: Array, dtype: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        fit(array, spec(dtype, "N"), "here")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_infinity_is_refused_only_where_values_must_be_finite() -> None:
    mask = np.array([0.0, -np.inf], np.float32)
    assert fit(mask, spec("float32", 2), "here") is mask
    with pytest.raises(DataError, match="1 of 2 values are infinite"):
        fit(mask, spec("float32", 2), "here", finite=True)
