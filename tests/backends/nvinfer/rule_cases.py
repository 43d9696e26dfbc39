"""The linter's rule matrix: small models, and the rules that each of them breaks."""

from __future__ import annotations

from tests.backends.nvinfer.rule_graphs import GRAPHS
from tests.backends.nvinfer.rule_texts import (
    CONV,
    PIXELS,
    Case,
    blocked,
    conv,
    float8,
    int8,
    numbers,
    pixels,
    product,
    real,
    zeros,
)

_QUANTIZE_X = "xq = QuantizeLinear(x, xs, z)  xd = DequantizeLinear(xq, xs, z)"
_BY_CHANNEL = "xq = QuantizeLinear<axis=1>(x, xs, z)  xd = DequantizeLinear<axis=1>(xq, xs, z)"
_DECONV = "y = ConvTranspose<kernel_shape=[2,2], strides=[2,2]>(xd, wd)"
_BRANCH = """g (float[4,32] x, bool c) => (float[4,24] y)
  <float xs = {0.02}, int8 z = {0}, W, float ws = {0.1}> { OUTSIDE
  y = If (c) <then_branch = t () => (float[4,24] a) {
    iq = QuantizeLinear(x, xs, z)  id = DequantizeLinear(iq, xs, z)
    iw = DequantizeLinear(w, ws)  a = MatMul(id, iw) },
  else_branch = e () => (float[4,24] b) { ELSE }> }""".replace("W", int8("w", 32, 24), 1)

ENCODING = {
    "conv": Case(conv()),
    "conv-per-tensor": Case(
        conv(
            weight=f"{int8('w', 16, 16, 3, 3)}, float ws = {{0.02}}",
            weight_dq="wd = DequantizeLinear(w, ws)",
        )
    ),
    "int8-zero-point-5": Case(conv(zero="int8 z = {5}"), ("TRT001", "TRT001")),
    "uint8-zero-point-128": Case(conv(zero="uint8 z = {128}"), ("TRT001", "TRT001")),
    "uint8-zero-point-0": Case(conv(zero="uint8 z = {0}"), ("TRT107",), renumbers=True),
    "no-zero-point": Case(
        conv(zero="", pair="xq = QuantizeLinear(x, xs)  xd = DequantizeLinear(xq, xs)"),
        ("TRT107",),
        renumbers=True,
    ),
    "weight-zero-point": Case(
        conv(
            weight=f"{int8('w', 16, 16, 3, 3)}, {real('ws', 16)}, "
            f"{numbers('int8', 'wz', (16,), 5, 6)}",
            weight_dq="wd = DequantizeLinear<axis=0>(w, ws, wz)",
        ),
        ("TRT001",),
    ),
    "zero-point-of-another-size": Case(
        conv(weight_dq="wd = DequantizeLinear<axis=0>(w, ws, z)"), ("TRT003",)
    ),
    "zero-point-is-an-input": Case(conv(x=f"{PIXELS} x, int8 z", zero=""), ("TRT002", "TRT002")),
    "int16-activation": Case(conv(zero="int16 z = {0}"), ("TRT006", "TRT006")),
    "uint8-weight": Case(
        conv(weight=f"{numbers('uint8', 'w', (16, 16, 3, 3), 0, 255)}, {real('ws', 16)}"),
        ("TRT006",),
    ),
    "quantizes-integers": Case(
        "g (int32[4] x) => (float[4] y) <float s = {0.02}, int8 z = {0}> "
        "{ q = QuantizeLinear(x, s, z)  y = DequantizeLinear(q, s, z) }",
        ("TRT006",),
    ),
    "int32-bias": Case(
        conv(
            weight=f"{int8('w', 16, 16, 3, 3)}, {real('ws', 16)}, "
            f"{numbers('int32', 'bq', (16,), -99, 99)}",
            weight_dq="wd = DequantizeLinear<axis=0>(w, ws)  b = DequantizeLinear<axis=0>(bq, ws)",
            node=f"y = {CONV}(xd, wd, b)",
        ),
        ("TRT007",),
    ),
    "float-bias": Case(
        conv(
            weight=f"{int8('w', 16, 16, 3, 3)}, {real('ws', 16)}, {real('b', 16)}",
            node=f"y = {CONV}(xd, wd, b)",
        )
    ),
    "scale-0": Case(conv(scale="float xs = {0.0}"), ("TRT004", "TRT004")),
    "scale-below-0": Case(conv(scale="float xs = {-0.1}"), ("TRT004", "TRT004")),
    "scale-nan": Case(conv(scale="float xs = {nan}"), ("TRT004", "TRT004")),
    "scale-infinite": Case(conv(scale="float xs = {inf}"), ("TRT108", "TRT108"), renumbers=True),
    "too-few-scales": Case(
        conv(weight=f"{int8('w', 16, 16, 3, 3)}, {real('ws', 8)}"), ("TRT005",)
    ),
    "scales-of-the-weights-rank": Case(
        conv(weight=f"{int8('w', 16, 16, 3, 3)}, {real('ws', 16, 1, 1, 1)}"), ("TRT005", "TRT109")
    ),
    "odd-int4": Case(
        f"g (float[4,33] x) => (float[4,3] y) <{real('w', 33, 3)}, float ws = {{0.1}}> {{ "
        "wq = QuantizeLinear<output_dtype=22>(w, ws)  wd = DequantizeLinear(wq, ws)  "
        "y = MatMul(x, wd) }",
        ("TRT009", "TRT009"),
    ),
    "float8-e5m2": Case(
        "g (float[4,32] x) => (float[4,32] y) <float s = {0.1}> "
        "{ q = QuantizeLinear<output_dtype=19>(x, s)  y = DequantizeLinear(q, s) }",
        ("TRT006", "TRT006"),
    ),
    "scale-computed-from-constants": Case(
        conv(
            scale="float a = {2.54}, float b = {127.0}",
            pair=f"xs = Div(a, b)  {_QUANTIZE_X}",
        )
    ),
}

