from __future__ import annotations

import numpy as np
import pytest

from bmopt.core.moments import SecondMoments


def rows(rng: np.random.Generator, count: int, offset: float = 0.0) -> np.ndarray:
    return (rng.standard_normal((2, count, 3)) + offset).astype(np.float32)


@pytest.mark.parametrize("centred", [False, True])
def test_moments_of_batches_are_those_of_all_rows(centred: bool) -> None:
    rng = np.random.default_rng(0)
    x, t = rows(rng, 50, 3.0), rows(rng, 50, -2.0)
    moments = SecondMoments.empty(2, 3)
    for start, stop in ((0, 7), (7, 8), (8, 50)):
        moments.add(x[:, start:stop], t[:, start:stop])
    xx, tx = moments.covariances(centred=centred)
    wide_x, wide_t = x.astype(np.float64), t.astype(np.float64)
    if centred:
        wide_x = wide_x - wide_x.mean(axis=1, keepdims=True)
        wide_t = wide_t - wide_t.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(xx, wide_x.swapaxes(1, 2) @ wide_x / 50, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(tx, wide_t.swapaxes(1, 2) @ wide_x / 50, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(moments.x, x.sum(axis=1, dtype=np.float64), rtol=1e-12)
    np.testing.assert_allclose(moments.t, t.sum(axis=1, dtype=np.float64), rtol=1e-12)
    assert moments.count == 50


def test_a_large_mean_takes_no_digits_of_the_covariance() -> None:
    rng = np.random.default_rng(1)
    x = rows(rng, 2000, 3000.0)
    moments = SecondMoments.empty(2, 3)
    moments.add(x, x)
    wide = x.astype(np.float64)
    wide -= wide.mean(axis=1, keepdims=True)
    xx, _ = moments.covariances(centred=True)
    np.testing.assert_allclose(xx, wide.swapaxes(1, 2) @ wide / 2000, rtol=1e-4, atol=1e-5)


def test_halves_join_to_the_whole() -> None:
    rng = np.random.default_rng(2)
    x, t = rows(rng, 20), rows(rng, 20)
    whole, one, two = (SecondMoments.empty(2, 3) for _ in range(3))
    whole.add(x, t)
    one.add(x[:, :9], t[:, :9])
    two.add(x[:, 9:], t[:, 9:])
    joined = one.joined(two)
    np.testing.assert_allclose(joined.xx, whole.xx, rtol=1e-5)
    np.testing.assert_allclose(joined.tx, whole.tx, rtol=1e-5, atol=1e-5)
    assert joined.count == 20
    assert one.count == 9, "its own sums stay"


def test_moments_of_nothing_are_zero() -> None:
    xx, tx = SecondMoments.empty(1, 2).covariances(centred=True)
    assert not xx.any()
    assert not tx.any()
