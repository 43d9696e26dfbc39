from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmopt.core.equalization import ChannelScaling, EqualizationPlan
from bmopt.errors import PassError, QuantizationError
from bmopt.graph.cross_layer import scaling_of
from bmopt.graph.model_digest import model_digest
from bmopt.graph.scaling_chains import scaling_chains
from bmopt.graph.values import constant_array
from bmopt.optimizer.passes.equalize import Equalize
from bmopt.optimizer.pipeline import Pipeline
from tests.engine import PlainRunner
from tests.graph.chain_models import SCALABLE, chained
from tests.optimizer.literals import in_type, weights
from tests.rewriting import check_pass, random_feeds, run_plain

RELU = SCALABLE["relu"][0]


def random_plan(model: ir.Model, seed: int) -> EqualizationPlan:
    """Scale every chain by factors from 1/8 to 8."""
    rng = np.random.default_rng(seed)
    chains = scaling_chains(model.graph).found
    scalings = [scaling_of(c, 8.0 ** rng.uniform(-1, 1, c.channels)) for c in chains]
    return EqualizationPlan(model_digest(model), tuple(scalings), {"t": "no reader"})


def with_random_weights(model: ir.Model, seed: int) -> ir.Model:
    """Replace float constants by normally distributed ones, positive where a variance is."""
    rng = np.random.default_rng(seed)
    for name, value in model.graph.initializers.items():
        old = constant_array(value)
        assert old is not None
        if old.dtype == np.float32 and old.ndim:
            new = rng.standard_normal(old.shape).astype(np.float32)
            value.const_value = ir.tensor(np.abs(new) + 0.5 if name == "v" else new, name=name)
    return model


def weight_of(model: ir.Model, node: str, index: int = 1) -> np.ndarray:
    array = constant_array(next(n for n in model.graph if n.name == node).inputs[index])
    assert array is not None
    return array


@pytest.mark.parametrize("name", SCALABLE)
@settings(max_examples=5)
@given(seed=st.integers(0, 2**16))
def test_a_plan_keeps_results(name: str, seed: int) -> None:
    model = with_random_weights(chained(SCALABLE[name][0]), seed)
    before = {node.name: weight_of(model, node.name or "") for node in _products(model)}
    outcome = check_pass(Equalize(random_plan(model, seed)), model, tolerance=2e-4)
    after = {node.name: weight_of(model, node.name or "") for node in _products(model)}
    assert outcome.modified
    assert any(not np.array_equal(before[key], after[key]) for key in before)
    assert [(r.node, r.reason) for r in outcome.refusals] == [("t", "no reader")]


