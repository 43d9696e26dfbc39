"""Q/DQ graphs with a half-precision float side."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from bmopt.optimizer.passes.cast_float import CastFloat
from tests.casting import converted, plan_for
from tests.quantizing import CONV_NET, named, quantized, samples_for, sqnr_db
from tests.rewriting import run_plain, structure


def test_before_and_after() -> None:
    model = named(
        "g (float[1,2] x) => (float[1,2] y) <float s = {0.5}, int8 z = {0}, int8[2,2] w = "
        "{1, 2, 3, 4}, float[2] t = {0.25, 0.125}, int8[2] o = {0, 0}> { q = QuantizeLinear(x, s, "
        "z) d = DequantizeLinear(q, s, z) v = DequantizeLinear<axis=1>(w, t, o) y = MatMul(d, v) }"
    )
    copy = converted(model, plan_for())
    assert copy.opset_imports[""] == 19
    weight = "INT8[2, 2][[1. 2.] [3. 4.]], FLOAT16[2][0.25  0.125], INT8[2][0. 0.]"
    assert structure(copy) == [
        "in x",
        "%2 = Cast(x) {'to': 10}",
        "%3 = QuantizeLinear(%2, FLOAT16[]0.5, INT8[]0.) {}",
        "%4 = DequantizeLinear(%3, FLOAT16[]0.5, INT8[]0.) {}",
        f"%5 = DequantizeLinear({weight}) {{'axis': 1}}",
        "%6 = MatMul(%4, %5) {}",
        "y = Cast(%6) {'to': 1}",
        "out y",
    ]


def weight_error(copy: ir.Model, want: np.ndarray) -> np.ndarray:
    """Return the error of the weight that DequantizeLinear makes of int8 codes."""
    node = next(n for n in copy.graph if n.op_type == "DequantizeLinear")
    stored, scale = (v.const_value.numpy().astype(np.float64) for v in node.inputs[:2])
    return np.abs(stored * scale - want)


@pytest.mark.parametrize("scale", [3e-3, 7e-5, 1.3e-5, 1e-6, 7e-8, 1e-9, 1e-30])
def test_weights_are_rounded_anew_for_scales_with_few_digits(scale: float) -> None:
    codes = np.array([[127, -127, 64, 1]])
    model = named(
        f"g (float[1,1] x) => (float[1,4] y) <int8[1,4] w = {{127, -127, 64, 1}}, float s = "
        f"{{{scale}}}, int8 z = {{0}}> {{ v = DequantizeLinear(w, s, z) y = MatMul(x, v) }}"
    )
    copy = converted(model, plan_for())
    node = next(n for n in copy.graph if n.op_type == "DequantizeLinear")
    step = float(node.inputs[1].const_value.numpy())
    assert step >= 2.0**-24
    assert weight_error(copy, codes * scale).max() <= step / 2 + 127 * scale / 2048


def test_a_code_does_not_wrap_around() -> None:
    model = named(
        "g (float[1,1] x) => (float[1,2] y) <uint8[1,2] w = {255, 0}, float s = {1.0038}, "
        "uint8 z = {128}> { v = DequantizeLinear(w, s, z) y = MatMul(x, v) }"
    )
    copy = converted(model, plan_for(dtype="bfloat16"))
    node = next(n for n in copy.graph if n.op_type == "DequantizeLinear")
    assert node.inputs[0].const_value.numpy().tolist() == [[255, 0]]


def test_shared_codes_and_scales_are_stored_once() -> None:
    model = named(
        "g (float[1,1] x) => (float[1,2] y, float[1,2] u) <int8[1,2] w = {9, -9}, float s = "
        "{0.0000001}, int8 z = {0}> { a = DequantizeLinear(w, s, z) b = DequantizeLinear(w, s, z) "
        "y = MatMul(x, a) u = MatMul(x, b) }"
    )
    assert len(converted(model, plan_for()).graph.initializers) == 3


def test_float32_q_and_dq_keep_their_scales() -> None:
    model = named(
        "g (float[2] x) => (float[2] y) <float s = {0.1}, int8 z = {0}> "
        "{ a = Exp(x) q = QuantizeLinear(a, s, z) d = DequantizeLinear(q, s, z) y = Neg(d) }"
    )
    copy = converted(model, plan_for("q", "d"))
    assert copy.opset_imports[""] == 17
    ops = [n.op_type for n in copy.graph if n.op_type != "Cast"]
    assert ops == ["Exp", "QuantizeLinear", "DequantizeLinear", "Neg"]
    assert [v.name for v in copy.graph.initializers.values()] == ["s", "z"]


def test_the_output_type_of_a_dq_follows() -> None:
    model = named(
        "g (int8[2] x) => (float[2] y) <float s = {0.1}> "
        "{ d = DequantizeLinear<output_dtype=1>(x, s) y = Exp(d) }",
        23,
    )
    node = converted(model, plan_for()).graph.node("d")
    assert node.attributes.get_int("output_dtype", 0) == ir.DataType.FLOAT16


def test_a_network_stays_as_good_as_it_was() -> None:
    model = named(CONV_NET)
    integers, _ = quantized(model)
    half = integers.clone()
    CastFloat(plan_for())(half)
    feeds = samples_for(model, seed=1)
    want = run_plain(model, feeds)[0]
    before = sqnr_db(want, run_plain(integers, feeds)[0])
    assert sqnr_db(want, run_plain(half, feeds)[0]) > before - 1
