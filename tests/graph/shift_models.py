"""Small models whose activations can be stored less a constant, and some where they cannot."""

from __future__ import annotations

from tests.optimizer.literals import weights

_HEAD = "g (float[N,3,6,6] x) => (float[N,A,B,C] y)"
_W = f"{weights('w', (4, 3, 3, 3))}, {weights('b', (4,))}"
_V = weights("v", (2, 4, 1, 1))
_SIX = "float l = {0}, float h = {6}"
_PADS = "pads=[1,1,1,1]"

SHIFTABLE: dict[str, tuple[str, dict[str, tuple[str, list[str]]]]] = {
    "pointwise": (
        f"""{_HEAD} <{_W}, {_V}, {weights("a", (2,))}, {_SIX}>
        {{ c = Conv<{_PADS}>(x, w, b)  r = Clip(c, l, h)  y = Conv(r, v, a) }}""",
        {"r": ("c", ["y"])},
    ),
    "no biases": (
        f"""{_HEAD} <{weights("w", (4, 3, 3, 3))}, {_V}>
        {{ c = Conv(x, w)  r = Relu(c)  y = Conv(r, v) }}""",
        {"r": ("c", ["y"])},
    ),
    "separable": (
        f"""{_HEAD} <{weights("w", (3, 1, 3, 3))}, {weights("b", (3,))},
        {weights("v", (4, 3, 1, 1))}, {weights("a", (4,))}, {weights("u", (2, 4, 3, 3))}, {_SIX}>
        {{ c = Conv<group=3, {_PADS}>(x, w, b)  r = Clip(c, l, h)
           p = Conv(r, v, a)  s = Clip(p, l, h)  y = Conv(s, u) }}""",
        {"r": ("c", ["p"]), "s": ("p", ["y"])},
    ),
    "head": (
        f"""g (float[N,3,6,6] x) => (float[N,A] y)
        <{_W}, {weights("f", (5, 4))}, {weights("a", (5,))}>
        {{ c = Conv(x, w, b)  r = Relu(c)  p = GlobalAveragePool(r)  q = Flatten(p)
           y = Gemm<transB=1, alpha=0.5, beta=2.0>(q, f, a) }}""",
        {"r": ("c", ["y"])},
    ),
    "pools": (
        f"""{_HEAD} <{_W}, {_V}>
        {{ c = Conv<{_PADS}>(x, w, b)  r = Relu(c)
           m = MaxPool<kernel_shape=[3,3], {_PADS}>(r)
           a = AveragePool<kernel_shape=[2,2], pads=[0,0,1,1]>(m)  y = Conv(a, v) }}""",
        {"r": ("c", ["y"])},
    ),
    "two readers": (
        f"""g (float[N,3,6,6] x) => (float[N,A,B,C] y, float[N,D,E,F] z) <{_W}, {_V},
        {weights("u", (4, 1, 3, 3))}>
        {{ c = Conv(x, w, b)  r = Relu(c)  y = Conv(r, v)  z = Conv<group=4>(r, u, b) }}""",
        {"r": ("c", ["y", "z"])},
    ),
    "transposed writer": (
        f"""{_HEAD}
        <{weights("w", (3, 2, 3, 3))}, {weights("b", (2,))}, {weights("v", (2, 2, 1, 1))}>
        {{ c = ConvTranspose(x, w, b)  r = Relu(c)  y = Conv(r, v) }}""",
        {"r": ("c", ["y"])},
    ),
    "upper bound alone": (
        f"""{_HEAD} <{_W}, {_V}, float h = {{0.25}}>
        {{ c = Conv(x, w, b)  r = Clip(c, , h)  y = Conv(r, v) }}""",
        {"r": ("c", ["y"])},
    ),
    "gemm": (
        f"""g (float[N,6] x) => (float[N,A] y)
        <{weights("w", (6, 4))}, {weights("b", (1,))}, {weights("v", (4, 2))}>
        {{ c = Gemm(x, w, b)  r = Relu(c)  y = Gemm(r, v) }}""",
        {"r": ("c", ["y"])},
    ),
}
"""Name -> text, and the activations with their writers and readers."""

