from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmopt.bench import difference
from bmopt.bench.difference import DifferenceSums, OutputDifference, Tolerance, Worst
from bmopt.core.dataset import Batch
from bmopt.core.runner import Array
from bmopt.errors import UsageError

NAN, INF = math.nan, math.inf


def compared(
    a: object, b: object, tolerance: Tolerance | None = None, batch: Batch | None = None
) -> OutputDifference:
    sums = DifferenceSums("y", tolerance or Tolerance())
    sums.update(a, b, batch)
    return sums.result()


def floats(*values: float) -> Array:
    return np.array(values, np.float32)


@given(seed=st.integers(0, 2**31), parts=st.integers(1, 5), chunk=st.integers(1, 20))
def test_batches_and_chunks_give_what_the_whole_gives(seed: int, parts: int, chunk: int) -> None:
    generator = np.random.default_rng(seed)
    b = generator.normal(size=(12, 3)).astype(np.float32)
    a = b + generator.normal(size=b.shape).astype(np.float32) * 0.01
    tolerance = Tolerance(0.005, 0.01)
    sums = DifferenceSums("y", tolerance)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(difference, "_CHUNK_ELEMENTS", chunk)
        for left, right in zip(np.array_split(a, parts), np.array_split(b, parts), strict=True):
            sums.update(left, right)
        found = sums.result()
    wide, reference = a.astype(np.float64), b.astype(np.float64)
    apart = np.abs(wide - reference)
    relative = apart / np.abs(reference)
    assert found.elements == 36
    assert found.outside == np.sum(~np.isclose(wide, reference, rtol=0.01, atol=0.005))
    assert found.max_abs == apart.max()
    assert found.mean_abs == pytest.approx(apart.mean())
    assert found.max_rel == relative.max()
    assert found.mean_rel == pytest.approx(relative.mean())
    angle = np.sum(wide * reference) / np.linalg.norm(wide) / np.linalg.norm(reference)
    assert found.cosine == pytest.approx(angle)
    power = 10 * np.log10(np.sum(reference**2) / np.sum(apart**2))
    assert found.sqnr_db == pytest.approx(power)
    assert found.worst is not None
    splits = np.array_split(np.arange(12), parts)
    row = splits[found.worst.batch][found.worst.index[0]]
    assert apart[row, found.worst.index[1]] == apart.max()


def test_equal_arrays() -> None:
    found = compared(floats(1, -INF, NAN, 0), floats(1, -INF, NAN, 0))
    assert found.is_within
    assert (found.max_abs, found.max_rel, found.cosine, found.sqnr_db) == (0.0, 0.0, 1.0, INF)
    assert (found.nan, found.inf, found.worst) == ((1, 1), (1, 1), None)


def test_b_is_the_reference() -> None:
    tolerance = Tolerance(rtol=0.1)
    assert compared(floats(9.1), floats(10.0), tolerance).is_within
    assert not compared(floats(10.0), floats(9.05), tolerance).is_within
    assert compared(floats(10.0), floats(5.0)).max_rel == 1.0


def test_the_bound_itself_is_within() -> None:
    assert compared(floats(1.5), floats(1.0), Tolerance(atol=0.5)).is_within
    assert compared(floats(1.5), floats(1.0), Tolerance(atol=0.49)).outside == 1


@pytest.mark.parametrize(("a", "b"), [(NAN, 1.0), (1.0, NAN), (INF, -INF), (INF, NAN), (INF, 1.0)])
def test_what_is_not_finite_is_never_within(a: float, b: float) -> None:
    found = compared(floats(a, 2.0), floats(b, 2.0), Tolerance(1e30, 1e30))
    assert (found.outside, found.unmatched, found.max_abs) == (1, 1, 0.0)
    assert found.sqnr_db == -INF


def test_nothing_finite_has_no_differences() -> None:
    found = compared(floats(NAN), floats(NAN))
    assert (found.max_abs, found.mean_abs, found.max_rel, found.cosine) == (None,) * 4
    assert found.is_within


def test_relative_differences_leave_out_zeros_of_b() -> None:
    found = compared(floats(5.0, 3.0), floats(0.0, 2.0))
    assert (found.max_rel, found.mean_rel) == (0.5, 0.5)
    assert compared(floats(5.0), floats(0.0)).max_rel is None


