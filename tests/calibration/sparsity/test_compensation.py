from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmopt.calibration.sparsity.compensation import compensated
from bmopt.calibration.sparsity.gradual import in_rounds, masked
from bmopt.core.sparsity_pattern import SparsityPattern
from bmopt.graph.sparse_masks import fulfils
from tests.calibration.sparsity.problems import best_of_all, exact, problem

TEXTS = ["2:4", "1:4", "3:8", "1x4=0.5", "4x4=0.5", "3x1=0.4", "unstructured=0.6"]


@settings(deadline=None, max_examples=50)
@given(text=st.sampled_from(TEXTS), seed=st.integers(0, 10_000), groups=st.integers(1, 2))
def test_never_worse_than_magnitude_and_the_pattern_holds(
    text: str, seed: int, groups: int
) -> None:
    pattern = SparsityPattern.parse(text)
    given_, weight = problem(seed, groups=groups, outputs=5, inputs=8, taps=2)
    found = compensated(given_, weight, pattern)
    assert fulfils((found == 0).reshape(given_.shape), pattern)
    small = masked(given_, weight, pattern)
    alone = given_.errors(np.where(small, weight, 0.0))
    fitted = given_.errors(exact(given_, small))
    if pattern.of:
        assert np.all(given_.errors(found) <= alone + 1e-9)
        assert np.all(given_.errors(found) <= fitted * (1 + 1e-6) + 1e-9)
    assert given_.errors(found).sum() <= fitted.sum() * (1 + 1e-6) + 1e-9


@pytest.mark.parametrize("seed", range(8))
def test_near_the_best_of_all_masks(seed: int) -> None:
    given_, weight = problem(seed, outputs=6)
    least = best_of_all(given_, 2, 4)
    found = given_.errors(compensated(given_, weight, SparsityPattern.parse("2:4")))
    assert np.all(found >= least * (1 - 1e-9))
    assert found.sum() <= 1.15 * least.sum()


def test_a_sparse_weight_that_is_right_stays() -> None:
    given_, _ = problem(1)
    pattern = SparsityPattern.parse("2:4")
    sparse = compensated(given_, given_.wanted, pattern)
    wanted = type(given_)(sparse, given_.form, given_.taps)
    np.testing.assert_allclose(compensated(wanted, sparse, pattern), sparse, atol=1e-9)


def test_rounds_beat_one_cut_by_size() -> None:
    ratios = []
    for seed in range(6):
        given_, weight = problem(seed, outputs=4, inputs=12, taps=2)
        pattern = SparsityPattern.parse("unstructured=0.6")
        fitted = given_.errors(exact(given_, masked(given_, weight, pattern))).sum()
        ratios.append(given_.errors(in_rounds(given_, pattern)).sum() / fitted)
    assert np.exp(np.mean(np.log(ratios))) < 0.9
