from __future__ import annotations

import onnx_ir as ir
import pytest

from bmopt.optimizer.passes.fuse_layer_norm import FuseLayerNorm
from tests.optimizer.literals import in_type, weights
from tests.rewriting import assert_keeps, assert_rewrites, check_pass, parse

_IO = "g (float[2,3,4] x) => (float[2,3,4] y)"
_TYPES = "float[2,3,4] d, float[2,3,4] q, float[2,3,4] n, float[2,3,4] k"
_C = (
    "float two = {2}, float one = {1}, float eps = {0.001}, float half = {-0.5}, "
    f"{weights('s', (4,))}, {weights('b', (4,))}"
)
_MEAN = "u = ReduceMean<axes=[-1]>(x) d = Sub(x, u)"
_VAR = "v = ReduceMean<axes=[-1]>(q) w = Add(v, eps) r = Sqrt(w)"
_POW = "q = Pow(d, two)"
_DIV = "n = Div(d, r)"
_TAIL = "k = Mul(n, s) y = Add(k, b)"
_AFTER = f"<{_C}> {{ y = LayerNormalization<axis=-1, epsilon=0.001>(x, s, b) }}"


def _text(body: str, io: str = _IO) -> str:
    return f"{io} <{_TYPES}, {_C}> {{ {body} }}"


@pytest.mark.parametrize(
    "body",
    [
        f"{_MEAN} {_POW} {_VAR} {_DIV} {_TAIL}",
        f"{_MEAN} q = Mul(d, d) {_VAR} {_DIV} k = Mul(s, n) y = Add(b, k)",
        f"{_MEAN} {_POW} {_VAR} i = Reciprocal(r) n = Mul(d, i) {_TAIL}",
        f"{_MEAN} {_POW} {_VAR} i = Div(one, r) n = Mul(i, d) {_TAIL}",
        (
            f"{_MEAN} {_POW} v = ReduceMean<axes=[2]>(q) w = Add(eps, v) i = Pow(w, half)"
            f" n = Mul(d, i) {_TAIL}"
        ),
        f"{_MEAN} e = Sub(x, u) q = Pow(e, two) {_VAR} {_DIV} {_TAIL}",
        (
            f"{_MEAN} u2 = ReduceMean<axes=[2]>(x) e = Sub(x, u2) q = Pow(e, two) {_VAR} {_DIV}"
            f" {_TAIL}"
        ),
        f"{_MEAN} f = Cast<to=1>(d) q = Pow(f, two) {_VAR} {_DIV} {_TAIL}",
    ],
)
def test_variants(body: str) -> None:
    assert_rewrites(FuseLayerNorm(), before=_text(body), after=f"{_IO} {_AFTER}")


def test_reads_axes_that_are_inputs() -> None:
    assert_rewrites(
        FuseLayerNorm(),
        before=f"""{_IO} <{_TYPES}, {_C}, int64[1] a = {{2}}>
        {{ u = ReduceMean(x, a) d = Sub(x, u) {_POW} v = ReduceMean(q, a) w = Add(v, eps)
          r = Sqrt(w) {_DIV} {_TAIL} }}""",
        after=f"{_IO} {_AFTER}",
        opset=18,
    )


@pytest.mark.parametrize(
    ("tail", "inputs"),
    [
        ("y = Div(d, r)", "x, ones"),
        (f"{_DIV} y = Mul(n, s)", "x, s"),
        (f"{_DIV} y = Add(n, b)", "x, ones, b"),
    ],
)
def test_missing_scale_or_bias(tail: str, inputs: str) -> None:
    assert_rewrites(
        FuseLayerNorm(),
        before=_text(f"{_MEAN} {_POW} {_VAR} {tail}"),
        after=f"""{_IO} <{_C}, float[4] ones = {{1,1,1,1}}>
        {{ y = LayerNormalization<axis=-1, epsilon=0.001>({inputs}) }}""",
    )


