from __future__ import annotations

import numpy as np
import pytest

from bmopt.calibration.pruning.normal_equations import NormalEquations


def rows(count: int, groups: int = 2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(count)
    x = rng.standard_normal((groups, count, 5)) + 100
    y = rng.standard_normal((groups, count, 3)) - 40
    return x.astype(np.float32), y.astype(np.float32)


@pytest.mark.parametrize("centred", [False, True])
def test_means_over_batches_are_those_of_all_rows(centred: bool) -> None:
    sums = NormalEquations(2, 5, 3)
    batches = [rows(count) for count in (7, 30, 1, 12)]
    for x, y in batches:
        sums.add(x, y)
    x, y = (np.concatenate([b[i] for b in batches], 1).astype(np.float64) for i in (0, 1))
    found = sums.means(centred=centred)
    np.testing.assert_allclose(found.x, x.mean(1), rtol=1e-7)
    np.testing.assert_allclose(found.y, y.mean(1), rtol=1e-7)
    if centred:
        x, y = x - x.mean(1, keepdims=True), y - y.mean(1, keepdims=True)
    np.testing.assert_allclose(found.xx, x.swapaxes(1, 2) @ x / 50, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.yx, y.swapaxes(1, 2) @ x / 50, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found.yy, np.square(y).mean(1), rtol=1e-5)
    assert sums.count == 50


def test_halves_together_are_all() -> None:
    sums = NormalEquations(2, 5, 3)
    for count in (8, 10):
        sums.add(*rows(count))
    first, second = sums.halves(centred=False)
    np.testing.assert_allclose((first.xx + second.xx) / 2, sums.means(centred=False).xx, rtol=1e-6)
    assert not np.allclose(first.xx, second.xx)


def test_rows_that_come_one_by_one_are_shared_out() -> None:
    sums = NormalEquations(1, 5, 3)
    x, y = rows(6, 1)
    for at in range(6):
        sums.add(x[:, at : at + 1], y[:, at : at + 1])
    first, second = sums.halves(centred=False)
    np.testing.assert_allclose(first.x, x[:, ::2].mean(1), rtol=1e-6)
    np.testing.assert_allclose(second.x, x[:, 1::2].mean(1), rtol=1e-6)


def test_of_one_row_there_is_one_half() -> None:
    sums = NormalEquations(1, 5, 3)
    sums.add(*rows(1, 1))
    sums.add(*rows(0, 1))
    assert len(sums.halves(centred=True)) == 1
