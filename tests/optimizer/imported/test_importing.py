"""Graphs as exporters write them, by hand."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from bmopt.core.imported import Imported
from bmopt.optimizer.imported.importing import import_quantized
from tests.optimizer.imported.quantised_models import (
    assert_same_arithmetic,
    float32,
    integers_of,
)
from tests.optimizer.literals import weights
from tests.quantizing import named

TORCH = f"""
g (float[N,3,8,8] x) => (float[N,2] y)
  <{weights("w", (4, 3, 3, 3))}, {weights("b", (4,))}, {weights("wl", (2, 4))},
   {weights("bl", (2,))}>
{{
  xs = Constant<value = float {{0.03}}>()
  xz = Constant<value = int8 {{0}}>()
  xq = QuantizeLinear(x, xs, xz)
  xd = DequantizeLinear(xq, xs, xz)
  ws = Constant<value = float[4] {{0.0079, 0.008, 0.009, 0.01}}>()
  wz = Constant<value = int8[4] {{0, 0, 0, 0}}>()
  wq = QuantizeLinear<axis=0>(w, ws, wz)
  wd = DequantizeLinear<axis=0>(wq, ws, wz)
  c = Conv<kernel_shape=[3,3]>(xd, wd, b)
  r = Relu(c)
  p = GlobalAveragePool(r)
  f = Flatten(p)
  fs = Constant<value = float {{0.02}}>()
  fq = QuantizeLinear(f, fs, xz)
  fd = DequantizeLinear(fq, fs, xz)
  ls = Constant<value = float {{0.0079}}>()
  lq = QuantizeLinear(wl, ls, xz)
  ld = DequantizeLinear(lq, ls, xz)
  lt = Transpose<perm=[1,0]>(ld)
  m = MatMul(fd, lt)
  y = Add(m, bl)
}}
"""
"""Quantisation-aware training in PyTorch: scales as Constants, pairs around float weights."""


def imported_from(text: str, opset: int = 17) -> tuple[ir.Model, Imported]:
    source = named(text, opset)
    return source, import_quantized(source)


def ops(imported: Imported) -> list[str]:
    return [node.op_type for node in imported.model.graph]


@pytest.mark.parametrize("opset", [13, 19, 21, 23])
def test_an_export_of_quantisation_aware_training(opset: int) -> None:
    source, imported = imported_from(TORCH, opset)
    assert ops(imported) == ["Conv", "Relu", "GlobalAveragePool", "Flatten", "MatMul", "Add"]
    assert imported.weight_scales["c"] == float32(0.0079, 0.008, 0.009, 0.01)
    assert imported.weight_scales["m"] == (float(np.float32(0.0079)),)
    assert imported.notes == {}
    assert imported.tensors["x"].scale == float(np.float32(0.03))
    assert np.abs(integers_of(imported, "c")).max() <= 127
    assert_same_arithmetic(source, imported)


def test_weights_of_keras_are_transposed_behind_their_pair() -> None:
    source, imported = imported_from(
        f"""
        g (float[1,3,6,6] x) => (float[1,4,6,6] y)
          <{weights("w", (1, 1, 3, 4))}, float[4] s = {{0.01, 0.02, 0.03, 0.04}},
           int8[4] z = {{0, 0, 0, 0}}, float xs = {{0.05}}, int8 xz = {{0}}>
        {{
          q = QuantizeLinear<axis=3>(w, s, z)
          d = DequantizeLinear<axis=3>(q, s, z)
          t = Transpose<perm=[3,2,0,1]>(d)
          xq = QuantizeLinear(x, xs, xz)
          xd = DequantizeLinear(xq, xs, xz)
          y = Conv<kernel_shape=[1,1]>(xd, t)
        }}
        """
    )
    assert ops(imported) == ["Conv"]
    assert imported.weight_scales["y"] == float32(0.01, 0.02, 0.03, 0.04)
    assert_same_arithmetic(source, imported)


@pytest.mark.parametrize("opset", [10, 12, 13])
def test_a_missing_zero_point_means_uint8(opset: int) -> None:
    source, imported = imported_from(
        """
        g (float[2,8] x) => (float[2,8] y) <float s = {0.01}>
        { n = Neg(x)  q = QuantizeLinear(n, s)  d = DequantizeLinear(q, s)  y = Tanh(d) }
        """,
        opset,
    )
    assert ops(imported) == ["Neg", "Relu", "Tanh"]
    (entry,) = imported.tensors.values()
    assert (entry.dtype, entry.zero_point, entry.low) == ("uint8", 0, 0.0)
    assert_same_arithmetic(source, imported)


def test_scales_that_constants_compute() -> None:
    source, imported = imported_from(
        """
        g (float[2,8] x) => (float[2,8] y) <float a = {0.02}, float b = {0.5}, int64 z = {0}>
        {
          s = Mul(a, b)
          i = Cast<to=3>(z)
          q = QuantizeLinear(x, s, i)
          d = DequantizeLinear(q, s, i)
          y = Tanh(d)
        }
        """
    )
    assert ops(imported) == ["Tanh"]
    assert imported.tensors["x"].scale == float(np.float32(0.02) * np.float32(0.5))
    assert_same_arithmetic(source, imported)


def test_an_output_behind_a_pair_keeps_its_name() -> None:
    source, imported = imported_from(
        """
        g (float[2,8] x) => (float[2,8] y, float[2,8] y2) <float s = {0.01}, int8 z = {0}>
        {
          t = Tanh(x)
          q = QuantizeLinear(t, s, z)
          y = DequantizeLinear(q, s, z)
          y2 = DequantizeLinear(q, s, z)
        }
        """
    )
    assert [v.name for v in imported.model.graph.outputs] == ["y", "y2"]
    assert ops(imported) == ["Tanh", "Identity"]
    assert set(imported.tensors) == {"y", "y2"}
    assert_same_arithmetic(source, imported)


def test_a_pair_on_an_input_that_is_an_output() -> None:
    source, imported = imported_from(
        """
        g (float[2,8] x) => (float[2,8] y) <float s = {0.01}, int8 z = {0}>
        { q = QuantizeLinear(x, s, z)  y = DequantizeLinear(q, s, z) }
        """
    )
    assert ops(imported) == ["Identity"]
    assert_same_arithmetic(source, imported)


CHAIN = """
g (float[2,8] x) => (float[2,8] y, float[2,8] y2)
  <float s = {0.02}, float t = {0.01}, int8 z = {0}>
{
  n = Neg(x)
  q = QuantizeLinear(n, s, z)
  d = DequantizeLinear(q, s, z)
  q2 = QuantizeLinear(READ, t, z)
  d2 = DequantizeLinear(q2, t, z)
  y = Tanh(d2)
  y2 = Sin(OTHER)
}
"""


@pytest.mark.parametrize(
    ("read", "other", "scale"),
    [("d", "x", 0.01), ("n", "d", 0.02), ("d", "d", 0.02)],
    ids=["one behind the other", "side by side", "both"],
)
def test_two_encodings_of_one_tensor(read: str, other: str, scale: float) -> None:
    _, imported = imported_from(CHAIN.replace("READ", read).replace("OTHER", other))
    assert imported.tensors["n"].scale == float(np.float32(scale))
    assert "two encodings" in imported.notes["q2"]
    assert sorted(ops(imported)) == ["Neg", "Sin", "Tanh"]


def test_movers_between_a_pair_move_floats() -> None:
    source, imported = imported_from(
        """
        g (float[2,4,6,6] x) => (float[2,100] y, float[2,4,5,5] y2, int64[4] shape)
          <float s = {0.02}, uint8 z = {100}, int64[2] flat = {2, 100},
           int64[8] pads = {0, 0, 1, 1, 0, 0, 1, 1}, uint8 fill = {7}>
        {
          q = QuantizeLinear(x, s, z)
          m = MaxPool<kernel_shape=[2,2], strides=[1,1]>(q)
          p = Pad(m, pads)
          k = MaxPool<kernel_shape=[3,3], strides=[1,1]>(p)
          o = Pad(q, pads, fill)
          l = MaxPool<kernel_shape=[4,4], strides=[1,1]>(o)
          t = Transpose<perm=[0,2,3,1]>(l)
          u = Transpose<perm=[0,3,1,2]>(t)
          j = Concat<axis=1>(k, u)
          v, w = Split<axis=1>(j)
          shape = Shape(v)
          r = Reshape(w, flat)
          y = DequantizeLinear(r, s, z)
          y2 = DequantizeLinear(v, s, z)
        }
        """,
        opset=13,
    )
    assert [node.name for node in imported.model.graph] == [*"mpkoltujvr"[:9], "shape", "r"]
    assert "two encodings" not in str(imported.notes)
    assert_same_arithmetic(source, imported)


def test_outputs_and_inputs_that_are_integers_stay_integers() -> None:
    source, imported = imported_from(
        """
        g (uint8[2,8] x, int8[2,8] u) => (int8[2,8] y, uint8[2,8] y2)
          <float s = {0.02}, uint8 z = {3}, float t = {0.01}, int8 o = {5}>
        {
          d = DequantizeLinear(x, s, z)
          e = DequantizeLinear(u, t)
          a = Add(d, e)
          y = QuantizeLinear(a, t, o)
          b = DequantizeLinear(x, s, z)
          c = Tanh(b)
          q = QuantizeLinear(c, s, z)
          y2 = Identity(q)
        }
        """
    )
    assert [v.dtype for v in imported.model.graph.outputs] == [ir.DataType.INT8, ir.DataType.UINT8]
    assert [v.name for v in imported.model.graph.outputs] == ["y", "y2"]
    assert ops(imported).count("Cast") == 4
    assert_same_arithmetic(source, imported)


def test_pairs_in_the_body_of_an_if() -> None:
    _, imported = imported_from(
        """
        g (float[2,8] x, bool c) => (float[2,8] y) <float s = {0.02}, int8 z = {0}>
        {
          n = Neg(x)
          q = QuantizeLinear(n, s, z)
          y = If(c) <
            then_branch = a () => (float[2,8] p) { p = DequantizeLinear(q, s, z) },
            else_branch = b () => (float[2,8] r) {
              i = Tanh(n)
              j = QuantizeLinear(i, s, z)
              k = DequantizeLinear(j, s, z)
              r = Sin(k)
            }
          >
        }
        """
    )
    assert {n.op_type for n in imported.model.graph.all_nodes()} == {
        "Neg",
        "If",
        "Identity",
        "Tanh",
        "Sin",
    }
    assert set(imported.tensors) >= {"n", "i"}


def test_functions_that_quantise_are_inlined() -> None:
    source = ir.from_onnx_text(
        """
        <ir_version: 8, opset_import: ["" : 17, "own" : 1]>
        g (float[2,8] x) => (float[2,8] y) { d = own.fake(x)  y = Tanh(d) }
        <domain: "own", opset_import: ["" : 17]>
        fake (a) => (b)
        {
          s = Constant<value = float {0.02}>()
          z = Constant<value = int8 {0}>()
          q = QuantizeLinear(a, s, z)
          b = DequantizeLinear(q, s, z)
        }
        """
    )
    imported = import_quantized(source)
    assert ops(imported) == ["Tanh"]
    assert imported.tensors["x"].scale == float(np.float32(0.02))
