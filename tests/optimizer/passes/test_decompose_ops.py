"""Ops written out, against ONNX Runtime's own kernels."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest

from bmopt.optimizer.passes.decompose_ops import DecomposeOps
from tests.rewriting import check_pass, parse, random_feeds, run_plain

_RUNTIME = '<ir_version: 8, opset_import: ["" : {opset}, "com.microsoft" : 1]>\n'

_FLOAT = {
    "Celu": ("(float[2, 3] x) => (float[2, 3] y) { y = Celu <alpha = 0.7> (x) }"),
    "LpNormalization": (
        "(float[2, 3] x) => (float[2, 3] y) { y = LpNormalization <axis = 1, p = 1> (x) }"
    ),
    "LpNormalization2": (
        "(float[2, 3] x) => (float[2, 3] y) { y = LpNormalization <axis = 0> (x) }"
    ),
    "BiasGelu": ("(float[2, 3] x, float[3] b) => (float[2, 3] y) { y = r.BiasGelu (x, b) }"),
    "FastGelu": ("(float[2, 3] x, float[3] b) => (float[2, 3] y) { y = r.FastGelu (x, b) }"),
    "FastGelu1": ("(float[2, 3] x) => (float[2, 3] y) { y = r.FastGelu (x) }"),
    "Gelu": ("(float[2, 3] x) => (float[2, 3] y) { y = r.Gelu (x) }"),
    "QuickGelu": ("(float[2, 3] x) => (float[2, 3] y) { y = r.QuickGelu <alpha = 1.5> (x) }"),
    "FusedMatMul": (
        "(float[2, 3, 4] a, float[2, 5, 3] b) => (float[2, 4, 5] y) "
        "{ y = r.FusedMatMul <alpha = 0.5, transA = 1, transB = 1> (a, b) }"
    ),
    "FusedConv": (
        "(float[1, 2, 5, 5] x, float[3, 2, 3, 3] w, float[3] b, float[1, 3, 3, 3] z) "
        '=> (float[1, 3, 3, 3] y) { y = r.FusedConv <activation = "Relu"> (x, w, b, z) }'
    ),
    "FusedConvLeaky": (
        "(float[1, 2, 5, 5] x, float[3, 2, 3, 3] w) => (float[1, 3, 5, 5] y) "
        '{ y = r.FusedConv <activation = "LeakyRelu", activation_params = [0.2], '
        "pads = [1, 1, 1, 1]> (x, w) }"
    ),
    "FusedGemm": (
        "(float[2, 3] x, float[4, 3] w, float[4] b) => (float[2, 4] y) "
        '{ y = r.FusedGemm <activation = "LeakyRelu", activation_alpha = 0.3, transB = 1> '
        "(x, w, b) }"
    ),
    "SkipLayerNormalization": (
        "(float[2, 3, 4] x, float[2, 3, 4] s, float[4] g, float[4] b, float[4] c) "
        "=> (float[2, 3, 4] y, float[2, 3, 4] t) "
        "{ y, m, i, t = r.SkipLayerNormalization <epsilon = 0.01> (x, s, g, b, c) }"
    ),
    "SkipSimplifiedLayerNormalization": (
        "(float[2, 3, 4] x, float[2, 3, 4] s, float[4] g) => (float[2, 3, 4] y) "
        "{ y = r.SkipSimplifiedLayerNormalization (x, s, g) }"
    ),
    "SimplifiedLayerNormalization": (
        "(float[2, 3, 4] x, float[4] g) => (float[2, 3, 4] y) "
        "{ y = SimplifiedLayerNormalization (x, g) }"
    ),
}


@pytest.mark.parametrize("opset", [12, 17])
@pytest.mark.parametrize("name", _FLOAT)
def test_float_ops(name: str, opset: int) -> None:
    text = _FLOAT[name].replace("r.", "com.microsoft.")
    model = parse(_RUNTIME.format(opset=opset) + "g " + text)
    assert check_pass(DecomposeOps(), model).modified
    assert all(node.domain == "" for node in model.graph)


_QUANTIZED = {
    "QLinearConv": """
