from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest

from bmopt.core.runner import Array
from bmopt.optimizer.tolerance import Tolerance, difference_of, first_difference

F32 = np.float32


def _differ(want: Array, got: Array) -> bool:
    return difference_of("t", want, got, Tolerance()) is not None


def test_rounding_of_large_terms_is_allowed_on_small_results() -> None:
    want = np.array([1000.0, 1e-3], F32)
    assert not _differ(want, want + F32(0.01))
    assert _differ(want, want + F32(1.0))


def test_a_tensor_is_held_to_its_own_magnitude() -> None:
    assert _differ(np.array([1e-2], F32), np.array([1.01e-2], F32))
    assert not _differ(np.array([1e-2], F32), np.array([1.0001e-2], F32))


def test_small_probabilities_may_be_off_by_what_rounding_before_them_leaves() -> None:
    assert not _differ(np.array([4e-4], F32), np.array([4.005e-4], F32))
    assert _differ(np.array([4e-4], F32), np.array([4.1e-4], F32))


def test_nan_and_infinity_must_stand_in_the_same_places() -> None:
    want = np.array([np.nan, np.inf, -np.inf, 1], F32)
    assert not _differ(want, want.copy())
    for place, value in ((0, 0.0), (1, -np.inf), (2, 5.0), (3, np.nan), (3, np.inf)):
        got = want.copy()
        got[place] = value
        found = difference_of("t", want, got, Tolerance())
        assert found is not None
        assert math.isinf(found.max_abs)
        assert "NaN" in str(found)


def test_errors_are_reported_in_numbers() -> None:
    found = difference_of("t", np.array([4.0, 1], F32), np.array([4.0, 3], F32), Tolerance())
    assert found is not None
    assert (found.tensor, found.max_abs, found.max_rel) == ("t", 2.0, 0.5)


@pytest.mark.parametrize("kind", [np.float16, ml_dtypes.bfloat16])
def test_half_precision_has_its_own_tolerance(kind: type) -> None:
    want: Array = np.linspace(1, 2, 50).astype(kind)
    assert not _differ(want, (want.astype(F32) * 1.005).astype(kind))
    assert _differ(want, (want.astype(F32) * 1.1).astype(kind))


def test_quantised_values_may_be_one_step_apart() -> None:
    want = np.arange(10, dtype=np.uint8)
    assert not _differ(want, want + np.uint8(1))
    assert _differ(want, want + np.uint8(2))


def test_indices_may_flip_once_in_a_thousand() -> None:
    want = np.arange(2000, dtype=np.int64)
    got = want.copy()
    got[[3, 7]] += 5
    assert not _differ(want, got)
    got[9] += 5
    assert _differ(want, got)
    assert _differ(np.array([3]), np.array([4]))
    assert _differ(np.array([True]), np.array([False]))


def test_shape_type_and_absence_are_differences() -> None:
    one = np.ones(2, F32)
    assert "shape [1, 2]" in str(difference_of("t", one, one[None], Tolerance()))
    assert "type float64" in str(difference_of("t", one, one.astype(np.float64), Tolerance()))
    assert "missing" in str(first_difference({"t": one}, {}, Tolerance()))
    assert first_difference({"t": one}, {"t": one, "more": one}, Tolerance()) is None


def test_empty_complex_and_text_tensors() -> None:
    assert not _differ(np.zeros((0, 3), F32), np.zeros((0, 3), F32))
    assert not _differ(np.array([1 + 2j]), np.array([1 + 2j]))
    assert _differ(np.array([1 + 2j]), np.array([1 - 2j]))
    assert not _differ(np.array(["a"], object), np.array(["a"], object))
    assert _differ(np.array(["a"], object), np.array(["b"], object))
