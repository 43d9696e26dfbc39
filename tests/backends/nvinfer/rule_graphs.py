"""The cases that are about ops and types, whatever their precision."""

from __future__ import annotations

from tests.backends.nvinfer.rule_texts import CONV, PIXELS, Case, int8, model, real

GRAPHS = {
    "plain-relu": Case("g (float[4] x) => (float[4] y) { y = Relu(x) }"),
    "qlinear-conv": Case(
        f"g ({PIXELS} x) => ({PIXELS} y) <float s = {{0.02}}, int8 z = {{0}}, "
        f"{int8('w', 16, 16, 3, 3)}> {{ xq = QuantizeLinear(x, s, z)  "
        "c = QLinearConv<kernel_shape=[3,3], pads=[1,1,1,1]>(xq, s, z, w, s, z, s, z)  "
        "y = DequantizeLinear(c, s, z) }",
        ("TRT020",),
    ),
    "dynamic-quantize": Case(
        "g (float[4,32] x) => (float[4,24] y) <"
        f"{int8('w', 32, 24)}> {{ q, s, z = DynamicQuantizeLinear(x)  "
        "i = MatMulInteger(q, w, z)  f = Cast<to=1>(i)  y = Mul(f, s) }",
        ("TRT020", "TRT020"),
    ),
    "qgemm": Case(
        model(
            "g (int8[4,32] x) => (int8[4,24] y) <float s = {0.02}, int8 z = {0}, "
            f"{int8('w', 32, 24)}> {{ y = com.microsoft.QGemm(x, s, z, w, s, z, , s, z) }}",
            '"" : 21, "com.microsoft" : 1',
        ),
        ("TRT020",),
    ),
    "det": Case("g (float[4,4] x) => (float y) { y = Det(x) }", ("TRT021",)),
    "dead-det": Case(
        "g (float[4,4] x) => (float[4,4] y) { d = Det(x)  y = Relu(x) }", ("TRT021",)
    ),
    "custom-op": Case(
        model("g (float[4] x) => (float[4] y) { y = mine.Foo(x) }", '"" : 21, "mine" : 1'),
        ("TRT021",),
    ),
    "contributed-gelu": Case(
        model(
            "g (float[4] x) => (float[4] y) { y = com.microsoft.Gelu(x) }",
            '"" : 21, "com.microsoft" : 1',
        )
    ),
    "local-function": Case(
        model(
            'g (float[4] x) => (float[4] y) { y = mine.F(x) }\n<domain: "mine", '
            'opset_import: ["" : 21]> F (a) => (b) { b = Relu(a) }',
            '"" : 21, "mine" : 1',
        )
    ),
    "op-in-a-branch": Case(
        "g (float[4] x, bool c) => (float[4] y) { y = If (c) <"
        "then_branch = t () => (float[4] a) { k, i, j, l = Unique(x)  a = Relu(x) }, "
        "else_branch = e () => (float[4] b) { b = Neg(x) }> }",
        ("TRT021",),
    ),
    "nonzero": Case("g (float[4] x) => (int64[1,N] y) { y = NonZero(x) }", ("TRT021",)),
    "shape-from-a-float-input": Case(
        "g (float[16] x, float[2] s) => (float[N] y) <int64[1] i = {1}, int64[1] a = {0}> "
        "{ p = Mul(s, s)  q = Gather(p, i)  k = Cast<to=7>(q)  y = Slice(x, a, k, a) }",
        ("TRT028",),
    ),
    "shape-from-a-bool-input": Case(
        "g (float[1] x, bool[1] s) => (float[N] y) <int64[1] i = {1}, int64[1] j = {2}> "
        "{ k = Where(s, i, j)  y = Expand(x, k) }",
        ("TRT028",),
    ),
    "range-of-a-float-input": Case(
        "g (float s) => (float[N] y) <float a = {0}, float d = {1}> { y = Range(a, s, d) }",
        ("TRT028",),
    ),
    "shape-of-a-float-input": Case(
        "g (float[16] x, float[2] s) => (float[N] y) <int64[1] a = {0}> "
        "{ k = Shape(s)  y = Slice(x, a, k, a) }",
    ),
    "shape-from-a-convolution": Case(
        "g (float[16] x, float[1,1,4] s) => (float[N] y) <int64[1] a = {0}, int64[1] m = {-1}, "
        "float[1,1,4] w = {1, 1, 1, 1}> "
        "{ c = Conv(s, w)  p = Reshape(c, m)  k = Cast<to=7>(p)  y = Slice(x, a, k, a) }",
    ),
    "gather-by-a-float-input": Case(
        "g (float[16] x, float[2] s) => (float[2] y) { k = Cast<to=7>(s)  y = Gather(x, k) }",
    ),
    "zero-points-through-identity": Case(
        "g (float[4,32] x) => (float[4,32] y) <float s = {0.02}, int8 z = {0}> "
        "{ i = Identity(z)  q = QuantizeLinear(x, s, i)  y = DequantizeLinear(q, s, i) }",
    ),
    "max-pool-indices": Case(
        "g (float[1,2,4,4] x) => (float[1,2,2,2] y, int64[1,2,2,2] i) "
        "{ y, i = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x) }",
        ("TRT022",),
    ),
    "training-batch-norm": Case(
        "g (float[1,2,4,4] x) => (float[1,2,4,4] y) <float[2] s = {1.0, 1.0}> "
        "{ y, m, v = BatchNormalization<training_mode=1>(x, s, s, s, s) }",
        ("TRT022",),
    ),
    "four-spatial-axes": Case(
        f"g (float[1,2,4,4,4,4] x) => (float[1,2,4,4,4,4] y) <{real('w', 2, 2, 1, 1, 1, 1)}> "
        "{ y = Conv<kernel_shape=[1,1,1,1]>(x, w) }",
        ("TRT022",),
    ),
    "integer-matmul": Case("g (int32[4,4] x) => (int32[4,4] y) { y = MatMul(x, x) }", ("TRT022",)),
    "scatter-add": Case(
        "g (float[4,4] x, float[1,4] u) => (float[4,4] y) <int64[1,1] i = {0}> "
        '{ y = ScatterND<reduction="add">(x, i, u) }',
        ("TRT022",),
    ),
    "int16-input": Case("g (int16[4] x) => (float[4] y) { y = Cast<to=1>(x) }", ("TRT023",)),
    "unused-uint16": Case(
        "g (float[4] x) => (float[4] y) <uint16[2] k = {1, 2}> { y = Relu(x) }", ("TRT023",)
    ),
    "cast-to-int16": Case(
        "g (float[4] x) => (float[4] y) { i = Cast<to=5>(x)  y = Cast<to=1>(i) }", ("TRT023",)
    ),
    "string-input": Case(
        "g (string[4] x) => (string[4] y) { y = Identity(x) }", ("TRT023", "TRT023")
    ),
    "half-plus-float": Case(
        "g (float16[4] x, float[4] u) => (float[4] y) { y = Add(x, u) }", ("TRT024",)
    ),
    "half-conv-by-float": Case(
        f"g (float16[1,16,8,8] x) => (float[1,16,8,8] y) <{real('w', 16, 16, 3, 3)}> "
        f"{{ y = {CONV}(x, w) }}",
        ("TRT024",),
    ),
    "int32-and-int64": Case(
        "g (int32[4] x, int64[4] u) => (int64[8] y) { y = Concat<axis=0>(x, u) }", ("TRT024",)
    ),
    "half-pow-float": Case("g (float16[4] x, float[4] u) => (float16[4] y) { y = Pow(x, u) }"),
    "half-clip-by-float-constants": Case(
        "g (float16[4] x) => (float16[4] y) <float a = {0.0}, float b = {6.0}> "
        "{ y = Clip(x, a, b) }"
    ),
    "uint8-pixels": Case("g (uint8[4] x) => (float[4] y) { y = Cast<to=1>(x) }"),
    "uint8-inside": Case(
        "g (float[4] x) => (float[4] y) { i = Cast<to=2>(x)  y = Cast<to=1>(i) }", ("TRT025",)
    ),
    "uint8-arithmetic": Case("g (uint8[4] x) => (uint8[4] y) { y = Add(x, x) }", ("TRT025",)),
    "float64": Case("g (double[4] x) => (double[4] y) { y = Relu(x) }", ("TRT202",)),
    "opset-26": Case(
        model("g (float[4] x) => (float[4] y) { y = Relu(x) }", '"" : 26'), ("TRT201",)
    ),
}
