from __future__ import annotations

import math

import numpy as np
import pytest

from bmopt.calibration.sequence.likeness import ChannelFit


def batches(axis: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return pairs whose second is a scaled, shifted and noisy first, 3 channels on ``axis``."""
    rng = np.random.default_rng(0)
    found = []
    for count in (2, 5):
        a = np.moveaxis(rng.standard_normal((count, 4, 5, 3)) + 2, -1, axis)
        b = np.moveaxis(np.moveaxis(a, axis, -1) * [0.9, 1.1, 3.0] + [0.5, 0, -1], -1, axis)
        b = b + 0.01 * rng.standard_normal(b.shape)
        found.append((a.astype(np.float32), b.astype(np.float32)))
    return found


def fitted(axis: int) -> tuple[ChannelFit, np.ndarray, np.ndarray]:
    """Return the fit and both tensors as ``float64 [3, elements]``."""
    fit = ChannelFit(axis, 3)
    for a, b in batches(axis):
        fit.add(a, b)
    whole = [
        np.concatenate([np.moveaxis(p[i], axis, 0).reshape(3, -1) for p in batches(axis)], axis=1)
        for i in range(2)
    ]
    return fit, whole[0].astype(np.float64), whole[1].astype(np.float64)


@pytest.mark.parametrize("axis", [1, -1])
def test_gain_and_offset_are_a_straight_line_per_channel(axis: int) -> None:
    fit, a, b = fitted(axis)
    gain = fit.gain()
    lines = [np.polyfit(b[i], a[i], 1) for i in range(3)]
    np.testing.assert_allclose(gain[:2], [lines[0][0], lines[1][0]], rtol=1e-5)
    assert gain[2] == 1.0, "a third is beyond what is a correction"
    np.testing.assert_allclose(fit.offset(gain)[:2], [lines[0][1], lines[1][1]], atol=1e-4)
    np.testing.assert_allclose(fit.offset(np.ones(3)), (a - b).mean(axis=1), atol=1e-5)


@pytest.mark.parametrize("axis", [1, -1])
def test_signal_to_error(axis: int) -> None:
    fit, a, b = fitted(axis)
    plain = 10 * math.log10((a**2).sum() / ((a - b) ** 2).sum())
    assert fit.sqnr_db() == pytest.approx(plain, abs=1e-3)
    gain, offset = np.array([1.1, 0.9, 1.0]), np.array([0.1, 0.2, 0.3])
    off = a - gain[:, None] * b - offset[:, None]
    better = 10 * math.log10((a**2).sum() / (off**2).sum())
    assert fit.sqnr_db(gain, offset) == pytest.approx(better, abs=1e-3)


def test_sums_that_are_known() -> None:
    fit, a, b = fitted(1)
    sums = np.stack([a.sum(1), b.sum(1), (a * a).sum(1), (a * b).sum(1), (b * b).sum(1)])
    known = ChannelFit.of_sums(a.shape[1], sums)
    np.testing.assert_allclose(known.gain(), fit.gain(), rtol=1e-4)
    assert known.sqnr_db() == pytest.approx(fit.sqnr_db(), abs=1e-3)


def test_channels_that_do_not_vary_keep_their_gain() -> None:
    fit = ChannelFit(1, 2)
    fit.add(np.full((4, 2), 3, np.float32), np.full((4, 2), 2, np.float32))
    np.testing.assert_array_equal(fit.gain(), [1, 1])
    np.testing.assert_array_equal(fit.offset(fit.gain()), [1, 1])


def test_nothing_and_no_error() -> None:
    assert ChannelFit(1, 2).sqnr_db() == 0.0
    same = ChannelFit(1, 2)
    same.add(np.ones((4, 2), np.float32), np.ones((4, 2), np.float32))
    assert same.sqnr_db() == math.inf
    lost = ChannelFit(1, 2)
    lost.add(np.zeros((4, 2), np.float32), np.ones((4, 2), np.float32))
    assert lost.sqnr_db() == -math.inf
