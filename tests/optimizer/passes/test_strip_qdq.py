from __future__ import annotations

import pytest

from bmopt.errors import QuantizationError
from bmopt.optimizer.passes.strip_qdq import StripQdq
from bmopt.optimizer.registry import find_pass
from tests.optimizer.imported.quantised_models import QOPERATOR, by_onnxruntime
from tests.rewriting import assert_keeps, assert_rewrites, check_pass, parse

BEFORE = """
g (float[1,2,4,4] x) => (float[1,2,2,2] y)
  <int8[2,2,1,1] w = {1, -2, 3, -4}, float[2] ws = {0.5, 0.25}, int8[2] wz = {0, 0},
   int32[2] b = {8, 16}, float[2] bs = {0.25, 0.125}, float s = {0.5}, uint8 z = {128},
   float os = {2.0}, uint8 oz = {OZ}>
{
  wd = DequantizeLinear<axis=0>(w, ws, wz)
  bd = DequantizeLinear<axis=0>(b, bs)
  q = QuantizeLinear(x, s, z)
  d = DequantizeLinear(q, s, z)
  c = Conv<kernel_shape=[1,1]>(d, wd, bd)
  cq = QuantizeLinear(c, os, oz)
  m = MaxPool<kernel_shape=[2,2], strides=[2,2]>(cq)
  y = DequantizeLinear(m, os, oz)
}
"""
AFTER = """
g (float[1,2,4,4] x) => (float[1,2,2,2] y)
  <float[2,2,1,1] w = {0.5, -1.0, 0.75, -1.0}, float[2] b = {2.0, 2.0}>
{
  c = Conv<kernel_shape=[1,1]>(x, w, b)
  y = MaxPool<kernel_shape=[2,2], strides=[2,2]>(RESULT)
}
"""


def test_pairs_weights_biases_and_movers() -> None:
    assert_rewrites(
        StripQdq(),
        before=BEFORE.replace("OZ", "100"),
        after=AFTER.replace("RESULT", "c"),
        compare=False,
    )


def test_saturation_at_zero_is_a_relu() -> None:
    assert_rewrites(
        StripQdq(),
        before=BEFORE.replace("OZ", "0"),
        after=AFTER.replace("RESULT", "r").replace("  y =", "  r = Relu(c)\n  y ="),
        compare=False,
    )


def test_a_weight_between_a_pair_is_rounded() -> None:
    assert_rewrites(
        StripQdq(),
        before="""
        g (float[2,2] x) => (float[2,2] y)
          <float[2,2] w = {0.1, 0.6, -0.4, 90.0}, float s = {0.5}, int8 z = {0}>
        { q = QuantizeLinear(w, s, z)  d = DequantizeLinear(q, s, z)  y = MatMul(x, d) }
        """,
        after="""
        g (float[2,2] x) => (float[2,2] y) <float[2,2] w = {0.0, 0.5, -0.5, 63.5}>
        { y = MatMul(x, w) }
        """,
    )


def test_a_float_model_is_kept() -> None:
    assert_keeps(StripQdq(), "g (float[2,2] x) => (float[2,2] y) { y = Relu(x) }")


def test_what_onnxruntime_writes_is_left_valid() -> None:
    for options in ({}, {"quant_format": QOPERATOR}):
        assert check_pass(StripQdq(), by_onnxruntime(**options), compare=False).modified


def test_a_refusal_is_an_error() -> None:
    model = parse("g (float[2] x) => (uint8[2] y) { y, s, z = DynamicQuantizeLinear(x) }")
    with pytest.raises(QuantizationError, match="quantises at run time"):
        StripQdq()(model)


def test_it_is_registered() -> None:
    assert find_pass("strip-qdq") is StripQdq
    assert StripQdq.effect == "lossy"
