"""float16 and bfloat16 around the Q/DQ nodes: the float model is float32, and says the same."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest

from bmopt.graph.nesting import nodes_in
from bmopt.graph.origin import origin_of
from bmopt.optimizer.imported.importing import import_quantized
from bmopt.optimizer.passes.strip_qdq import StripQdq
from tests.optimizer.imported.quantised_models import fake_quantised
from tests.optimizer.literals import weights
from tests.quantizing import named
from tests.rewriting import random_feeds, run_plain

HALVES: dict[str, tuple[np.dtype[Any], int, int]] = {
    "float16": (np.dtype(np.float16), 10, 19),
    "bfloat16": (np.dtype(ml_dtypes.bfloat16), 16, 22),
}

BODY = """
  q = QuantizeLinear(IN, xs, xz)  d = DequantizeLinear(q, xs, xz)
  wq = QuantizeLinear<axis=0>(w, ws, wz)  wd = DequantizeLinear<axis=0>(wq, ws, wz)
  c = Conv<kernel_shape=[3,3]>(d, wd, b)
  r = Relu(c)
  rq = QuantizeLinear(r, rs, rz)  rd = DequantizeLinear(rq, rs, rz)
  p = GlobalAveragePool(rd)
  f = Flatten(p)
  OUT = MatMul(f, v)
"""
CONSTANTS = f"""
  {weights("w", (8, 4, 3, 3))}, {weights("b", (8,))}, {weights("v", (8, 5))},
  float xs = {{0.0234375}}, int8 xz = {{0}}, float rs = {{0.015625}}, int8 rz = {{0}},
  float[8] ws = {{0.01, 0.011, 0.0125, 0.013, 0.014, 0.015, 0.016, 0.017}},
  int8[8] wz = {{0, 0, 0, 0, 0, 0, 0, 0}}
"""
"""A filter whose weight is rounded in the graph, one scale per channel: ModelOpt's form."""


def halved(text: str, half: str, *, stored: bool = True) -> ir.Model:
    """Parse ``text`` and round all its float constants to half precision, or store them in it."""
    dtype, _, opset = HALVES[half]
    model = named(text, opset)
    for value in model.graph.initializers.values():
        assert value.const_value is not None
        if value.const_value.dtype == ir.DataType.FLOAT:
            narrow = value.const_value.numpy().astype(dtype)
            array = narrow if stored else narrow.astype(np.float32)
            value.const_value = ir.tensor(array, name=value.name)
            value.type = ir.TensorType(value.const_value.dtype)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    return model


def graph(outside: str, before: str = "", behind: str = "") -> str:
    body = BODY.replace("IN", "h" if before else "x").replace("OUT", "o" if behind else "y")
    return f"""
    g ({outside}[N,4,8,8] x) => ({outside}[N,5] y) <{CONSTANTS}>
    {{ {before} {body} {behind} }}
    """


def float_types(model: ir.Model) -> set[ir.DataType]:
    """Return the float types of all that nodes of the graph write, but for the model's outputs."""
    made = [out for node in nodes_in(model.graph) for out in node.outputs]
    inner = {out.dtype for out in made if out not in model.graph.outputs}
    constants = {v.dtype for v in model.graph.initializers.values()}
    return {t for t in inner | constants if t is not None and t.is_floating_point()}


@pytest.mark.parametrize("half", HALVES)
def test_casts_inside_go_and_everything_is_kept(half: str) -> None:
    code = HALVES[half][1]
    text = graph("float", f"h = Cast<to={code}>(x)", "y = Cast<to=1>(o)")
    model = halved(text, half)
    imported = import_quantized(model)
    plain = import_quantized(halved(graph("float"), half, stored=False))
    assert imported.weight_scales == plain.weight_scales
    assert len(imported.weight_scales["c"]) == 8
    assert set(imported.tensors) >= {"x", "r"}
    assert {k: v for k, v in imported.tensors.items() if k in ("x", "r")} == {
        k: v for k, v in plain.tensors.items() if k in ("x", "r")
    }
    assert imported.notes == {}
    assert imported.keep_float == ("o",)
    assert float_types(imported.model) == {ir.DataType.FLOAT}
    assert [node.op_type for node in imported.model.graph] == [
        "Conv",
        "Relu",
        "GlobalAveragePool",
        "Flatten",
        "MatMul",
    ]
    feeds = random_feeds(model, seed=3)
    (want,), (got,) = run_plain(plain.model, feeds), run_plain(imported.model, feeds)
    np.testing.assert_array_equal(got, want)