def _products(model: ir.Model) -> list[ir.Node]:
    return [n for n in model.graph if n.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul")]


@pytest.mark.parametrize("name", SCALABLE)
def test_nodes_stay(name: str) -> None:
    model = chained(SCALABLE[name][0])
    before = [(n.name, n.op_type, len(n.inputs)) for n in model.graph]
    Equalize(random_plan(model, 0))(model)
    assert [(n.name, n.op_type, len(n.inputs)) for n in model.graph] == before


def test_factors_are_where_the_plan_says() -> None:
    model = chained(RELU)
    plan = EqualizationPlan(
        model_digest(model), (ChannelScaling("r", 1, (1, 2, 4, 8), ("c",), ("y",)),)
    )
    old = [weight_of(model, *key) for key in (("c", 1), ("c", 2), ("y", 1))]
    Equalize(plan)(model)
    factors = np.array([1, 2, 4, 8], np.float32)
    np.testing.assert_array_equal(weight_of(model, "c", 1), old[0] * factors[:, None, None, None])
    np.testing.assert_array_equal(weight_of(model, "c", 2), old[1] * factors)
    np.testing.assert_array_equal(weight_of(model, "y", 1), old[2] / factors[:, None, None])


def test_weights_shared_with_others_are_copied() -> None:
    model = chained(f"""g (float[N,4,6,6] x) => (float[N,4,6,6] y, float[N,4,6,6] z)
    <{weights("w", (4, 4, 1, 1))}, {weights("b", (4,))}>
    {{ c = Conv(x, w, b)  r = Relu(c)  y = Conv(r, w, b)  z = Conv(x, w, b) }}""")
    old = weight_of(model, "z")
    check_pass(Equalize(random_plan(model, 1)), model)
    np.testing.assert_array_equal(weight_of(model, "z"), old)
    assert not np.array_equal(weight_of(model, "c"), old)
    assert not np.array_equal(weight_of(model, "y"), weight_of(model, "c"))


@pytest.mark.parametrize("name", ["relu", "depthwise", "flatten", "residual", "rows"])
@settings(max_examples=5)
@given(seed=st.integers(0, 2**16))
def test_without_a_plan_weights_are_equalised(name: str, seed: int) -> None:
    model = with_random_weights(chained(SCALABLE[name][0]), seed)
    assert check_pass(Equalize(), model, tolerance=2e-4).modified


def test_both_sides_get_the_same_range() -> None:
    model = chained(RELU)
    Equalize()(model)
    written = np.abs(weight_of(model, "c")).max(axis=(1, 2, 3))
    read = np.abs(weight_of(model, "y")).max(axis=(0, 2, 3))
    np.testing.assert_allclose(written, read, rtol=1e-4)


def test_without_a_plan_the_pipeline_verifies_it() -> None:
    from bmopt.optimizer.equivalence import Equivalence

    model = chained(RELU)
    verify = Equivalence.seeded(PlainRunner, model)
    log = Pipeline.parse("equalize").run(model, verify=verify).log
    assert log.verification.verdict == "equivalent"
    assert log.modified
    assert not log.rollbacks


def test_refusals_without_a_plan() -> None:
    model = chained(f"""g (float[N,4,6,6] x) => (float[N,A,B,C] y)
    <{weights("w", (4, 4, 1, 1))}, {weights("s", (1, 4, 1, 1))}, float l = {{0}}, float h = {{6}}>
    {{ c = Conv(x, w)  r = Clip(c, l, h)  d = Conv(r, w)  q = Sigmoid(d)  m = Mul(q, s)
       y = Conv(m, w) }}""")
    outcome = check_pass(Equalize(), model)
    assert not outcome.modified
    assert {r.node: r.reason for r in outcome.refusals} == {
        "x": "'x' is a graph input",
        "r": "a Clip bounds it, and how far it reaches is not known without a plan",
        "m": "Mul 'm' writes it, which has no weights",
    }


def test_dead_channels_stay() -> None:
    model = chained(RELU)
    weight = weight_of(model, "c").copy()
    weight[1] = 0
    model.graph.initializers["w"].const_value = ir.tensor(weight, name="w")
    check_pass(Equalize(), model)
    assert not weight_of(model, "c")[1].any()


def test_half_precision() -> None:
    model = in_type(chained(SCALABLE["rows"][0]), ir.DataType.FLOAT16)
    check_pass(Equalize(random_plan(model, 0)), model, tolerance=2e-2)
    assert weight_of(model, "a").dtype == np.float16


def test_a_constant_beyond_the_type_is_refused() -> None:
    model = in_type(chained(SCALABLE["rows"][0]), ir.DataType.FLOAT16)
    scaling = ChannelScaling("r", 2, (1e6,) * 4, ("a", "c"), ("y",))
    with pytest.raises(QuantizationError, match="beyond the range of float16"):
        Equalize(EqualizationPlan(model_digest(model), (scaling,)))(model)


def test_a_plan_is_lossy_and_its_file_works(tmp_path: Path) -> None:
    model = chained(RELU)
    path = tmp_path / "equal.json"
    path.write_text(random_plan(model, 3).to_json(), encoding="utf-8")
    pipeline = Pipeline.parse(f'equalize{{plan="{path}"}}')
    assert Pipeline.parse(str(pipeline)) == pipeline
    assert pipeline.steps[0].effect == "lossy"  # type: ignore[union-attr]
    assert Equalize().effect == Equalize.effect == "exact"
    feeds = random_feeds(model)
    result = pipeline.run(model)
    assert result.log.modified
    for want, got in zip(run_plain(model, feeds), run_plain(result.model, feeds), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)
    assert not pipeline.run(result.model).log.modified


def test_a_saved_model_remembers_its_plan(tmp_path: Path) -> None:
    model = chained(RELU)
    rewrite = Equalize(random_plan(model, 3))
    rewrite(model)
    ir.save(model, tmp_path / "m.onnx")
    assert not rewrite(ir.load(tmp_path / "m.onnx")).modified


def test_plans_that_do_not_fit(tmp_path: Path) -> None:
    model = chained(RELU)
    plan = random_plan(model, 3)
    with pytest.raises(QuantizationError, match="is for model"):
        Equalize(plan)(chained(SCALABLE["pools"][0]))
    for change, message in (
        ({"tensor": "q"}, "scales 'q' by nodes that cannot"),
        ({"writers": ()}, "scales 'r' by nodes that cannot"),
        ({"factors": (1.0, 2.0)}, "has 2 factors for 'r', which needs 4"),
    ):
        scaling = dataclasses.replace(plan.scalings[0], **change)
        with pytest.raises(QuantizationError, match=message):
            Equalize(dataclasses.replace(plan, scalings=(scaling,)))(chained(RELU))
    with pytest.raises(PassError, match="cannot read the plan"):
        Equalize(str(tmp_path / "none.json"))(model)
