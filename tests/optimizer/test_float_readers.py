from __future__ import annotations

from unittest import mock

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from bmopt.optimizer.float_readers import keep_readers_in_float
from bmopt.optimizer.passes import quantize
from tests.engine import PlainRunner
from tests.optimizer.literals import weights
from tests.quantizing import CONV_NET, named, quantized, run_optimised, samples_for, sqnr_db

GEMMS = f"""
g (float[N,6] x) => (float[N,5] y)
  <{weights("w1", (8, 6))}, {weights("b1", (8,))}, {weights("w2", (8, 7))}, {weights("b2", (7,))},
   {weights("w3", (5, 7))}, {weights("w4", (8, 6))}>
{{
  g1 = Gemm<transB=1>(x, w1, b1)
  g3 = Gemm<transB=1>(x, w4)
  a = Add(g1, g3)
  g2 = Gemm(a, w2, b2)
  y = Gemm<transB=1>(g2, w3)
}}
"""


def island(text: str, kept: str) -> tuple[ir.Model, ir.Model]:
    """Return a model with one product in float between integers, and the same looked after."""
    with mock.patch.object(quantize, "keep_readers_in_float"):
        model, _ = quantized(named(text), keep_float=[kept])
    looked_after = model.clone()
    assert keep_readers_in_float(looked_after)
    onnx.checker.check_model(ir.to_proto(looked_after), full_check=True)
    return model, looked_after


@pytest.mark.parametrize(("text", "kept"), [(CONV_NET, "c2"), (GEMMS, "g2")])
def test_what_it_computes_stays_the_same_to_the_bit(text: str, kept: str) -> None:
    model, looked_after = island(text, kept)
    feeds = samples_for(model)
    with PlainRunner(model) as before, PlainRunner(looked_after) as after:
        expected, found = before.run(feeds), after.run(feeds)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize(("text", "kept"), [(CONV_NET, "c2"), (GEMMS, "g2")])
def test_the_engine_leaves_float_weights_alone(text: str, kept: str) -> None:
    """As far from what is written as other kernels' rounding, not as 8-bit weights."""
    model, looked_after = island(text, kept)
    feeds = samples_for(model)
    with PlainRunner(model) as plain:
        written = next(iter(plain.run(feeds).values()))
    as_it_is, kept_float = (
        sqnr_db(written, run_optimised(one, feeds)[0]) for one in (model, looked_after)
    )
    assert kept_float >= as_it_is
    assert kept_float > 50.0


def test_readers_of_a_tensor_share_what_dequantises_it() -> None:
    _, looked_after = island(CONV_NET, "c2")
    found = [
        node
        for node in looked_after.graph
        if node.op_type == "DequantizeLinear" and len(node.inputs[1].shape or ()) == 1
    ]
    readers = {use.node.name for node in found for use in node.outputs[0].uses()}
    assert "c2" in readers


def test_integers_and_a_second_run_change_nothing() -> None:
    model, _ = quantized(named(CONV_NET))
    assert not keep_readers_in_float(model)
    _, looked_after = island(CONV_NET, "c2")
    assert not keep_readers_in_float(looked_after)


def test_the_quantize_pass_looks_after_them() -> None:
    applied, _ = quantized(named(CONV_NET), keep_float=["c2"])
    assert not keep_readers_in_float(applied)


def test_float_models_have_nothing_to_keep() -> None:
    assert not keep_readers_in_float(named(CONV_NET))