def test_the_import_computes_what_the_source_does() -> None:
    text = graph("float", "h = Cast<to=10>(x)", "y = Cast<to=1>(o)")
    model = halved(text, "float16")
    feeds = random_feeds(model, seed=3)
    (want,) = run_plain(model, feeds)
    (got,) = run_plain(fake_quantised(import_quantized(model)), feeds)
    np.testing.assert_allclose(got, want, atol=0.02, rtol=0.01)


def test_inputs_and_outputs_keep_their_type() -> None:
    model = halved(graph("float16"), "float16")
    before = ir.to_proto(model).SerializeToString()
    imported = import_quantized(model)
    assert ir.to_proto(model).SerializeToString() == before
    result = imported.model
    onnx.checker.check_model(ir.to_proto(result), full_check=True)
    ports = (*result.graph.inputs, *result.graph.outputs)
    assert [(port.name, port.dtype) for port in ports] == [
        ("x", ir.DataType.FLOAT16),
        ("y", ir.DataType.FLOAT16),
    ]
    assert float_types(result) == {ir.DataType.FLOAT}
    assert [node.op_type for node in result.graph].count("Cast") == 2
    assert all(origin_of(node) for node in result.graph)
    feeds = random_feeds(model, seed=3)
    (want,), (got,) = run_plain(model, feeds), run_plain(fake_quantised(imported), feeds)
    assert got.dtype == np.float16
    np.testing.assert_allclose(got, want, atol=0.02, rtol=0.01)


def test_integers_may_be_fed_to_half_precision() -> None:
    model = halved(
        """
        g (int8[N,4] x) => (float16[N,5] y)
          <float[4,5] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2},
           float s = {0.0234375}, int8 z = {0}>
        { d = DequantizeLinear(x, s, z)  y = MatMul(d, w) }
        """,
        "float16",
    )
    imported = import_quantized(model)
    feeds = {"x": np.arange(-4, 4, dtype=np.int8).reshape(2, 4)}
    np.testing.assert_array_equal(run_plain(imported.model, feeds)[0], run_plain(model, feeds)[0])
    assert imported.model.graph.inputs[0].dtype == ir.DataType.INT8


def test_constants_in_nodes_and_branches_are_widened() -> None:
    model = named(
        """
        g (float16[2,3] x, bool go) => (float16[2,3] y, float16 z)
        {
          s = Constant<value = float {0.5}>()
          h = Cast<to=10>(s)
          q = QuantizeLinear(x, h)
          d = DequantizeLinear(q, h)
          shape = Shape(d)
          ones = ConstantOfShape<value = float16[1] {15360}>(shape)
          y = If (go) <
            then_branch = a () => (float16[2,3] t) { t = Add(d, ones) },
            else_branch = b () => (float16[2,3] e) { e = Identity(d) }
          >
          z = ReduceSum<keepdims=0>(d)
        }
        """,
        opset=19,
    )
    result = StripQdq()(model.clone()).model
    onnx.checker.check_model(ir.to_proto(result), full_check=True)
    assert float_types(result) == {ir.DataType.FLOAT}
    for go in (True, False):
        feeds = {"x": np.array([[1.5, 0.5, 3], [2, 60, 5]], np.float16), "go": np.array(go)}
        for want, got in zip(run_plain(model, feeds), run_plain(result, feeds), strict=True):
            np.testing.assert_array_equal(got, want)


def test_outputs_that_are_inputs_or_constants_stay_so() -> None:
    model = halved(
        """
        g (float16[2] x, float16[2] t) => (float16[2] t, float16[2] k, float16[2] y)
          <float[2] k = {1.5, 2.5}, float s = {0.25}, uint8 z = {0}>
        { q = QuantizeLinear(x, s, z)  d = DequantizeLinear(q, s, z)  y = Add(d, k) }
        """,
        "float16",
    )
    result = import_quantized(model).model
    feeds = {"x": np.array([1, 2], np.float16), "t": np.array([3, 4], np.float16)}
    assert [v.name for v in result.graph.outputs] == ["t", "k", "y"]
    for want, got in zip(run_plain(model, feeds), run_plain(result, feeds), strict=True):
        assert got.dtype == np.float16
        np.testing.assert_array_equal(got, want)
