"""Each op on integers against ONNX Runtime's kernel for it."""

from __future__ import annotations

import numpy as np
import pytest

from bmopt.errors import QuantizationError
from bmopt.optimizer.imported.importing import import_quantized
from tests.optimizer.imported.quantised_models import fake_quantised
from tests.quantizing import named
from tests.rewriting import random_feeds, run_plain

STEP = 0.03
QUANTIZED = "q = QuantizeLinear(x, s, z)  p = QuantizeLinear(x2, s, z)"
CASES = {
    "QLinearConv": "r = QLinearConv<kernel_shape=[2,2]>(q, s, z, w, ws, wz, o, u, b)",
    "QLinearMatMul": "r = QLinearMatMul(q, s, z, m, ms, mz, o, u)",
    "Gemm": "r = com.microsoft.QGemm<alpha=0.5>(k, s, z, m, ms, mz, c, o, u)",
    "Gemm transposed": "r = com.microsoft.QGemm<transB=1>(k, s, z, m, ms, mz, c, o, u)",
    "Add": "r = com.microsoft.QLinearAdd(q, s, z, p, s, z, o, u)",
    "Add a constant": "r = com.microsoft.QLinearAdd(q, s, z, e, ws1, z, o, u)",
    "Mul": "r = com.microsoft.QLinearMul(q, s, z, p, s, z, o, u)",
    "AveragePool": "r = com.microsoft.QLinearAveragePool<kernel_shape=[2,2]>(q, s, z, o, u)",
    "GlobalAveragePool": "r = com.microsoft.QLinearGlobalAveragePool(q, s, z, o, u)",
    "Sigmoid": "r = com.microsoft.QLinearSigmoid(q, s, z, o, u)",
    "LeakyRelu": "r = com.microsoft.QLinearLeakyRelu<alpha=0.2>(q, s, z, o, u)",
    "Softmax": "r = com.microsoft.QLinearSoftmax<axis=1, opset=17>(q, s, z, o, u)",
    "Concat": "r = com.microsoft.QLinearConcat<axis=1>(o, u, q, s, z, p, s, z)",
    "Where": "r = com.microsoft.QLinearWhere(t, q, s, z, p, s, z, o, u)",
}


def graph(body: str) -> str:
    """Return a model whose result r, at scale 0.03, is dequantised to y."""
    shape = "[2,4]" if "QGemm" in body else "[2,3,4,4]"
    flat = "k = Flatten(q)" if "QGemm" in body else ""
    inputs = f"float{shape} x, float{shape} x2, bool{shape} t"
    return f"""
    <ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]>
    g ({inputs}) => (float[N] y)
      <float s = {{0.02}}, uint8 z = {{120}}, float o = {{{STEP}}}, uint8 u = {{100}},
       int8[2,3,2,2] w = {{{", ".join(str(11 * i - 120) for i in range(24))}}},
       float[2] ws = {{0.01, 0.004}}, int8[2] wz = {{0, 0}}, int32[2] b = {{1000, -3000}},
       int8[4,4] m = {{{", ".join(str(15 * i - 110) for i in range(16))}}},
       float[4] ms = {{0.01, 0.004, 0.002, 0.005}}, int8[4] mz = {{0, 0, 0, 0}},
       int32[4] c = {{1000, -3000, 500, 2000}}, uint8 e = {{200}}, float ws1 = {{0.004}}>
    {{ {QUANTIZED}  {flat}  {body}  y = DequantizeLinear(r, o, u) }}
    """


@pytest.mark.parametrize("body", CASES.values(), ids=CASES)
def test_the_float_op_computes_the_same(body: str) -> None:
    source = named(graph(body))
    imported = import_quantized(source)
    assert {node.domain for node in imported.model.graph} == {""}
    feeds = random_feeds(source, seed=3)
    (want,), (got,) = run_plain(source, feeds), run_plain(fake_quantised(imported), feeds)
    assert np.std(want) > STEP, "the case tells something"
    np.testing.assert_allclose(got, want, atol=1.01 * STEP)
    assert np.mean(np.abs(got - want) < STEP / 2) > 0.8
    assert imported.tensors["y"].scale == float(np.float32(STEP))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("r = com.microsoft.QLinearSigmoid<channels_last=1>(q, s, z, o, u)", "channels last"),
        (
            "r = com.microsoft.QLinearSoftmax<axis=1, opset=11>(q, s, z, o, u)",
            "is a Softmax of opset 11",
        ),
        ("r = QLinearConv(q, s, z, w, ws, wz, o, u, d)", "bias that is computed"),
        ("r = com.microsoft.QLinearAdd(q, o, z, p, s, z, o, u)", "another scale"),
    ],
)
def test_forms_without_a_float_twin_are_refused(body: str, reason: str) -> None:
    computed = "d = Cast<to=6>(x)  " if ", d)" in body else ""
    model = named(graph(computed + body))
    with pytest.raises(QuantizationError, match=reason):
        import_quantized(model)


def test_a_gemm_that_writes_floats() -> None:
    body = "r = com.microsoft.QGemm(k, s, z, m, ms, mz, c)"
    text = graph(body).replace("y = DequantizeLinear(r, o, u)", "y = Tanh(r)")
    source = named(text)
    imported = import_quantized(source)
    assert [node.op_type for node in imported.model.graph][-2:] == ["Gemm", "Tanh"]
    feeds = random_feeds(source, seed=3)
    (want,), (got,) = run_plain(source, feeds), run_plain(fake_quantised(imported), feeds)
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_scales_of_weights_are_kept() -> None:
    found = import_quantized(named(graph(CASES["QLinearConv"])))
    assert found.weight_scales["r"] == tuple(float(v) for v in np.array([0.01, 0.004], np.float32))
    assert found.notes["r"].endswith("int32 bias dequantised")
