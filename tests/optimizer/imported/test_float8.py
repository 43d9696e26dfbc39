"""Models in float8: kept for targets that store float8, encoded again for those of int8."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest

from bmopt.optimizer.imported.importing import import_quantized
from tests.optimizer.imported.quantised_models import (
    assert_same_arithmetic,
    float32,
    planned_again,
    stored_weights,
)
from tests.optimizer.literals import weights
from tests.quantizing import named
from tests.rewriting import random_feeds, run_plain

FLOAT8 = np.dtype(ml_dtypes.float8_e4m3fn)
SCALES = [0.001, 0.0011, 0.00125, 0.0013, 0.0014, 0.0015, 0.0016, 0.0017]


def float8(text: str, *, half: bool = False, opset: int = 19) -> ir.Model:
    """Parse ``text`` with its uint8 constants in float8, its float ones in float16 if asked to."""
    model = named(text, opset)
    for value in model.graph.initializers.values():
        assert value.const_value is not None
        array = value.const_value.numpy()
        if array.dtype == np.uint8:
            array = array.astype(np.float32).astype(FLOAT8)
        elif half and array.dtype == np.float32:
            array = array.astype(np.float16)
        value.const_value = ir.tensor(array, name=value.name)
        value.type = ir.TensorType(value.const_value.dtype)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    return model


def pairs(name: str) -> str:
    return f"{name}q = QuantizeLinear({name}, s, z)  {name}d = DequantizeLinear({name}q, s, z)"


NET = f"""
g (FLOAT[N,4,8,8] x) => (FLOAT[N,8,6,6] y)
  <{weights("w", (8, 4, 3, 3))}, float s = {{0.0078125}}, uint8 z = {{0}},
   float[8] ws = {{{", ".join(map(str, SCALES))}}}, uint8[8] wz = {{0, 0, 0, 0, 0, 0, 0, 0}}>
{{
  {pairs("x")}
  wq = QuantizeLinear<axis=0>(w, ws, wz)  wd = DequantizeLinear<axis=0>(wq, ws, wz)
  y = Conv<kernel_shape=[3,3]>(xd, wd)
}}
"""
"""One filter as ModelOpt writes it for FP8."""


@pytest.mark.parametrize("half", [False, True])
def test_float8_is_kept_for_float8(*, half: bool) -> None:
    model = float8(NET.replace("FLOAT", "float16" if half else "float"), half=half)
    imported = import_quantized(model, "float8e4m3fn")
    assert imported.notes == {}
    kept = np.array(SCALES, np.float16 if half else np.float32).astype(np.float32)
    assert imported.weight_scales == {"y": tuple(map(float, kept))}
    name = "x_wide" if half else "x"
    entry = imported.tensors[name]
    assert (entry.dtype, entry.scale, entry.zero_point) == ("float8e4m3fn", 2.0**-7, 0)
    assert (entry.low, entry.high, entry.bound) == (-3.5, 3.5, 3.5)
    written, plan = planned_again(imported, "fp8")
    assert plan.activations[name].scale == 2.0**-7
    source = {node.name: node for node in model.graph}["wq"].inputs[0]
    assert source is not None
    assert source.const_value is not None
    spread = kept.reshape(-1, 1, 1, 1)
    steps = (source.const_value.numpy().astype(np.float32) / spread).clip(-448, 448)
    weight = stored_weights(written)["y"]
    assert weight.dtype == FLOAT8
    np.testing.assert_array_equal(weight.astype(np.float32), steps.astype(FLOAT8).astype("f4"))
    if not half:
        assert_same_arithmetic(model, imported)


def test_float8_is_encoded_again_for_integers() -> None:
    model = float8(NET.replace("FLOAT", "float"))
    imported = import_quantized(model)
    assert imported.weight_scales == {}
    assert not imported.bounds_values("int8")
    assert imported.bounds_values("float8e4m3fn")
    assert imported.notes == {
        "xq": "float8e4m3fn re-encoded as int8",
        "y": "weight re-encoded: it is stored as float8e4m3fn",
    }
    plan = planned_again(imported)[1]
    assert plan.activations["x"].dtype == "int8"
    assert plan.activations["x"].scale == pytest.approx(3.5 / 127)


def test_integers_are_encoded_again_for_float8() -> None:
    model = named(
        """
        g (float[N,4] x) => (float[N,2] y)
          <float s = {0.03125}, int8 z = {0}, uint8 u = {7},
           int8[4,2] w = {1, -2, 3, -4, 5, -6, 7, -127}>
        {
          q = QuantizeLinear(x, s, z)  d = DequantizeLinear(q, s, z)
          m = Mul(d, d)
          v = QuantizeLinear(m, s, u)  e = DequantizeLinear(v, s, u)
          wd = DequantizeLinear(w, s, z)
          y = MatMul(e, wd)
        }
        """
    )
    imported = import_quantized(model, "float8e4m3fn")
    assert imported.weight_scales == {}
    assert imported.notes == {
        "q": "int8 re-encoded as float8e4m3fn",
        "v": "uint8 re-encoded as float8e4m3fn",
        "y": "weight re-encoded: it is stored as int8",
    }
    assert imported.bounds_values("int8")
    assert imported.tensors["m"].bound == pytest.approx(248 * 0.03125)
    assert import_quantized(model).weight_scales == {"y": float32(0.03125)}


@pytest.mark.parametrize(
    ("op", "shape"), [("Transpose<perm=[1,0,2]>(q)", "3,2,4"), ("Reshape(q, flat)", "24")]
)
def test_ops_that_move_float8_move_floats(op: str, shape: str) -> None:
    model = float8(
        f"""
        g (float[2,3,4] x) => (float[{shape}] y)
          <float s = {{0.015625}}, uint8 z = {{0}}, int64[1] flat = {{-1}}>
        {{ q = QuantizeLinear(x, s, z)  m = {op}  y = DequantizeLinear(m, s, z) }}
        """,
        opset=21,
    )
    imported = import_quantized(model, "float8e4m3fn")
    onnx.checker.check_model(ir.to_proto(imported.model), full_check=True)
    (node,) = imported.model.graph
    assert op.startswith(node.op_type)
    assert imported.tensors["x"].scale == imported.tensors["y"].scale == 0.015625


def test_inputs_and_outputs_in_float8_stay_so() -> None:
    model = named(
        """
        g (float8e4m3fn[2,3] x) => (float8e4m3fn[2,3] y)
          <float s = {0.5}, float t = {0.25}, uint8 z = {0}>
        { d = DequantizeLinear(x, s)  r = Relu(d)  y = QuantizeLinear(r, t, z) }
        """,
        opset=19,
    )
    zero = model.graph.initializers["z"]
    zero.const_value = ir.tensor(np.zeros((), FLOAT8), name="z")
    zero.type = ir.TensorType(ir.DataType.FLOAT8E4M3FN)
    result = import_quantized(model, "float8e4m3fn").model
    onnx.checker.check_model(ir.to_proto(result), full_check=True)
    assert result.graph.inputs[0].dtype == result.graph.outputs[0].dtype
    assert result.graph.outputs[0].dtype == ir.DataType.FLOAT8E4M3FN
    assert "Round" not in {node.op_type for node in result.graph}


def test_random_numbers_agree_with_onnxruntime() -> None:
    """Rounding, ties included, and saturation to 448 are those of ONNX Runtime's kernel."""
    model = float8(
        """
        g (float[64,64] x) => (float[64,64] y) <float s = {0.25}, uint8 z = {0}>
        { q = QuantizeLinear(x, s, z)  y = DequantizeLinear(q, s, z) }
        """
    )
    numbers = random_feeds(model)["x"] * 100
    numbers[0, :4] = [1.0625 * 0.25, 1.1875 * 0.25, 1000, -1000]
    (want,) = run_plain(model, {"x": numbers})
    constant = model.clone()
    constant.graph.inputs.clear()
    value = ir.Value(
        name="x",
        type=ir.TensorType(ir.DataType.FLOAT),
        shape=ir.Shape([64, 64]),
        const_value=ir.tensor(numbers, name="x"),
    )
    old = constant.graph[0].inputs[0]
    assert old is not None
    old.replace_all_uses_with(value)
    constant.graph.register_initializer(value)
    (got,) = run_plain(import_quantized(constant, "float8e4m3fn").model, {})
    np.testing.assert_array_equal(got, want)
