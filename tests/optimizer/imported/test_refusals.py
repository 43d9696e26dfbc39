from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest

from bmopt.errors import QuantizationError
from bmopt.optimizer.imported.importing import import_quantized
from tests.quantizing import named

CASES = {
    "dynamic": (
        "float[4,4] x",
        "uint8[4,4] y, float s, uint8 z",
        "y, s, z = DynamicQuantizeLinear(x)",
        "'y' (DynamicQuantizeLinear) quantises at run time",
    ),
    "matmul integer": (
        "uint8[4,4] x, int8[4,4] w",
        "int32[4,4] y",
        "y = MatMulInteger(x, w)",
        "'y' (MatMulInteger) quantises at run time",
    ),
    "conv integer": (
        "uint8[1,4,4,4] x, uint8[1,4,1,1] w",
        "int32[1,1,4,4] y",
        "y = ConvInteger(x, w)",
        "'y' (ConvInteger) quantises at run time",
    ),
    "scale that is fed": (
        "float[4,4] x, float s",
        "float[4,4] y",
        "q = QuantizeLinear(x, s)  y = DequantizeLinear(q, s)",
        "'q' (QuantizeLinear) computes its scale at run time",
    ),
    "scale that is computed": (
        "float[4,4] x",
        "float[4,4] y",
        "s = ReduceMax<keepdims=0>(x)  q = QuantizeLinear(x, s)  y = DequantizeLinear(q, s)",
        "'q' (QuantizeLinear) computes its scale at run time",
    ),
    "16-bit activation": (
        "float[4,4] x",
        "float[4,4] y",
        """s = Constant<value = float {0.1}>()  z = Constant<value = int16 {0}>()
           q = QuantizeLinear(x, s, z)  y = DequantizeLinear(q, s, z)""",
        "'q' (QuantizeLinear) quantises an activation to int16",
    ),
    "per-channel activation": (
        "float[4,4] x",
        "float[4,4] y",
        """s = Constant<value = float[4] {0.1, 0.2, 0.3, 0.4}>()
           q = QuantizeLinear<axis=1>(x, s)  y = DequantizeLinear<axis=1>(q, s)""",
        "'q' (QuantizeLinear) quantises an activation per channel",
    ),
    "blocked weight": (
        "float[4,4] x",
        "float[4,2] y",
        """w = Constant<value = int8[4,2] {1, 2, 3, 4, 5, 6, 7, 8}>()
           s = Constant<value = float[2,2] {0.1, 0.2, 0.3, 0.4}>()
           d = DequantizeLinear<axis=0, block_size=2>(w, s)  y = MatMul(x, d)""",
        "'d' (DequantizeLinear) has blocked scales",
    ),
    "scales that do not fit": (
        "float[4,4] x",
        "float[4,2] y",
        """w = Constant<value = float[4,2] {1, 2, 3, 4, 5, 6, 7, 8}>()
           s = Constant<value = float[3] {0.1, 0.2, 0.3}>()
           q = QuantizeLinear<axis=1>(w, s)  d = DequantizeLinear<axis=1>(q, s)
           y = MatMul(x, d)""",
        "'q' (QuantizeLinear) has 3 scales along axis 1 of a constant of shape [4, 2]",
    ),
    "integers that the scales do not fit": (
        "float[4,4] x",
        "float[4,2] y",
        """w = Constant<value = int8[4,2] {1, 2, 3, 4, 5, 6, 7, 8}>()
           s = Constant<value = float[3] {0.1, 0.2, 0.3}>()
           d = DequantizeLinear<axis=1>(w, s)  y = MatMul(x, d)""",
        "'d' (DequantizeLinear) has 3 scales along axis 1 of a constant of shape [4, 2]",
    ),
    "scale of zero": (
        "float[4,4] x",
        "float[4,4] y",
        """s = Constant<value = float {0.0}>()
           q = QuantizeLinear(x, s)  y = DequantizeLinear(q, s)""",
        "'q' (QuantizeLinear) has a scale that is not positive",
    ),
    "two scales": (
        "float[4,4] x",
        "float[4,4] y",
        """s = Constant<value = float {0.1}>()  t = Constant<value = float {0.2}>()
           q = QuantizeLinear(x, s)  y = DequantizeLinear(q, t)""",
        "'y' (DequantizeLinear) reads integers at another scale than they were written",
    ),
    "arithmetic on integers": (
        "float[4,4] x",
        "float[4,4] y",
        """s = Constant<value = float {0.1}>()
           q = QuantizeLinear(x, s)  y = Cast<to=1>(q)""",
        "'y' (Cast) computes with integers",
    ),
    "concat of two scales": (
        "float[4,4] x",
        "float[8,4] y",
        """s = Constant<value = float {0.1}>()  t = Constant<value = float {0.2}>()
           p = QuantizeLinear(x, s)  q = QuantizeLinear(x, t)  c = Concat<axis=0>(p, q)
           y = DequantizeLinear(c, s)""",
        "'c' (Concat) joins integers of different scales",
    ),
    "sums of products": (
        "int32[4,4] x",
        "float[4,4] y",
        "s = Constant<value = float {0.1}>()  y = DequantizeLinear(x, s)",
        "'y' (DequantizeLinear) quantises an activation to int32",
    ),
    "float64": (
        "double[4,4] x",
        "double[4,4] y",
        """s = Constant<value = double {0.1}>()
           q = QuantizeLinear(x, s)  y = DequantizeLinear(q, s)""",
        "'q' (QuantizeLinear) has float64 scales",
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_what_has_no_static_8_bit_form_is_refused_by_name(case: tuple[str, ...]) -> None:
    inputs, outputs, body, message = case
    model = named(f"g ({inputs}) => ({outputs}) {{ {body} }}", opset=21)
    with pytest.raises(QuantizationError) as caught:
        import_quantized(model)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "; " in str(caught.value), "it says what to do"


@pytest.mark.parametrize("op", ["MatMulNBits", "QAttention", "QLinearSomething"])
def test_ops_without_a_float_twin_are_named(op: str) -> None:
    model = named(
        f"""
        <ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
        g (float[4,4] x) => (float[4,4] y) {{ y = com.microsoft.{op}(x) }}
        """
    )
    with pytest.raises(QuantizationError, match=rf"'y' \({op}\) has no float op"):
        import_quantized(model)


def test_integers_at_an_opset_without_round() -> None:
    model = named(
        """
        g (float[4,4] x) => (uint8[4,4] y) <float s = {0.1}, uint8 z = {0}>
        { y = QuantizeLinear(x, s, z) }
        """,
        opset=10,
    )
    with pytest.raises(QuantizationError, match="opset without Round"):
        import_quantized(model)


@pytest.mark.parametrize("dtype", [ml_dtypes.float8_e4m3fnuz, ml_dtypes.float8_e5m2])
def test_other_kinds_of_float8_are_refused(dtype: type) -> None:
    model = named(
        """
        g (float[4,4] x) => (float[4,4] y) <float s = {0.1}, uint8 z = {0}>
        { q = QuantizeLinear(x, s, z)  y = DequantizeLinear(q, s, z) }
        """,
        opset=21,
    )
    zero = model.graph.initializers["z"]
    zero.const_value = ir.tensor(np.zeros((), dtype))
    zero.type = ir.TensorType(zero.const_value.dtype)
    with pytest.raises(QuantizationError, match=r"'q' .* stores float8"):
        import_quantized(model)
