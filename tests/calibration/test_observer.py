from __future__ import annotations

import numpy as np
import pytest

from bmopt.calibration.observer import Observer
from bmopt.core.ranges import METHODS, TensorRange
from bmopt.errors import CalibrationError
from tests.calibration.float_samples import draw_floats


def test_range_has_every_method_both_ways() -> None:
    observer = Observer()
    observer.update(draw_floats(0, 5000).reshape(5, 10, 100))
    entry = observer.range()
    assert set(entry.affine) == set(METHODS) == set(entry.symmetric)
    assert all(i.low == -i.high for i in entry.symmetric.values())
    assert entry.count == 5000
    assert not entry.is_zero


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_other_floats_are_converted(dtype: str) -> None:
    observer = Observer()
    observer.update(np.array([-1.5, 0.25, 3.0], dtype))
    entry = observer.range()
    assert (entry.low, entry.high, entry.count) == (-1.5, 3.0, 3)


def test_strided_and_scalar_arrays_are_accepted() -> None:
    observer = Observer()
    observer.update(np.arange(12, dtype=np.float32).reshape(3, 4).T[::2])
    observer.update(np.array(-7.0, np.float32))
    entry = observer.range()
    assert (entry.low, entry.high, entry.count) == (-7.0, 10.0, 7)


def test_infinities_are_counted_and_ignored() -> None:
    observer = Observer()
    observer.update(np.array([-np.inf, 0.5, np.inf, -np.inf], np.float32))
    entry = observer.range()
    assert (entry.low, entry.high, entry.infinities) == (0.5, 0.5, 3)
    assert not observer.has_nan


def test_nan_is_noticed() -> None:
    observer = Observer()
    observer.update(np.array([1.0, np.nan], np.float32))
    assert observer.has_nan


def test_tensor_that_never_left_zero_says_so() -> None:
    observer = Observer()
    observer.update(np.array([0.0, -0.0], np.float32))
    assert observer.range().is_zero


def test_merged_observers_equal_one() -> None:
    batches = [draw_floats(seed, 600).reshape(2, 3, 100) for seed in range(6)]
    whole, left, right = (Observer(channel_axis=1) for _ in range(3))
    for index, batch in enumerate(batches):
        for observer in (whole, left if index < 2 else right):
            observer.update(batch)
            observer.close_group()
    left.merge(right)
    expected, found = whole.range(), left.range()
    assert_same_ranges(found, expected)
    assert found.channels is not None
    assert expected.channels is not None
    for channel, wanted in zip(found.channels.ranges, expected.channels.ranges, strict=True):
        assert_same_ranges(channel, wanted)


def assert_same_ranges(found: TensorRange, expected: TensorRange) -> None:
    for method in METHODS:
        got, want = found.affine[method], expected.affine[method]
        assert (got.low, got.high) == pytest.approx((want.low, want.high), rel=1e-12)


def test_channels_are_observed_by_themselves() -> None:
    values = draw_floats(3, 4 * 5 * 60).reshape(4, 5, 60)
    whole = Observer(channel_axis=1)
    for batch in np.split(values, 2):
        whole.update(batch)
        whole.close_group()
    channels = whole.range().channels
    assert channels is not None
    assert channels.axis == 1
    for index, found in enumerate(channels.ranges):
        alone = Observer()
        for batch in np.split(values, 2):
            alone.update(batch[:, index])
            alone.close_group()
        assert found == alone.range()


def test_channels_skip_infinities() -> None:
    observer = Observer(channel_axis=-1)
    observer.update(np.array([[1.0, np.inf], [-2.0, 3.0]], np.float32))
    channels = observer.range().channels
    assert channels is not None
    assert [(c.low, c.high, c.infinities) for c in channels.ranges] == [(-2, 1, 0), (3, 3, 1)]


def test_channel_axis_must_keep_its_length() -> None:
    observer = Observer(channel_axis=1)
    observer.update(np.zeros((2, 3), np.float32))
    with pytest.raises(CalibrationError, match="3 channels in one batch and axis 1 has 4"):
        observer.update(np.zeros((2, 4), np.float32))


def test_missing_channel_axis_is_refused() -> None:
    with pytest.raises(CalibrationError, match="axis 2 does not exist in an array of rank 2"):
        Observer(channel_axis=2).update(np.zeros((2, 3), np.float32))


@pytest.mark.parametrize("percentile", [0.0, -1.0, 100.5, float("nan")])
def test_percentile_outside_its_interval_is_refused(percentile: float) -> None:
    with pytest.raises(CalibrationError, match="must lie in"):
        Observer(percentile=percentile)