PRODUCTS = {
    "matmul": Case(product()),
    "matmul-3d": Case(product(x="float[2,4,32] x", y="float[2,4,24] y")),
    "matmul-vector": Case(product(x="float[1,32] x", y="float[1,24] y")),
    "matmul-of-activations": Case(
        "g (float[4,32] x, float[32,24] u) => (float[4,24] y) <float s = {0.02}, int8 z = {0}> {"
        "xq = QuantizeLinear(x, s, z)  xd = DequantizeLinear(xq, s, z)"
        "uq = QuantizeLinear(u, s, z)  ud = DequantizeLinear(uq, s, z)  y = MatMul(xd, ud) }"
    ),
    "matmul-of-float-activation": Case(
        "g (float[4,32] x, float[32,24] u) => (float[4,24] y) <float xs = {0.02}, int8 z = {0}>"
        f"{{ {_QUANTIZE_X}  y = MatMul(xd, u) }}",
        ("TRT102",),
    ),
    "matmul-weight-first": Case(
        "g (float[32,4] x) => (float[24,4] y) <float xs = {0.02}, int8 z = {0}, "
        f"{int8('w', 24, 32)}, {real('ws', 24)}> {{ {_QUANTIZE_X}  "
        "wd = DequantizeLinear<axis=0>(w, ws)  y = MatMul(wd, xd) }"
    ),
    "matmul-sum-axis": Case(
        product(
            weight=f"{int8('w', 32, 24)}, {real('ws', 32)}",
            weight_dq="wd = DequantizeLinear<axis=0>(w, ws)",
        ),
        ("TRT104",),
    ),
    "matmul-batch-axis": Case(
        product(
            x="float[2,4,32] x",
            y="float[2,4,24] y",
            weight=f"{int8('w', 2, 32, 24)}, {real('ws', 2)}",
            weight_dq="wd = DequantizeLinear<axis=0>(w, ws)",
        ),
        ("TRT104",),
    ),
    "matmul-transposed-weight": Case(
        product(
            weight=f"{int8('w', 24, 32)}, {real('ws', 24)}",
            weight_dq="wq = DequantizeLinear<axis=0>(w, ws)  wd = Transpose<perm=[1,0]>(wq)",
        )
    ),
    "matmul-transposed-sum-axis": Case(
        product(
            weight=f"{int8('w', 24, 32)}, {real('ws', 32)}",
            weight_dq="wq = DequantizeLinear<axis=1>(w, ws)  wd = Transpose<perm=[1,0]>(wq)",
        ),
        ("TRT104",),
    ),
    "matmul-regrouped-weight": Case(
        product(
            weight=f"{int8('w', 32, 2, 12)}, {real('ws', 12)}, int64[2] sh = {{32, 24}}",
            weight_dq="wq = DequantizeLinear<axis=2>(w, ws)  wd = Reshape(wq, sh)",
        ),
        ("TRT104",),
    ),
    "gemm": Case(product(op="Gemm")),
    "gemm-transposed": Case(
        product(
            op="Gemm<transB=1>",
            weight=f"{int8('w', 24, 32)}, {real('ws', 24)}",
            weight_dq="wd = DequantizeLinear<axis=0>(w, ws)",
        )
    ),
    "gemm-transposed-sum-axis": Case(
        product(
            op="Gemm<transB=1>",
            weight=f"{int8('w', 24, 32)}, {real('ws', 32)}",
            weight_dq="wd = DequantizeLinear<axis=1>(w, ws)",
        ),
        ("TRT104",),
    ),
    "conv-weight-axis-1": Case(
        conv(weight_dq="wd = DequantizeLinear<axis=1>(w, ws)"), ("TRT104",)
    ),
    "depthwise": Case(
        conv(
            weight=f"{int8('w', 16, 1, 3, 3)}, {real('ws', 16)}",
            node="y = Conv<kernel_shape=[3,3], pads=[1,1,1,1], group=16>(xd, wd)",
        )
    ),
    "odd-channels": Case(
        conv(
            x="float[1,5,8,8] x",
            y="float[1,7,8,8] y",
            weight=f"{int8('w', 7, 5, 3, 3)}, {real('ws', 7)}",
        )
    ),
    "deconvolution": Case(
        conv(
            y="float[1,16,16,16] y",
            weight=f"{int8('w', 16, 16, 2, 2)}, {real('ws', 16)}",
            weight_dq="wd = DequantizeLinear<axis=1>(w, ws)",
            node=_DECONV,
        ),
        ("TRT110",),
    ),
    "deconvolution-axis-0": Case(
        conv(
            y="float[1,16,16,16] y",
            weight=f"{int8('w', 16, 16, 2, 2)}, {real('ws', 16)}",
            node=_DECONV,
        ),
        ("TRT104", "TRT110"),
    ),
    "per-channel-activation": Case(
        conv(scale=real("xs", 16), zero=zeros("int8", "z", 16), pair=_BY_CHANNEL), ("TRT103",)
    ),
    "scale-of-rank-1": Case(
        conv(scale="float[1] xs = {0.02}", zero="int8[1] z = {0}"), ("TRT103",)
    ),
    "matmul-scale-of-rank-1": Case(product(scale="float[1] xs = {0.02}")),
    "matmul-per-column-activation": Case(
        product(
            scale=real("xs", 32),
            pair="zz = Identity(z)  "
            "xq = QuantizeLinear<axis=1, output_dtype=3>(x, xs)  "
            "xd = DequantizeLinear<axis=1>(xq, xs)",
        ).replace("zz = Identity(z)", ""),
        ("TRT103",),
    ),
    "matmul-per-row-activation": Case(
        product(
            scale=real("xs", 4),
            pair="xq = QuantizeLinear<axis=0, output_dtype=3>(x, xs)  "
            "xd = DequantizeLinear<axis=0>(xq, xs)",
        ),
        ("TRT204",),
    ),
    "float-weight": Case(
        conv(weight=real("w", 16, 16, 3, 3), weight_dq="", node=f"y = {CONV}(xd, w)"),
        ("TRT101",),
    ),
    "float-activation": Case(conv(pair="", node=f"y = {CONV}(x, wd)"), ("TRT102",)),
    "computed-scale": Case(product(x="float[4,32] x, float xs", scale=""), ("TRT105",)),
    "computed-scale-of-conv": Case(conv(x=f"{PIXELS} x, float xs", scale=""), ("TRT011",)),
    "output-pair": Case(
        conv(
            weight=f"{int8('w', 16, 16, 3, 3)}, {real('ws', 16)}, float cs = {{0.1}}",
            node=f"c = {CONV}(xd, wd)  cq = QuantizeLinear(c, cs, z)  "
            "cd = DequantizeLinear(cq, cs, z)  y = Relu(cd)",
        ),
        ("TRT203",),
    ),
    "float8": Case(float8("MatMul", "float[4,16]", "float[4,16]", real("w", 16, 16))),
    "float8-conv-per-channel": Case(
        float8(CONV, PIXELS, PIXELS, real("w", 16, 16, 3, 3), per_channel="0")
    ),
    "float8-and-int8": Case(
        "g (float[4,32] x) => (float[4,32] y) <float xs = {0.02}, float ws = {0.03}, "
        f"{int8('w', 32, 32)}> {{ xq = QuantizeLinear<output_dtype=17>(x, xs)  "
        "xd = DequantizeLinear(xq, xs)  wd = DequantizeLinear(w, ws)  y = MatMul(xd, wd) }",
        ("TRT010",),
    ),
    "float8-on-sm86": Case(
        float8("MatMul", "float[4,16]", "float[4,16]", real("w", 16, 16)),
        ("TRT026",),
        device="sm86",
    ),
    "int4-weight": Case(blocked(22)),
    "blocked-int8-weight": Case(blocked(3), ("TRT102",)),
    "conv-on-sm75": Case(conv(), ("TRT111",), device="sm75"),
    "matmul-on-sm75": Case(product(), ("TRT027",), device="sm75"),
}

