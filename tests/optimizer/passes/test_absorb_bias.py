from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmopt.core.absorption import AbsorptionPlan, Shift
from bmopt.errors import PassError, QuantizationError
from bmopt.graph.model_digest import model_digest
from bmopt.graph.products import clip_bounds
from bmopt.graph.shift_chains import shift_chains
from bmopt.graph.values import constant_array
from bmopt.optimizer.equivalence import Equivalence
from bmopt.optimizer.passes.absorb_bias import AbsorbBias
from bmopt.optimizer.pipeline import Pipeline
from tests.engine import PlainRunner
from tests.graph.chain_models import chained
from tests.graph.shift_models import SHIFTABLE
from tests.optimizer.literals import in_type, weights
from tests.rewriting import check_pass, random_feeds, run_plain, structure

POINTWISE = SHIFTABLE["pointwise"][0]
RELU = SHIFTABLE["head"][0]


def plan_of(model: ir.Model, amount: float) -> AbsorptionPlan:
    """Shift every activation by ``amount``, or as far as its bounds go."""
    shifts = [
        Shift(
            tensor=chain.tensor.name or "",
            writer=chain.writer.name or "",
            clip=chain.clip.name or "",
            readers=tuple(node.name or "" for node in chain.readers),
            amount=min(max(amount, chain.bounds[0]), chain.bounds[1]),
        )
        for chain in shift_chains(model.graph).found
    ]
    return AbsorptionPlan(model_digest(model), tuple(shifts), {"t": "no reader"})


def with_random_weights(model: ir.Model, seed: int) -> ir.Model:
    rng = np.random.default_rng(seed)
    for name, value in model.graph.initializers.items():
        old = constant_array(value)
        assert old is not None
        if old.dtype == np.float32 and old.ndim:
            new = rng.standard_normal(old.shape).astype(np.float32)
            value.const_value = ir.tensor(new, name=name)
    return model


def node_of(model: ir.Model, name: str) -> ir.Node:
    return next(node for node in model.graph if node.name == name)


def constant_of(model: ir.Model, name: str, index: int) -> np.ndarray:
    array = constant_array(node_of(model, name).inputs[index])
    assert array is not None
    return array


@pytest.mark.parametrize("name", SHIFTABLE)
@settings(max_examples=5)
@given(seed=st.integers(0, 2**16), amount=st.floats(0.125, 4.0))
def test_a_plan_keeps_results(name: str, seed: int, amount: float) -> None:
    model = with_random_weights(chained(SHIFTABLE[name][0]), seed)
    nodes = [node.name for node in model.graph]
    outcome = check_pass(AbsorbBias(plan_of(model, amount)), model, tolerance=2e-4)
    assert outcome.modified
    assert [node.name for node in model.graph] == nodes
    assert [(r.node, r.reason) for r in outcome.refusals] == [("t", "no reader")]


@pytest.mark.parametrize("name", SHIFTABLE)
def test_the_activation_is_less_by_the_amount(name: str) -> None:
    model = chained(SHIFTABLE[name][0])
    plan = plan_of(model, 0.5)
    feeds = random_feeds(model)
    tensors = [shift.tensor for shift in plan.shifts]
    before = _seen(model, tensors, feeds)
    AbsorbBias(plan)(model)
    for old, new, shift in zip(before, _seen(model, tensors, feeds), plan.shifts, strict=True):
        np.testing.assert_allclose(new, old - shift.amount, atol=1e-5)


