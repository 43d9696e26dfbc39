from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bmopt.calibration.sparsity.problem import Problem, refitted
from tests.calibration.sparsity.problems import exact, problem


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), groups=st.integers(1, 2))
def test_refitting_equals_its_twin(seed: int, groups: int) -> None:
    given_, weight = problem(seed, groups=groups, inputs=6, taps=2)
    kept = np.random.default_rng(seed).random(weight.shape) < 0.6
    found = refitted(given_, weight, kept)
    assert not found[~kept].any()
    np.testing.assert_allclose(
        given_.errors(found), given_.errors(exact(given_, kept)), rtol=1e-6, atol=1e-9
    )
    assert np.all(given_.errors(found) <= given_.errors(np.where(kept, weight, 0.0)) + 1e-12)


def test_the_wanted_weight_is_the_ridge_solution() -> None:
    rng = np.random.default_rng(5)
    x = rng.standard_normal((300, 4))
    y = x @ rng.standard_normal((4, 2)) + 0.1 * rng.standard_normal((300, 2))
    weight = rng.standard_normal((1, 2, 4))
    xx, yx = (x.T @ x / 300)[None], (y.T @ x / 300)[None]
    found = Problem.of(weight, xx, yx, 1, damping=0.2).wanted[0]
    pull = 0.2 * np.trace(xx[0]) / 4
    rows = np.concatenate([x / np.sqrt(300), np.sqrt(pull) * np.eye(4)])
    wanted = np.concatenate([y / np.sqrt(300), np.sqrt(pull) * weight[0].T])
    np.testing.assert_allclose(found.T, np.linalg.lstsq(rows, wanted, rcond=None)[0], rtol=1e-8)


def test_inputs_that_are_always_zero_do_no_harm() -> None:
    xx = np.zeros((1, 4, 4))
    xx[0, 0, 0] = 1.0
    weight = np.ones((1, 2, 4))
    found = Problem.of(weight, xx, weight @ xx, 1, damping=0.01)
    np.testing.assert_allclose(found.wanted, weight)
    assert np.isfinite(refitted(found, weight, weight > 0)).all()
