from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmopt.calibration.sparsity.cells import Cells, improved, in_one_pass
from bmopt.calibration.sparsity.problem import Floats, Problem
from tests.calibration.sparsity.problems import problem


def twin(given_: Problem, cells: Cells) -> Floats:
    """Decide cell after cell with the inverse of what is left, taken anew each time."""
    weight = given_.wanted.copy()
    order = cells.places.reshape(-1)
    choices = cells.choices(cells.width - cells.kept)
    for group, output in np.ndindex(*weight.shape[:2]):
        row = weight[group, output]
        for start in range(0, len(order), cells.width):
            left = order[start:]
            inverse = np.linalg.inv(given_.form[group][np.ix_(left, left)])

            def cost(
                gone: Floats, row: Floats = row, left: Floats = left, inverse: Floats = inverse
            ) -> float:
                taken = row[left[gone]]
                return float(taken @ np.linalg.solve(inverse[np.ix_(gone, gone)], taken))

            gone = min(choices, key=cost)
            put = np.linalg.solve(inverse[np.ix_(gone, gone)], row[left[gone]])
            row[left] -= put @ inverse[gone]
            row[left[gone]] = 0.0
    return weight


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000), kept=st.integers(1, 3), taps=st.integers(1, 2))
def test_one_pass_equals_its_twin(seed: int, kept: int, taps: int) -> None:
    given_, _ = problem(seed, groups=2, taps=taps)
    cells = Cells.of(given_, kept, 4)
    np.testing.assert_allclose(
        in_one_pass(given_, cells), twin(given_, cells), rtol=1e-6, atol=1e-8
    )


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10_000))
def test_improving_keeps_the_pattern_and_lowers_the_error(seed: int) -> None:
    given_, _ = problem(seed, inputs=12, taps=3)
    cells = Cells.of(given_, 2, 4)
    start = in_one_pass(given_, cells)
    found = improved(given_, start, cells)
    counts = np.count_nonzero(found[:, :, cells.places], axis=3)
    assert counts.max() <= 2
    assert given_.errors(found).sum() <= given_.errors(start).sum() * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_many_choices_are_not_enumerated(seed: int) -> None:
    given_, _ = problem(seed, inputs=32)
    cells = Cells.of(given_, 8, 16)
    assert not cells.can_enumerate
    found = improved(given_, in_one_pass(given_, cells), cells)
    assert np.all(np.count_nonzero(found[:, :, cells.places], axis=3) <= 8)


def test_cells_are_channels_at_one_tap() -> None:
    given_, _ = problem(0, inputs=8, taps=3)
    assert Cells.of(given_, 2, 4).places[:2].tolist() == [[0, 3, 6, 9], [1, 4, 7, 10]]
