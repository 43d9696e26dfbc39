from __future__ import annotations

import numpy as np
import pytest

from bmopt.calibration.sequence.evidence import RowEvidence
from bmopt.calibration.sequence.reweighing import Weighed, reweighed
from bmopt.calibration.sequence.steps import RefineSteps
from bmopt.calibration.sequence.storage import Storage
from bmopt.core.plan import WeightQuant
from bmopt.core.runner import Array
from tests.calibration.sequence.test_rows import numbers, product

NONE = RefineSteps(False, False, False, True, True)
ROUNDING = RefineSteps(False, False, True, True, True)


def seen(mean: float) -> tuple[Array, Array, Array]:
    """Return a weight of 12 inputs, and what the quantised and the float product read."""
    rng = np.random.default_rng(0)
    t = numbers(rng, (2000, 12)) @ numbers(rng, (12, 12)) + np.float32(mean)
    x = np.float32(0.8) * t + np.float32(0.05) * numbers(rng, t.shape)
    return numbers(rng, (12, 8)), x, t


def found(
    steps: RefineSteps, bias: Array | None, mean: float = 20.0, limit: int = 7
) -> tuple[Weighed | None, Array]:
    """Return the new weight and by how much each output is off then."""
    weight, x, t = seen(mean)
    mine = product("MatMul", x, weight, None)
    rows = RowEvidence(mine, weight, 1)
    rows.observe(x, t, np.random.default_rng(0))
    scales = tuple((np.abs(weight).max(axis=0) / limit).tolist())
    storage = Storage(WeightQuant(1, "int8", 1, scales, limit), 0.1, in_float16=False)
    weighed = reweighed(mine, storage, steps, rows, bias)
    return weighed, t @ weight - x @ (weight if weighed is None else weighed.array)


def test_a_bias_leaves_the_mean_out_of_what_is_rounded_for() -> None:
    weight, x, _ = seen(20.0)
    with_bias, without = (found(ROUNDING, bias)[0] for bias in (np.zeros(8), None))
    assert with_bias is not None
    assert without is not None
    mine, other = (x @ (weight - weighed.array) for weighed in (with_bias, without))
    assert mine.var(axis=0).sum() < 0.9 * other.var(axis=0).sum()
    assert np.square(other).sum() < 0.2 * np.square(mine).sum()


def test_nothing_to_do() -> None:
    assert found(NONE, np.zeros(8))[0] is None


@pytest.mark.parametrize(
    "steps",
    [
        ROUNDING,
        RefineSteps(False, True, False, True, True),
        RefineSteps(True, False, False, True, True),
        RefineSteps(),
    ],
)
def test_weights_are_whole_numbers_of_their_scales(steps: RefineSteps) -> None:
    weighed, _ = found(steps, np.zeros(8))
    assert weighed is not None
    whole = weighed.array / weighed.scales
    np.testing.assert_allclose(whole, np.rint(whole), atol=1e-4)
    assert np.abs(whole).max() < 7.001
    assert weighed.array.shape == (12, 8)
    assert ("rounding" in weighed.steps, "scales" in weighed.steps) == (
        steps.rounding,
        steps.scales,
    )
    assert ("least-squares" in weighed.steps) == steps.least_squares
