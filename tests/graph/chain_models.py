"""Small models whose activations can have their channels scaled, and some where they cannot."""

from __future__ import annotations

import onnx_ir as ir

from bmopt.optimizer.passes.infer_shapes import InferShapes
from tests.optimizer.literals import batch_norm, weights
from tests.quantizing import named


def chained(text: str) -> ir.Model:
    """Parse ``text`` and infer shapes; nodes are named after their first output."""
    model = named(text)
    InferShapes()(model)
    return model


_CONV = "g (float[N,3,6,6] x) => (float[N,A,B,C] y)"
_ROWS = "g (float[N,5,6] x) => (float[N,A,B] y)"
_W = f"{weights('w', (4, 3, 3, 3))}, {weights('b', (4,))}"
_PADS = "pads=[1,1,1,1]"

SCALABLE: dict[str, tuple[str, dict[str, tuple[list[str], list[str]]]]] = {
    "relu": (
        f"""{_CONV} <{_W}, {weights("v", (2, 4, 3, 3))}>
        {{ c = Conv<{_PADS}>(x, w, b)  r = Relu(c)  y = Conv<{_PADS}>(r, v) }}""",
        {"r": (["c"], ["y"])},
    ),
    "pools": (
        f"""{_CONV} <{_W}, {weights("v", (2, 4, 1, 1))}>
        {{ c = Conv(x, w, b)  l = LeakyRelu(c)  m = MaxPool<kernel_shape=[2,2]>(l)
           a = AveragePool<kernel_shape=[2,2], {_PADS}>(m)  y = Conv(a, v) }}""",
        {"a": (["c"], ["y"])},
    ),
    "depthwise": (
        f"""{_CONV} <{_W}, {weights("d", (4, 1, 3, 3))}, {weights("e", (4,))},
        {weights("v", (2, 4, 1, 1))}>
        {{ c = Conv(x, w, b)  r = Relu(c)  p = Conv<group=4>(r, d, e)  s = Relu(p)
           y = Conv(s, v) }}""",
        {"r": (["c"], ["p"]), "s": (["p"], ["y"])},
    ),
    "groups": (
        f"""{_CONV} <{_W}, {weights("d", (6, 2, 3, 3))}, {weights("v", (4, 3, 1, 1))}>
        {{ c = Conv(x, w, b)  p = Conv<group=2>(c, d)  s = Relu(p)  y = Conv<group=2>(s, v) }}""",
        {"c": (["c"], ["p"]), "s": (["p"], ["y"])},
    ),
    "transposed": (
        f"""{_CONV} <{weights("w", (3, 4, 2, 2))}, {weights("b", (4,))},
        {weights("u", (4, 3, 2, 2))}, {weights("v", (6, 2, 2, 2))}>
        {{ c = ConvTranspose(x, w, b)  r = Relu(c)  t = ConvTranspose<group=2>(r, u)
           s = Relu(t)  y = ConvTranspose<group=3>(s, v) }}""",
        {"r": (["c"], ["t"]), "s": (["t"], ["y"])},
    ),
    "residual": (
        f"""{_CONV} <{_W}, {weights("u", (4, 4, 3, 3))}, {weights("v", (2, 4, 1, 1))}>
        {{ c = Conv(x, w, b)  r = Relu(c)  d = Conv<{_PADS}>(r, u)  a = Add(d, r)  s = Relu(a)
           y = Conv(s, v) }}""",
        {"r": (["c", "d"], ["d", "y"])},
    ),
    "flatten": (
        f"""g (float[N,3,6,6] x) => (float[N,A] y) <{_W}, {weights("u", (5, 64))},
        {weights("e", (1,))}, {weights("v", (5, 2))}, {weights("f", (2,))}>
        {{ c = Conv(x, w, b)  r = Relu(c)  f0 = Flatten(r)
           d = Gemm<transB=1, alpha=0.5, beta=2.0>(f0, u, e)  s = Relu(d)  y = Gemm(s, v, f) }}""",
        {"f0": (["c"], ["d"]), "s": (["d"], ["y"])},
    ),
    "mean": (
        f"""g (float[N,3,6,6] x) => (float[N,A] y) <{_W}, {weights("v", (4, 2))}>
        {{ c = Conv(x, w, b)  r = Relu(c)  m = ReduceMean<axes=[2,3], keepdims=0>(r)
           y = MatMul(m, v) }}""",
        {"m": (["c"], ["y"])},
    ),
    "layer-norm": (
        f"""{_ROWS} <{weights("s", (6,))}, {weights("t", (6,))}, {weights("q", (6, 4))},
        {weights("k", (6, 4))}>
        {{ l = LayerNormalization(x, s, t)  a = MatMul(l, q)  c = MatMul(l, k)
           y = Mul(a, c) }}""",
        {"l": (["l"], ["a", "c"])},
    ),
    "batch-norm": (
        f"""g (float[N,6,5] x) => (float[N,A,B] y) <{batch_norm(6)}, {weights("q", (6, 4))}>
        {{ n = BatchNormalization(x, g, b, m, v)  p = Transpose<perm=[0,2,1]>(n)
           y = MatMul(p, q) }}""",
        {"p": (["n"], ["y"])},
    ),
    "rows": (
        f"""{_ROWS} <{weights("q", (6, 4))}, {weights("h", (4,))}, {weights("k", (4, 2))}>
        {{ a = MatMul(x, q)  c = Sub(h, a)  r = Relu(c)  y = MatMul(r, k) }}""",
        {"r": (["a", "c"], ["y"])},
    ),
    "factor": (
        f"""{_ROWS} <{weights("s", (6,))}, float h = {{2}}, {weights("k", (6, 6))}>
        {{ a = Mul(x, s)  r = Relu(a)  c = MatMul(r, k)  d = Mul(h, c)  y = MatMul(d, k) }}""",
        {"r": (["a"], ["c"]), "d": (["d"], ["y"])},
    ),
    "moved": (
        f"""{_CONV} <{_W}, {weights("u", (4, 3, 3, 3))}, int64[8] p = {{0,0,1,1,0,0,0,0}},
        int64[1] i = {{0}}, int64[1] n = {{3}}, int64[1] k = {{2}}, {weights("v", (2, 4, 1, 1))}>
        {{ c = Conv(x, w, b)  d = Conv(x, u)  e = Concat<axis=2>(c, d)  q = Pad(e, p)
           z = Slice(q, i, n, k)  y = Conv(z, v) }}""",
        {"z": (["c", "d"], ["y"])},
    ),
    "two readers": (
        f"""g (float[N,3,6,6] x) => (float[N,A,B,C] y, float[N,A,B,C] z) <{_W},
        {weights("v", (2, 4, 3, 3))}>
        {{ c = Conv(x, w, b)  r = Relu(c)  y = Conv(r, v)  z = Conv<{_PADS}>(r, v) }}""",
        {"r": (["c"], ["y", "z"])},
    ),
}
"""Name -> text, and its chains: tensor -> writers and readers."""