(uint8[1, 3, 6, 6] x) => (uint8[1, 4, 6, 6] y)
<float xs = {0.02}, uint8 xz = {120}, int8[4, 3, 3, 3] w, float[4] ws = {0.01, 0.02, 0.03, 0.015},
 int8[4] wz = {0, 0, 0, 0}, float ys = {0.05}, uint8 yz = {110}, int32[4] b = {100, -200, 300, 5}>
{ y = QLinearConv <pads = [1, 1, 1, 1]> (x, xs, xz, w, ws, wz, ys, yz, b) }""",
    "QLinearConvOne": """
(uint8[1, 3, 6, 6] x) => (uint8[1, 4, 4, 4] y)
<float xs = {0.02}, uint8 xz = {120}, int8[4, 3, 3, 3] w, float ws = {0.01}, int8 wz = {3},
 float ys = {0.05}, uint8 yz = {100}>
{ y = QLinearConv (x, xs, xz, w, ws, wz, ys, yz) }""",
    "QLinearMatMul": """
(uint8[2, 5] x) => (uint8[2, 4] y)
<float xs = {0.02}, uint8 xz = {120}, int8[5, 4] w, float[4] ws = {0.01, 0.02, 0.03, 0.015},
 int8[4] wz = {0, 0, 0, 0}, float ys = {0.05}, uint8 yz = {110}>
{ y = QLinearMatMul (x, xs, xz, w, ws, wz, ys, yz) }""",
    "ConvInteger": """
(uint8[1, 3, 6, 6] x) => (int32[1, 4, 4, 4] y) <uint8 xz = {120}, int8[4, 3, 3, 3] w>
{ y = ConvInteger (x, w, xz) }""",
    "QGemm": """
(uint8[2, 5] x) => (uint8[2, 4] y)
<float xs = {0.02}, uint8 xz = {120}, int8[4, 5] w, float[4] ws = {0.01, 0.02, 0.03, 0.015},
 int8[4] wz = {0, 0, 0, 0}, int32[4] b = {100, -200, 300, 5}, float ys = {0.05}, uint8 yz = {110}>
{ y = r.QGemm <transB = 1, alpha = 0.5> (x, xs, xz, w, ws, wz, b, ys, yz) }""",
    "QGemmFloat": """
(uint8[2, 5] x) => (float[2, 4] y)
<float xs = {0.02}, uint8 xz = {120}, int8[4, 5] w, float ws = {0.01}, int8 wz = {0}>
{ y = r.QGemm <transB = 1> (x, xs, xz, w, ws, wz) }""",
    "QLinearAdd": """
(uint8[2, 5] x, uint8[2, 5] z) => (uint8[2, 5] y)
<float xs = {0.02}, uint8 xz = {120}, float zs = {0.03}, uint8 zz = {7}, float ys = {0.05},
 uint8 yz = {110}>
{ y = r.QLinearAdd (x, xs, xz, z, zs, zz, ys, yz) }""",
    "QLinearMul": """
(uint8[2, 5] x, uint8[2, 5] z) => (uint8[2, 5] y)
<float xs = {0.02}, uint8 xz = {120}, float zs = {0.03}, uint8 zz = {7}, float ys = {0.05},
 uint8 yz = {110}>
{ y = r.QLinearMul (x, xs, xz, z, zs, zz, ys, yz) }""",
    "QLinearSigmoid": """
(uint8[2, 5] x) => (uint8[2, 5] y)
<float xs = {0.02}, uint8 xz = {120}, float ys = {0.004}, uint8 yz = {0}>
{ y = r.QLinearSigmoid (x, xs, xz, ys, yz) }""",
    "QLinearLeakyRelu": """
(uint8[2, 5] x) => (uint8[2, 5] y)
<float xs = {0.02}, uint8 xz = {120}, float ys = {0.02}, uint8 yz = {50}>
{ y = r.QLinearLeakyRelu <alpha = 0.1> (x, xs, xz, ys, yz) }""",
    "QLinearGlobalAveragePool": """