def test_the_worst_pair_is_named() -> None:
    sums = DifferenceSums("y", Tolerance())
    for shift in (0.5, 4.0, 2.0):
        b = np.zeros((2, 3), np.float32)
        a = b.copy()
        a[1, 2] = shift
        sums.update(a, b)
    assert sums.result().worst == Worst(1, (1, 2), 4.0, 0.0)


def test_cosine_of_zeros_and_of_opposites() -> None:
    assert compared(floats(0), floats(0)).cosine == 1.0
    assert compared(floats(0), floats(1)).cosine == 0.0
    assert compared(floats(1, 2), floats(-1, -2)).cosine == pytest.approx(-1.0)


def test_classes_of_scores_are_compared_without_padding() -> None:
    a = np.array([[1, 2, 3], [3, 2, 1], [1, 2, 3]], np.float32)
    b = np.array([[0, 0, 9], [0, 9, 0], [0, 9, 0]], np.float32)
    feeds = {"x": np.zeros((3, 8), np.float32)}
    assert compared(a, b, batch=Batch(feeds, 3)).argmax == pytest.approx(1 / 3)
    padded = compared(a, b, batch=Batch(feeds, 2))
    assert (padded.argmax, padded.elements) == (0.5, 9)
    assert compared(a, b).argmax is None
    assert compared(a.T[:2], b.T[:2], batch=Batch(feeds, 3)).argmax is None
    assert compared(a.astype(np.int64), b, batch=Batch(feeds, 3)).argmax is None


def test_types_may_differ_shapes_may_not() -> None:
    found = compared(np.float16([1.5]), np.float64([1.5]))
    assert (found.dtypes, found.is_within) == (("float16", "float64"), True)
    wide = np.array([2.0], ml_dtypes.bfloat16)
    assert compared(wide, floats(2.5)).max_abs == 0.5
    found = compared(np.zeros((1, 3)), np.zeros(3))
    assert (found.problem, found.is_within) == ("shape 1x3 against 3", False)
    assert compared(np.float32(1), np.zeros(1)).problem == "is no tensor"
    assert compared(np.array(1.0), np.zeros(1)).problem == "shape scalar against 1"


def test_a_problem_in_a_later_batch_stays() -> None:
    sums = DifferenceSums("y", Tolerance(atol=9.0))
    for size in (3, 2, 3):
        sums.update(np.zeros(3), np.zeros(size))
    assert sums.result().problem == "shape 3 against 2"


def test_booleans_and_wide_integers_are_numbers() -> None:
    assert compared(np.array([True, False]), np.array([True, True])).outside == 1
    assert compared(np.array([2**40]), np.array([2**40 + 1])).max_abs == 1.0


def test_text_is_equal_or_not() -> None:
    found = compared(np.array(["a", "b"], object), np.array(["a", "c"]))
    assert (found.outside, found.max_abs, found.dtypes) == (1, None, ("str", "str"))
    assert compared(np.array(["1"]), floats(1)).problem == "type str against float32"


def test_sequences_and_missing_outputs_cannot_be_compared() -> None:
    assert compared([floats(1)], [floats(1)]).problem == "is no tensor"
    assert compared(floats(1), None).problem == "is no tensor"
    assert compared(np.zeros(1, complex), np.zeros(1, complex)).problem == "type complex128"


@pytest.mark.filterwarnings("error")
def test_extremes_do_not_warn() -> None:
    found = compared(np.array([1e308, 1e300]), np.array([-1e308, 1e-300]), Tolerance(1, 1))
    assert (found.outside, found.max_abs) == (2, INF)
    assert found.cosine is None


def test_empty_outputs_are_equal() -> None:
    found = compared(np.zeros((0, 4), np.float32), np.zeros((0, 4), np.float32))
    assert (found.elements, found.is_within, found.max_abs) == (0, True, None)


@pytest.mark.parametrize("values", [(-1.0, 0.0), (0.0, INF), (NAN, 0.0)])
def test_bad_tolerances_are_refused(values: tuple[float, float]) -> None:
    with pytest.raises(UsageError, match="give a number, 0 or more"):
        Tolerance(*values)