_TWO = f"{_W}, {weights('v', (2, 4, 3, 3))}"

REFUSED: dict[str, tuple[str, str, str]] = {
    "input": (
        f"{_CONV} <{_TWO}> {{ y = Conv(x, w, b) }}",
        "x",
        "'x' is a graph input",
    ),
    "output": (
        f"""g (float[N,3,6,6] x) => (float[N,A,B,C] y, float[N,A,B,C] r) <{_TWO}>
        {{ c = Conv(x, w, b)  r = Relu(c)  y = Conv(r, v) }}""",
        "r",
        "'r' is a graph output",
    ),
    "other reader": (
        f"""g (float[N,3,6,6] x) => (float[N,A,B,C] y, float[N,A,B,C] z) <{_TWO}>
        {{ c = Conv(x, w, b)  r = Relu(c)  y = Conv(r, v)  z = Sigmoid(r) }}""",
        "r",
        "Sigmoid 'z' reads 'r' and cannot be scaled",
    ),
    "not homogeneous": (
        f"{_CONV} <{_TWO}> {{ c = Conv(x, w, b)  r = Sigmoid(c)  y = Conv(r, v) }}",
        "r",
        "Sigmoid 'r', which computes 'r', cannot be scaled",
    ),
    "raised clip": (
        f"""{_CONV} <{_TWO}, float l = {{-1}}, float h = {{1}}>
        {{ c = Conv(x, w, b)  r = Clip(c, l, h)  y = Conv(r, v) }}""",
        "r",
        "Clip 'r', which computes 'r', cannot be scaled",
    ),
    "concatenated channels": (
        f"""{_CONV} <{_TWO}, {weights("u", (2, 8, 1, 1))}>
        {{ c = Conv(x, w, b)  d = Conv(x, w, b)  e = Concat<axis=1>(c, d)  y = Conv(e, u) }}""",
        "e",
        "Concat 'e', which computes 'e', cannot be scaled",
    ),
    "bias computed": (
        f"{_CONV} <{_TWO}> {{ s = Sigmoid(b)  c = Conv(x, w, s)  y = Conv(c, v) }}",
        "c",
        "Conv 'c', which computes 'c', cannot be scaled",
    ),
    "weight computed": (
        f"""{_ROWS} <{weights("q", (6, 6))}, {weights("k", (5, 5))}>
        {{ a = MatMul(x, q)  c = MatMul(k, a)  y = MatMul(c, q) }}""",
        "c",
        "MatMul 'c', which computes 'c', cannot be scaled",
    ),
    "two axes": (
        f"""{_ROWS} <{weights("q", (6, 5))}>
        {{ a = MatMul(x, q)  t = Transpose<perm=[0,2,1]>(a)  s = Add(a, t)  y = MatMul(s, q0) }}
        """.replace("<", f"<{weights('q0', (5, 4))}, ", 1),
        "s",
        "would be scaled along two axes",
    ),
    "channels first": (
        f"""{_ROWS} <{weights("s", (6,))}, {weights("t", (6,))}, {weights("k", (5, 4))}>
        {{ l = LayerNormalization(x, s, t)  p = Transpose<perm=[0,2,1]>(l)  y = MatMul(p, k) }}""",
        "p",
        "LayerNormalization 'l', which computes 'l', cannot be scaled",
    ),
    "one channel": (
        f"""{_CONV} <{weights("w", (1, 3, 3, 3))}, {weights("v", (2, 1, 1, 1))}>
        {{ c = Conv(x, w)  y = Conv(c, v) }}""",
        "c",
        "it has one channel",
    ),
    "sub-graph": (
        f"""{_CONV} <{_TWO}, bool t = {{1}}> {{ c = Conv(x, w, b)  r = Relu(c)  k = Conv(r, v)
        y = If(t) <then_branch = p () => (float[N,A,B,C] i) {{ i = Relu(r) }},
                   else_branch = q () => (float[N,A,B,C] j) {{ j = Relu(k) }}> }}""",
        "r",
        "'r' is read in a sub-graph",
    ),
    "minor channels": (
        f"""g (float[N,3,6,6] x) => (float[N,A] y) <{_W}, {weights("u", (64, 3))}>
        {{ c = Conv(x, w, b)  t = Transpose<perm=[0,2,3,1]>(c)  f = Flatten(t)
           y = MatMul(f, u) }}""",
        "f",
        "Conv 'c', which computes 'c', cannot be scaled",
    ),
}
"""Name -> text, a tensor that a product reads, and why it cannot be scaled."""
