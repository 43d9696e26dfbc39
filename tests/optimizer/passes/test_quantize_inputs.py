from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmopt.calibration.plan import make_plan
from bmopt.core.plan import QuantPlan
from bmopt.errors import QuantizationError
from bmopt.graph.origin import origin_of
from bmopt.graph.values import constant_array
from bmopt.optimizer.passes.quantize import Quantize
from tests.optimizer.literals import weights
from tests.quantizing import (
    CONV_NET,
    entry,
    inputs_scheme,
    named,
    quantized,
    samples_for,
    sqnr_db,
    table_of,
)
from tests.rewriting import assert_keeps, check_pass, run_plain, structure

W = "float[2,2] w = {1.27, 2.54, 0.5, 1}"
STORED = "INT8[2, 2][[127. 127.] [ 50.  50.]], FLOAT[2][0.01 0.02], INT8[2][0. 0.]"


def plan_for(model: ir.Model, precision: str = "int8") -> QuantPlan:
    table = table_of(model, {"x": entry(-1.27, 1), "r": entry(0, 2.54)})
    return make_plan(model, table, inputs_scheme(precision))


def rewritten(text: str, opset: int = 17, precision: str = "int8") -> list[str]:
    model = named(text, opset)
    outcome = check_pass(Quantize(plan_for(model, precision)), model, compare=False)
    assert outcome.modified
    return structure(model)


def test_before_and_after() -> None:
    x, r = "FLOAT[]0.01, INT8[]0.", "FLOAT[]0.02, INT8[]0."
    assert rewritten(
        f"g (float[N,2] x) => (float[N,2] y) <{W}, float[2] b = {{0.1, -0.1}}> "
        "{ h = Gemm(x, w, b) r = Relu(h) y = MatMul(r, w) }"
    ) == [
        "in x",
        f"%2 = QuantizeLinear(x, {x}) {{}}",
        f"%3 = DequantizeLinear(%2, {x}) {{}}",
        f"%4 = DequantizeLinear({STORED}) {{'axis': 1}}",
        "%5 = Gemm(%3, %4, FLOAT[2][ 0.1 -0.1]) {}",
        "%6 = Relu(%5) {}",
        f"%7 = QuantizeLinear(%6, {r}) {{}}",
        f"%8 = DequantizeLinear(%7, {r}) {{}}",
        "y = MatMul(%8, %4) {}",
        "out y",
    ]


def test_float8_before_and_after() -> None:
    found = rewritten(
        "g (float[N,2] x) => (float[N,2] y) <float[2,2] w = {448, 0.5, -30, 1.1}>"
        " { y = MatMul(x, w) }",
        opset=19,
        precision="fp8",
    )
    assert found[3].replace("\n", "") == (
        "%4 = DequantizeLinear(FLOAT8E4M3FN[2, 2][[448.      0.5  ] [-30.      1.125]], "
        "FLOAT[]1., FLOAT8E4M3FN[]0.) {}"
    )
    assert "FLOAT8E4M3FN[]0." in found[1]


def test_float8_needs_opset_19() -> None:
    model = named(f"g (float[N,2] x) => (float[N,2] y) <{W}> {{ y = MatMul(x, w) }}")
    with pytest.raises(QuantizationError, match="float8 needs opset 19, the model has 17"):
        Quantize(plan_for(model, "fp8"))(model)


def test_readers_share_a_pair_and_the_others_read_floats() -> None:
    found = rewritten(
        f"g (float[N,2] x) => (float[N,2] y, float[N,2] z, float[N,2] r) <{W}> "
        "{ r = Relu(x) y = MatMul(r, w) h = MatMul(r, w) s = Sigmoid(r) z = Mul(h, s) }"
    )
    kinds = [line.split(" = ")[1].split("(")[0] for line in found if " = " in line]
    assert kinds.count("QuantizeLinear") == 1
    assert kinds.count("DequantizeLinear") == 2
    assert "%8 = Sigmoid(r) {}" in found


