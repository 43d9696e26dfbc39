from __future__ import annotations

import pytest

from bmopt.optimizer.opset_wish import wanted_opset
from tests.rewriting import parse

_IO = "g (float[2,4] x) => (float[2,4] y)"
_C = "float two = {2}, float three = {3}, float six = {6}, float zero = {0}, float eps = {0.001}"
_C += ", float r2 = {1.4142135}, float one = {1}, float half = {0.5}"
_NORM = """u = ReduceMean<axes=[-1]>(x) d = Sub(x, u) q = Pow(d, two) v = ReduceMean<axes=[-1]>(q)
w = Add(v, eps) r = Sqrt(w)"""
_SWISH = "a = Add(x, three) b = Clip(a, zero, six) c = Mul(x, b)"
_GELU = "e1 = Div(x, r2) e2 = Erf(e1) e3 = Add(e2, one) e4 = Mul(x, e3)"


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ("y = Relu(x)", 12),
        (f"{_NORM} y = Div(d, r)", 17),
        (f"{_SWISH} y = Div(c, six)", 14),
        (f"{_GELU} y = Mul(e4, half)", 20),
        (f"{_SWISH} z = Div(c, six) {_NORM} y = Div(d, r)", 17),
        ("a = Sigmoid(x) y = Mul(a, x)", 12),
    ],
)
def test_lowest_opset_of_all_that_is_written_out(body: str, wanted: int) -> None:
    assert wanted_opset(parse(f"{_IO} <{_C}> {{ {body} }}", 12)) == wanted


def test_a_newer_model_keeps_its_opset() -> None:
    assert wanted_opset(parse(f"{_IO} <{_C}> {{ {_SWISH} y = Div(c, six) }}", 21)) == 21


def test_looks_into_branches() -> None:
    body = f"{_GELU} o = Mul(e4, half)"
    model = parse(
        f"""g (bool p, float[2,4] x) => (float[2,4] y) <{_C}>
    {{ y = If(p) <then_branch = t () => (float[2,4] o) {{ {body} }},
                 else_branch = e () => (float[2,4] k) {{ k = Relu(x) }}> }}""",
        16,
    )
    assert wanted_opset(model) == 20