@pytest.mark.parametrize("shape", [(), (1,), (3, 4), (1, 3, 4)])
def test_two_axes(shape: tuple[int, ...]) -> None:
    model = parse(f"""{_IO} <{_TYPES}, float two = {{2}}, float eps = {{0.001}},
    {weights("s", shape)}, {weights("b", (3, 4))}>
    {{ u = ReduceMean<axes=[-2,-1]>(x) d = Sub(x, u) {_POW} v = ReduceMean<axes=[1,2]>(q)
      w = Add(v, eps) r = Sqrt(w) {_DIV} {_TAIL} }}""")
    check_pass(FuseLayerNorm(), model)
    assert [node.op_type for node in model.graph] == ["LayerNormalization"]


def test_scale_of_another_shape_stays_outside() -> None:
    model = parse(f"""{_IO} <{_TYPES}, float two = {{2}}, float eps = {{0.001}},
    {weights("s", (3, 1))}> {{ {_MEAN} {_POW} {_VAR} {_DIV} y = Mul(n, s) }}""")
    check_pass(FuseLayerNorm(), model)
    assert [node.op_type for node in model.graph] == ["LayerNormalization", "Mul"]


def test_half_precision_between_casts() -> None:
    model = parse(f"""g (float16[2,3,4] h) => (float16[2,3,4] y) <{_TYPES}, float16[2,3,4] z,
    float[2,3,4] x, {_C}> {{ x = Cast<to=1>(h) {_MEAN} {_POW} {_VAR} {_DIV}
      z = Cast<to=10>(n)  y = Relu(z) }}""")
    check_pass(FuseLayerNorm(), model, tolerance=2e-3)
    assert [node.op_type for node in model.graph] == ["LayerNormalization", "Relu"]


def test_double() -> None:
    model = in_type(parse(_text(f"{_MEAN} {_POW} {_VAR} {_DIV} {_TAIL}")), ir.DataType.DOUBLE)
    check_pass(FuseLayerNorm(), model, tolerance=1e-6)
    assert [node.op_type for node in model.graph] == ["LayerNormalization"]


_WHOLE = f"{_MEAN} {_POW} {_VAR} {_DIV} {_TAIL}"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (_text(f"{_WHOLE} z = Relu(d)"), "read elsewhere"),
        (_text(_WHOLE, "g (float[2,3,4] x) => (float[2,3,4] y, float[2,3,1] r)"), "graph output"),
        (_text(_WHOLE, "g (float[2,3,N] x) => (float[2,3,4] y)"), "unknown size"),
    ],
)
def test_refusals(text: str, reason: str) -> None:
    refusals = assert_keeps(FuseLayerNorm(), text, compare="N]" not in text).refusals
    assert len(refusals) == 1
    assert reason in refusals[0].reason


def test_refuses_an_older_opset() -> None:
    refusals = assert_keeps(FuseLayerNorm(), _text(_WHOLE), opset=16).refusals
    assert [refusal.reason for refusal in refusals] == ["needs opset 17, the model has 16"]


@pytest.mark.parametrize(
    "body",
    [
        _WHOLE.replace("axes=[-1]>(x)", "axes=[1]>(x)"),
        _WHOLE.replace("axes=[-1]>(q)", "axes=[-2]>(q)"),
        _WHOLE.replace("Pow(d, two)", "Pow(d, one)"),
        _WHOLE.replace("Pow(d, two)", "Pow(x, two)"),
        _WHOLE.replace("Div(d, r)", "Div(x, r)"),
        _WHOLE.replace("Div(d, r)", "Div(r, d)"),
        _WHOLE.replace("Pow(d, two)", "Mul(d, x)"),
        f"{_MEAN} {_POW} v = ReduceMean<axes=[-1]>(q) o = Sqrt(v) r = Add(o, eps) {_DIV} {_TAIL}",
    ],
)
def test_keeps_what_only_looks_alike(body: str) -> None:
    assert assert_keeps(FuseLayerNorm(), _text(body), compare=False).refusals == ()