def test_an_add_reads_its_skip_through_the_pair_of_the_next_convolution() -> None:
    model = named(
        f"g (float[N,8,4,4] x) => (float[N,8,4,4] y) <{weights('w', (8, 8, 1, 1))}> "
        "{ c = Conv(x, w) y = Add(c, x) }"
    )
    Quantize(plan_for(model))(model)
    add, conv = model.graph.node("y"), model.graph.node("c")
    assert add.inputs[1] is conv.inputs[0]
    assert add.inputs[0] is conv.outputs[0]
    assert conv.inputs[0] is not model.graph.inputs[0]


def test_a_weight_that_a_node_produces_is_stored() -> None:
    found = rewritten(
        "g (float[N,2] x) => (float[N,2] y) "
        "{ w = Constant<value=float[2,2] {1.27, 2.54, 0.5, 1}>() y = MatMul(x, w) }"
    )
    assert f"%4 = DequantizeLinear({STORED}) {{'axis': 1}}" in found
    assert not any("Constant" in line for line in found)


def test_a_weight_that_floats_read_too_stays() -> None:
    found = rewritten(
        f"g (float[2,2] x) => (float[2,2] y) <{W}> {{ h = MatMul(x, w) y = Add(h, w) }}"
    )
    assert "FLOAT[2, 2][[1.27 2.54] [0.5  1.  ]]" in found[-2]


def test_an_empty_plan_changes_nothing() -> None:
    text = "g (float[N,2] x) => (float[N,2] y) { y = Relu(x) }"
    assert_keeps(Quantize(plan_for(named(text))), text)


def test_every_node_keeps_an_origin_and_the_result_stays_close() -> None:
    model = named(CONV_NET)
    copy, plan = quantized(model, wanted=inputs_scheme())
    assert plan.integer == ("c1", "c2", "c3", "a", "y")
    assert all(origin_of(node) for node in copy.graph)
    feeds = samples_for(model)
    assert sqnr_db(run_plain(model, feeds)[0], run_plain(copy, feeds)[0]) > 30


@settings(max_examples=20, deadline=None)
@given(
    groups=st.sampled_from([1, 2, 4]),
    op=st.sampled_from(["Conv", "ConvTranspose"]),
    values=st.lists(st.floats(-4, 4, width=32), min_size=16, max_size=16),
)
def test_a_stored_weight_is_within_half_a_step(groups: int, op: str, values: list[float]) -> None:
    per_group = 4 // groups
    body = ", ".join(f"{value:.8f}" for value in values[: 4 * per_group])
    model = named(
        f"g (float[N,4,3,3] x) => (float y) <float[4,{per_group},1,1] w = {{{body}}}> "
        f"{{ y = {op}<group={groups}>(x, w) }}"
    )
    before = np.array(constant_array(model.graph.initializers["w"]))
    plan = plan_for(model)
    Quantize(plan)(model)
    dequantize = model.graph.node("y").inputs[1].producer()  # type: ignore[union-attr]
    assert dequantize is not None
    stored, scales, _ = (np.asarray(constant_array(value)) for value in dequantize.inputs)
    axis = dequantize.attributes.get_int("axis", -1)
    assert axis == (0 if op == "Conv" else 1)
    steps = scales.reshape([-1 if i == axis else 1 for i in range(4)])
    assert np.abs(stored * steps - before).max() <= steps.max() * 0.5001


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"reads": {"gone": (0,)}}, "names 'gone'"),
        ({"reads": {"y": (1,)}}, "no scale for input 1 of 'y'"),
        ({"reads": {"y": (7,)}}, "no scale for input 7 of 'y'"),
        ({"activations": {}}, "no scale for input 0 of 'y'"),
    ],
)
def test_a_plan_of_another_model_is_refused(change: dict[str, object], complaint: str) -> None:
    model = named(f"g (float[N,2] x) => (float[N,2] y) <{W}> {{ y = MatMul(x, w) }}")
    plan = dataclasses.replace(plan_for(model), **change)  # type: ignore[arg-type]
    before = structure(model)
    with pytest.raises(QuantizationError, match=complaint):
        Quantize(plan)(model)
    assert structure(model) == before
