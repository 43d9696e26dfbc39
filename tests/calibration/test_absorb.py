from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmopt.calibration.absorb import plan_absorption
from bmopt.calibration.plan import make_plan
from bmopt.calibration.taps import tap
from bmopt.core.absorption import Shift
from bmopt.core.ranges import TensorRange
from bmopt.core.scheme import Scheme
from bmopt.errors import CalibrationError
from bmopt.graph.model_digest import model_digest
from bmopt.graph.values import constant_array
from bmopt.optimizer.passes.absorb_bias import AbsorbBias
from bmopt.optimizer.passes.quantize import Quantize
from tests.graph.chain_models import chained
from tests.graph.shift_models import SHIFTABLE, STUCK
from tests.quantizing import entry, inputs_scheme, measured, samples_for, scheme, sqnr_db, table_of
from tests.rewriting import run_plain

INT8 = inputs_scheme()
POINTWISE, TWO_SIDED = SHIFTABLE["pointwise"][0], "its range is not one-sided"


def planned(
    model: ir.Model, ranges: dict[str, TensorRange | None], wanted: Scheme = INT8
) -> dict[str, float]:
    table = table_of(model, ranges, model_digest(model))
    return {s.tensor: s.amount for s in plan_absorption(model, table, wanted).shifts}


def test_the_shift_is_the_middle_of_the_range() -> None:
    model = chained(POINTWISE)
    table = table_of(model, {"r": entry(0.0, 5.0)}, model_digest(model))
    plan = plan_absorption(model, table, INT8)
    assert plan.shifts == (Shift("r", "c", "r", ("y",), 2.5),)
    assert plan.model == model_digest(model)


@pytest.mark.parametrize(
    ("low", "high", "amount"), [(1.0, 4.0, 2.5), (-0.5, 4.0, 1.75), (8.0, 9.0, 6.0)]
)
def test_ranges_on_one_side(low: float, high: float, amount: float) -> None:
    assert planned(chained(POINTWISE), {"r": entry(low, high)}) == {"r": amount}


def test_it_is_the_middle_of_what_is_read() -> None:
    model = chained(SHIFTABLE["head"][0])
    assert planned(model, {"r": entry(0.0, 8.0), "q": entry(0.5, 1.5)}) == {"r": 1.0}


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (entry(-1.0, 4.0), TWO_SIDED),
        (entry(0.0, 0.0), TWO_SIDED),
        (entry(0.0, 4.0, infinities=1), "it was seen to be infinite"),
        (None, "the range table has no range of what reads it"),
    ],
)
def test_reasons_of_ranges(found: TensorRange | None, reason: str) -> None:
    model = chained(POINTWISE)
    table = table_of(model, {"r": found}, model_digest(model))
    plan = plan_absorption(model, table, INT8)
    assert (plan.shifts, plan.refused) == ((), {"r": reason})


def test_reasons_of_the_graph() -> None:
    text, reason = STUCK["one of two padded"]
    model = chained(text)
    plan = plan_absorption(model, table_of(model, {}, model_digest(model)), INT8)
    assert (plan.shifts, plan.refused) == ((), {"r": reason})


def test_readers_that_are_never_in_8_bits() -> None:
    model = chained(POINTWISE)
    table = table_of(model, {}, model_digest(model))
    plan = plan_absorption(model, table, dataclasses.replace(INT8, products=frozenset({"Gemm"})))
    assert plan.refused == {"r": "no reader of it runs in 8 bits"}


@pytest.mark.parametrize("wanted", [scheme(), inputs_scheme("fp8")], ids=["affine", "float8"])
def test_encodings_that_gain_nothing(wanted: Scheme) -> None:
    assert planned(chained(POINTWISE), {}, wanted) == {}


def test_a_table_of_another_model() -> None:
    model = chained(POINTWISE)
    with pytest.raises(CalibrationError, match="was measured on model"):
        plan_absorption(model, table_of(model), INT8)


def bounded(seed: int) -> ir.Model:
    """Return the separable model with weights whose activations fill [0, 6]."""
    model = chained(SHIFTABLE["separable"][0])
    rng = np.random.default_rng(seed)
    for name, value in model.graph.initializers.items():
        array = constant_array(value)
        assert array is not None
        if array.ndim:
            new = rng.normal(3.0 if array.ndim == 1 else 0.0, 1.0, array.shape)
            value.const_value = ir.tensor(new.astype(np.float32), name=name)
    return model


def own_steps(model: ir.Model, samples: dict[str, np.ndarray]) -> dict[str, float]:
    plan = make_plan(model, measured(model, samples), INT8)
    return {name: quant.scale for name, quant in plan.activations.items()}


def error_db(model: ir.Model, samples: dict[str, np.ndarray], expected: np.ndarray) -> float:
    """Return the output SQNR of the model in INT8."""
    plan = make_plan(model, measured(model, samples), INT8)
    return sqnr_db(expected, run_plain(Quantize(plan)(model.clone()).model, samples)[0])


@settings(max_examples=8)
@given(seed=st.integers(0, 2**16))
def test_steps_are_twice_as_fine(seed: int) -> None:
    model = bounded(seed)
    samples = samples_for(model, 32)
    plan = plan_absorption(model, measured(model, samples), INT8)
    assert {shift.tensor for shift in plan.shifts} == {"r", "s"}
    before = own_steps(model, samples)
    after = own_steps(AbsorbBias(plan)(model.clone()).model, samples)
    assert after["x"] == before["x"]
    for tensor in ("r", "s"):
        assert after[tensor] == pytest.approx(before[tensor] / 2, rel=0.05)


def test_the_error_falls() -> None:
    gains = []
    for seed in range(8):
        model = bounded(seed)
        samples = samples_for(model, 32)
        expected = run_plain(model, samples)[0]
        plan = plan_absorption(model, measured(model, samples), INT8)
        absorbed = AbsorbBias(plan)(model.clone()).model
        gains.append(error_db(absorbed, samples, expected) - error_db(model, samples, expected))
    assert np.mean(gains) > 1.0


@pytest.mark.parametrize("name", ["pointwise", "separable", "head", "pools", "gemm"])
def test_calibration_looks_at_the_same_tensors_afterwards(name: str) -> None:
    """What a Clip about zero follows is still left out."""
    model = chained(SHIFTABLE[name][0])
    plan = plan_absorption(model, measured(model, samples_for(model, 8)), INT8)
    absorbed = AbsorbBias(plan)(model.clone()).model
    assert plan.shifts
    assert dict(tap(absorbed).sources) == dict(tap(model).sources)