PATHS = {
    "max-pool": Case(pixels("m = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(xd)")),
    "reshape": Case(pixels("m = Reshape(xd, sh)", extra=", int64[4] sh = {1, 16, 4, 16}")),
    "transpose": Case(pixels("m = Transpose<perm=[0,1,3,2]>(xd)")),
    "times-a-number": Case(pixels("m = Mul(xd, k)", extra=", float k = {0.5}")),
    "concat": Case(pixels("s, t = Split<axis=1, num_outputs=2>(xd)  m = Concat<axis=1>(s, t)")),
    "relu": Case(pixels("m = Relu(xd)"), ("TRT102",)),
    "average-pool": Case(pixels("m = AveragePool<kernel_shape=[2,2]>(xd)"), ("TRT102",)),
    "resize": Case(
        pixels('m = Resize<mode="nearest">(xd, , rs)', extra=", float[4] rs = {1, 1, 2, 2}"),
        ("TRT102",),
    ),
    "half-and-back": Case(pixels("h = Cast<to=10>(xd)  m = Cast<to=1>(h)"), ("TRT102",)),
    "concat-of-other-scales": Case(
        conv(
            x="float[1,8,8,8] x, float[1,8,8,8] u",
            weight=f"{int8('w', 16, 16, 3, 3)}, {real('ws', 16)}, float us = {{0.07}}",
            node="uq = QuantizeLinear(u, us, z)  ud = DequantizeLinear(uq, us, z)  "
            f"m = Concat<axis=1>(xd, ud)  y = {CONV}(m, wd)",
        ),
        ("TRT106",),
    ),
    "if": Case(
        _BRANCH.replace("OUTSIDE", "").replace(
            "ELSE", "r = ReduceSum(x)  sh = Constant<value=int64[2] {4,24}>()  b = Expand(r, sh)"
        )
    ),
    "if-shares-a-weight": Case(
        _BRANCH.replace("OUTSIDE", "").replace(
            "ELSE", "ew = DequantizeLinear(w, ws)  b = MatMul(x, ew)"
        ),
        ("TRT008", "TRT102"),
    ),
    "if-with-zero-point": Case(
        "g (float[4] x, bool c) => (float[4] y) <float s = {0.02}, int8 z = {5}> { y = If (c) <"
        "then_branch = t () => (float[4] a) { q = QuantizeLinear(x, s, z) "
        "a = DequantizeLinear(q, s, z) }, else_branch = e () => (float[4] b) { b = Neg(x) }> }",
        ("TRT001", "TRT001"),
    ),
    "int8-constant-transposed": Case(
        product(
            weight=f"{int8('w', 24, 32)}, {real('ws', 24)}",
            weight_dq="wt = Transpose<perm=[1,0]>(w)  wd = DequantizeLinear<axis=1>(wt, ws)",
        ),
        ("TRT008",),
    ),
}

CASES: dict[str, Case] = {**ENCODING, **PRODUCTS, **PATHS, **GRAPHS}