(uint8[1, 2, 4, 4] x) => (uint8[1, 2, 1, 1] y)
<float xs = {0.02}, uint8 xz = {120}, float ys = {0.02}, uint8 yz = {50}>
{ y = r.QLinearGlobalAveragePool (x, xs, xz, ys, yz) }""",
    "QLinearAveragePool": """
(uint8[1, 2, 4, 4] x) => (uint8[1, 2, 3, 3] y)
<float xs = {0.02}, uint8 xz = {120}, float ys = {0.02}, uint8 yz = {50}>
{ y = r.QLinearAveragePool <kernel_shape = [2, 2]> (x, xs, xz, ys, yz) }""",
    "QLinearConcat": """
(uint8[1, 2] x, uint8[1, 3] z) => (uint8[1, 5] y)
<float xs = {0.02}, uint8 xz = {120}, float zs = {0.03}, uint8 zz = {7}, float ys = {0.05},
 uint8 yz = {110}>
{ y = r.QLinearConcat <axis = 1> (ys, yz, x, xs, xz, z, zs, zz) }""",
    "DynamicQuantizeMatMul": """
(float[2, 5] x) => (float[2, 4] y)
<int8[5, 4] w, float ws = {0.01}, int8 wz = {0}, float[4] b = {1, 2, 3, 4}>
{ y = r.DynamicQuantizeMatMul (x, w, ws, wz, b) }""",
    "MatMulIntegerToFloat": """