STUCK: dict[str, tuple[str, str]] = {
    "padded reader": (
        f"""{_HEAD} <{_W}, {weights("v", (2, 4, 3, 3))}>
        {{ c = Conv(x, w, b)  r = Relu(c)  y = Conv<{_PADS}>(r, v) }}""",
        "Conv 'y' reads it and pads it with zeros",
    ),
    "padded automatically": (
        f"""{_HEAD} <{_W}, {weights("v", (2, 4, 3, 3))}>
        {{ c = Conv(x, w, b)  r = Relu(c)  y = Conv<auto_pad="SAME_UPPER">(r, v) }}""",
        "Conv 'y' reads it and pads it with zeros",
    ),
    "one of two padded": (
        f"""g (float[N,3,6,6] x) => (float[N,A,B,C] y, float[N,D,E,F] z) <{_W}, {_V},
        {weights("u", (4, 1, 3, 3))}>
        {{ c = Conv(x, w, b)  r = Relu(c)  y = Conv(r, v)  z = Conv<group=4, {_PADS}>(r, u) }}""",
        "Conv 'z' reads it and pads it with zeros",
    ),
    "graph output": (
        f"""g (float[N,3,6,6] x) => (float[N,A,B,C] y, float[N,D,E,F] r) <{_W}, {_V}>
        {{ c = Conv(x, w, b)  r = Relu(c)  y = Conv(r, v) }}""",
        "'r' is a graph output",
    ),
    "pooled graph output": (
        f"""g (float[N,3,6,6] x) => (float[N,A,B,C] y, float[N,4,1,1] p) <{_W}, {_V}>
        {{ c = Conv(x, w, b)  r = Relu(c)  p = GlobalAveragePool(r)  y = Conv(p, v) }}""",
        "'p' is a graph output",
    ),
    "residual": (
        f"""{_HEAD} <{_W}, {weights("v", (4, 4, 1, 1))}>
        {{ c = Conv(x, w, b)  r = Relu(c)  d = Conv(r, v)  y = Add(r, d) }}""",
        "Add 'y' reads it, which has no bias to give the shift back",
    ),
    "pool that counts pads": (
        f"""{_HEAD} <{_W}, {_V}>
        {{ c = Conv(x, w, b)  r = Relu(c)
           a = AveragePool<kernel_shape=[3,3], count_include_pad=1, {_PADS}>(r)
           y = Conv(a, v) }}""",
        "AveragePool 'a' reads it, which has no bias to give the shift back",
    ),
    "transposed reader": (
        f"""{_HEAD} <{_W}, {weights("v", (4, 2, 3, 3))}>
        {{ c = Conv(x, w, b)  r = Relu(c)  y = ConvTranspose(r, v) }}""",
        "ConvTranspose 'y' reads it, whose borders see less of it",
    ),
    "transposed data": (
        f"""g (float[3,6] x) => (float[A,B] y) <{weights("w", (6, 4))}, {weights("v", (3, 2))}>
        {{ c = Gemm(x, w)  r = Relu(c)  y = Gemm<transA=1>(r, v) }}""",
        "Gemm 'y' reads it and transposes it",
    ),
    "no bias before": (
        f"""g (float[N,5,6] x) => (float[N,A,B] y) <{weights("w", (6, 4))}, {weights("v", (4, 2))}>
        {{ c = MatMul(x, w)  r = Relu(c)  y = MatMul(r, v) }}""",
        "MatMul 'c' has no bias",
    ),
    "computed bias": (
        f"""{_HEAD} <{_W}, {_V}, int64[1] i = {{0}}>
        {{ c = Conv(x, w, b)  r = Relu(c)  s = ReduceMax<keepdims=0>(x)
           t = Unsqueeze(s, i)  k = Concat<axis=0>(t, t)  y = Conv(r, v, k) }}""",
        "the bias of Conv 'y' is computed",
    ),
    "bias per row": (
        f"""g (float[3,6] x) => (float[A,B] y)
        <{weights("w", (6, 4))}, {weights("a", (3, 1))}, {weights("v", (4, 2))}>
        {{ c = Gemm(x, w, a)  r = Relu(c)  y = Gemm(r, v) }}""",
        "the bias of Gemm 'c' is not one per channel",
    ),
}
"""Name -> text, and why its activation ``r`` is refused."""