def _seen(model: ir.Model, tensors: list[str], feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    shown = model.clone()
    shown.graph.outputs.extend(
        out for node in shown.graph for out in node.outputs if out.name in tensors
    )
    return run_plain(shown, feeds)[len(model.graph.outputs) :]


def test_constants_are_where_the_plan_says() -> None:
    model = chained(POINTWISE)
    shift = Shift("r", "c", "r", ("y",), 3.0)
    old = [constant_of(model, *key) for key in (("c", 2), ("y", 1), ("y", 2))]
    AbsorbBias(AbsorptionPlan(model_digest(model), (shift,)))(model)
    np.testing.assert_array_equal(constant_of(model, "c", 2), old[0] - np.float32(3))
    assert clip_bounds(node_of(model, "r")) == (-3.0, 3.0)
    np.testing.assert_array_equal(constant_of(model, "y", 1), old[1])
    expected = old[2] + 3 * old[1].sum(axis=(1, 2, 3))
    np.testing.assert_allclose(constant_of(model, "y", 2), expected, rtol=1e-6)


def test_a_relu_becomes_a_clip_without_an_upper_bound() -> None:
    model = chained(RELU)
    AbsorbBias(plan_of(model, 1.5))(model)
    clip = node_of(model, "r")
    assert clip.op_type == "Clip"
    assert len(clip.inputs) == 2
    assert clip_bounds(clip) == (-1.5, float("inf"))


def test_shared_constants_are_copied() -> None:
    model = chained(f"""g (float[N,4,6,6] x) => (float[N,4,6,6] y, float[N,4,6,6] z)
    <{weights("w", (4, 4, 1, 1))}, {weights("b", (4,))}, float l = {{0}}, float h = {{6}}>
    {{ c = Conv(x, w, b)  r = Clip(c, l, h)  y = Conv(r, w, b)
       d = Conv(x, w, b)  z = Clip(d, l, h) }}""")
    old = constant_of(model, "d", 2)
    plan = plan_of(model, 3.0)
    assert [shift.tensor for shift in plan.shifts] == ["r"]
    check_pass(AbsorbBias(plan), model)
    np.testing.assert_array_equal(constant_of(model, "d", 2), old)
    assert clip_bounds(node_of(model, "z")) == (0.0, 6.0)
    assert not np.array_equal(constant_of(model, "c", 2), old)
    assert not np.array_equal(constant_of(model, "y", 2), constant_of(model, "c", 2))


def test_old_bounds_and_biases_are_removed() -> None:
    model = chained(POINTWISE)
    AbsorbBias(plan_of(model, 3.0))(model)
    read = {value.name for node in model.graph for value in node.inputs if value is not None}
    assert set(model.graph.initializers) <= read


def test_half_precision_stays() -> None:
    model = in_type(chained(POINTWISE), ir.DataType.FLOAT16)
    check_pass(AbsorbBias(plan_of(model, 3.0)), model, tolerance=3e-2)
    types = {value.dtype for value in model.graph.initializers.values()}
    assert types == {ir.DataType.FLOAT16}


def test_the_pipeline_verifies_it(tmp_path: Path) -> None:
    model = chained(POINTWISE)
    file = tmp_path / "plan.json"
    file.write_text(plan_of(model, 3.0).to_json(), encoding="utf-8")
    verify = Equivalence.seeded(PlainRunner, model)
    log = Pipeline.parse(f'absorb-bias{{plan="{file}"}}').run(model, verify=verify).log
    assert log.verification.verdict == "equivalent"
    assert log.modified
    assert not log.rollbacks


def test_a_plan_without_shifts_changes_nothing() -> None:
    model = chained(POINTWISE)
    before = structure(model)
    outcome = AbsorbBias(AbsorptionPlan(model_digest(model), (), {"r": "no reason"}))(model)
    assert not outcome.modified
    assert structure(model) == before
    assert not model.metadata_props


def test_an_unreadable_plan(tmp_path: Path) -> None:
    with pytest.raises(PassError, match="absorb-bias: cannot read the plan"):
        AbsorbBias(str(tmp_path / "none.json"))(chained(POINTWISE))


def test_a_plan_for_another_model() -> None:
    plan = plan_of(chained(RELU), 1.0)
    with pytest.raises(QuantizationError, match="absorption plan is for model"):
        AbsorbBias(plan)(chained(POINTWISE))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tensor": "c"}, "shifts 'c' by nodes that cannot"),
        ({"writer": "y"}, "shifts 'r' by nodes that cannot"),
        ({"readers": ("y", "c")}, "shifts 'r' by nodes that cannot"),
        ({"amount": 6.5}, "by 6.5, which is not between its bounds 0 and 6"),
        ({"amount": -1.0}, "by -1, which is not between its bounds 0 and 6"),
    ],
)
def test_a_plan_that_does_not_fit(change: dict[str, object], message: str) -> None:
    model = chained(POINTWISE)
    shift = dataclasses.replace(Shift("r", "c", "r", ("y",), 3.0), **change)
    before = structure(model)
    with pytest.raises(QuantizationError, match=message):
        AbsorbBias(AbsorptionPlan(model_digest(model), (shift,)))(model)
    assert structure(model) == before


def test_a_shift_that_is_listed_twice() -> None:
    model = chained(POINTWISE)
    shift = Shift("r", "c", "r", ("y",), 1.0)
    with pytest.raises(QuantizationError, match="shifts 'r' by nodes that cannot"):
        AbsorbBias(AbsorptionPlan(model_digest(model), (shift, shift)))(model)


def test_amounts_beyond_the_type() -> None:
    model = in_type(chained(RELU), ir.DataType.FLOAT16)
    shift = dataclasses.replace(plan_of(model, 1.0).shifts[0], amount=1e6)
    with pytest.raises(QuantizationError, match="'r' would need constants beyond the range"):
        AbsorbBias(AbsorptionPlan(model_digest(model), (shift,)))(model)