(uint8[2, 5] x) => (float[2, 4] y)
<int8[5, 4] w, float xs = {0.1}, float ws = {0.01}, uint8 xz = {7}, int8 wz = {0}>
{ y = r.MatMulIntegerToFloat (x, w, xs, ws, xz, wz) }""",
}


def _with_weights(text: str) -> str:
    """Return the text with numbers for its weight ``w``."""

    def filled(found: re.Match[str]) -> str:
        count = math.prod(map(int, found[1].split(",")))
        values = np.random.default_rng(3).integers(-128, 128, count)
        return f"int8[{found[1]}] w = {{{', '.join(map(str, values))}}}"

    return re.sub(r"int8\[([\d, ]+)\] w\b", filled, text)


@pytest.mark.parametrize("name", _QUANTIZED)
def test_ops_on_integers(name: str) -> None:
    text = _with_weights(_QUANTIZED[name]).replace("r.", "com.microsoft.")
    model = parse(_RUNTIME.format(opset=17) + "g " + text)
    rng = np.random.default_rng(5)
    feeds = {
        k: v if v.dtype == np.float32 else rng.integers(0, 256, v.shape).astype(v.dtype)
        for k, v in random_feeds(model).items()
    }
    (want,) = run_plain(model, feeds)
    assert check_pass(DecomposeOps(), model, compare=False).modified
    (got,) = run_plain(model, feeds)
    assert got.dtype == want.dtype
    assert all(node.domain == "" for node in model.graph)
    if want.dtype == np.float32:
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)
        return
    steps = np.abs(got.astype(int) - want.astype(int))
    # Where the kernels for integers round a mean or a product by other means, by a step.
    exact = name.startswith(("QLinearConv", "QLinearMatMul", "QGemm", "ConvInteger"))
    assert steps.max() <= (0 if exact else 1)


_DEFINED = {
    "Attention": (
        23,
        (
            "(float[1, 2, 4, 8] q, float[1, 2, 4, 8] k, float[1, 2, 4, 8] v) "
            "=> (float[1, 2, 4, 8] y) { y = Attention <is_causal = 1> (q, k, v) }"
        ),
    ),
    "Attention of three axes": (
        23,
        (
            "(float[2, 4, 8] q, float[2, 6, 8] k, float[2, 6, 8] v) => (float[2, 4, 8] y) "
            "{ y = Attention <q_num_heads = 2, kv_num_heads = 2> (q, k, v) }"
        ),
    ),
    "RotaryEmbedding": (
        23,
        (
            "(float[2, 4, 8] x, float[2, 4, 2] c, float[2, 4, 2] s) => (float[2, 4, 8] y) "
            "{ y = RotaryEmbedding <num_heads = 2> (x, c, s) }"
        ),
    ),
    "CenterCropPad": (
        18,
        (
            "(float[5, 6] x) => (float[4, 8] y) <int64[2] shape = {4, 8}> "
            "{ y = CenterCropPad (x, shape) }"
        ),
    ),
    "HannWindow": (
        17,
        "(float[8] x) => (float[8] y) <int64 n = {8}> { w = HannWindow (n) y = Mul (x, w) }",
    ),
    "Swish": (24, "(float[2, 3] x) => (float[2, 3] y) { y = Swish <alpha = 1.5> (x) }"),
    "ReverseSequence": (
        17,
        (
            "(float[4, 3, 2] x) => (float[4, 3, 2] y) <int64[3] n = {4, 1, 3}> "
            "{ y = ReverseSequence (x, n) }"
        ),
    ),
    "ReverseSequence of one length": (
        17,
        (
            "(float[3, 4] x) => (float[3, 4] y) <int64[3] n = {3, 3, 3}> "
            "{ y = ReverseSequence <batch_axis = 0, time_axis = 1> (x, n) }"
        ),
    ),
}


@pytest.mark.parametrize("name", _DEFINED)
def test_standard_ops(name: str) -> None:
    opset, text = _DEFINED[name]
    model = parse(f"g {text}", opset)
    op = name.split()[0]
    assert check_pass(DecomposeOps(), model).modified
    assert op not in {node.op_type for node in model.graph.all_nodes()}
    assert not model.functions


@pytest.mark.parametrize("bits", [4, 8])
def test_weights_of_few_bits(bits: int) -> None:
    rng = np.random.default_rng(2)
    depth, width, block = 40, 3, 16
    blocks = -(-depth // block)
    packed = rng.integers(0, 256, (width, blocks, block * bits // 8))
    zeros = rng.integers(0, 256, width * (-(-blocks * bits // 8)))
    text = f"""
    g (float[2, {depth}] x) => (float[2, {width}] y)
    <uint8{list(packed.shape)} w = {{{", ".join(map(str, packed.reshape(-1)))}}},
     float[{width * blocks}] s = {{{", ".join(f"0.0{i + 1}" for i in range(width * blocks))}}},
     uint8[{zeros.size}] z = {{{", ".join(map(str, zeros))}}}>
    {{ y = com.microsoft.MatMulNBits <K = {depth}, N = {width}, bits = {bits},
       block_size = {block}> (x, w, s, z) }}"""
    model = parse(_RUNTIME.format(opset=17) + text)
    assert check_pass(DecomposeOps(), model, tolerance=1e-3).modified


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (("(float[2, 3] x, float[3, 2, 2] b) => (float[2, 2] y) "
         "{ y = com.microsoft.FusedMatMul <transBatchB = 1> (x, b) }"), "batch"),
        ("(float[2, 3] x, float ws) => (float[2, 3] y) { y = com.microsoft.Inverse (x) }", ""),
        (("(uint8[2, 5] x, float s, uint8[5, 4] w) => (uint8[2, 4] y) <uint8 z = {1}> "
         "{ y = QLinearMatMul (x, s, z, w, s, z, s, z) }"), "not constant"),
        ("(float[4, 3] x, int64[3] n) => (float[4, 3] y) { y = ReverseSequence (x, n) }",
         "not constant"),
    ],
)  # fmt: skip
def test_refused_with_a_reason(text: str, reason: str) -> None:
    model = parse(_RUNTIME.format(opset=17) + "g " + text)
    outcome = check_pass(DecomposeOps(), model, compare=False)
    assert not outcome.modified
    assert [reason in refusal.reason for refusal in outcome.refusals] == [True] * bool(reason)
