from __future__ import annotations

import onnx_ir as ir
import pytest

from bmopt.optimizer.passes.fuse_activations import FuseActivations
from tests.optimizer.literals import in_type
from tests.rewriting import assert_keeps, assert_rewrites, check_pass, parse

_IO = "g (float[2,3] x) => (float[2,3] y)"
_TYPES = ", ".join(f"float[2,3] {name}" for name in "abcdefhijk")
_NUMBERS = {
    "half": 0.5, "one": 1.0, "two": 2.0, "three": 3.0, "six": 6.0, "zero": 0.0,
    "sixth": 0.16666667,
    "root2": 1.4142135, "iroot2": 0.70710677, "cube": 0.044715, "kk": 0.7978846,
    "neg": -1.0, "s2": 0.2, "ten": 10.0,
}  # fmt: skip
_C = ", ".join(f"float {name} = {{{number}}}" for name, number in _NUMBERS.items())


def _text(body: str, io: str = _IO) -> str:
    return f"{io} <{_TYPES}, {_C}> {{ {body} }}"


_ERF = "a = Div(x, root2) b = Erf(a) c = Add(b, one)"
_TANH = "a = Pow(x, three) b = Mul(a, cube) c = Add(x, b) d = Mul(c, kk) e = Tanh(d)"


@pytest.mark.parametrize(
    "body",
    [
        f"{_ERF} d = Mul(x, c) y = Mul(d, half)",
        f"{_ERF} d = Mul(x, half) y = Mul(d, c)",
        f"{_ERF} d = Mul(c, half) y = Mul(d, x)",
        f"{_ERF} d = Div(c, two) y = Mul(x, d)",
        "a = Mul(iroot2, x) b = Erf(a) c = Add(one, b) d = Mul(half, x) y = Mul(c, d)",
        "a = Mul(x, iroot2) b = Erf(a) c = Mul(b, half) d = Add(c, half) y = Mul(d, x)",
    ],
)
def test_gelu(body: str) -> None:
    assert_rewrites(
        FuseActivations(), before=_text(body), after=f"{_IO} {{ y = Gelu(x) }}", opset=20
    )


@pytest.mark.parametrize(
    "body",
    [
        f"{_TANH} h = Add(e, one) i = Mul(x, h) y = Mul(half, i)",
        f"{_TANH} h = Add(one, e) i = Mul(x, half) y = Mul(i, h)",
        (
            "a = Mul(x, x) b = Mul(a, x) c = Mul(cube, b) d = Add(x, c) e = Mul(kk, d) f = Tanh(e)"
            " h = Add(f, one) i = Mul(h, half) y = Mul(x, i)"
        ),
        (
            "a = Mul(x, kk) b = Mul(x, cube) c = Mul(b, x) d = Add(c, one) e = Mul(a, d)"
            " f = Tanh(e) h = Add(f, one) i = Mul(h, half) y = Mul(x, i)"
        ),
    ],
)
def test_gelu_by_tanh(body: str) -> None:
    after = f'{_IO} {{ y = Gelu<approximate="tanh">(x) }}'
    assert_rewrites(FuseActivations(), before=_text(body), after=after, opset=20)


_CLIP = "a = Add(x, three) b = Clip(a, zero, six)"


@pytest.mark.parametrize(
    "body",
    [
        f"{_CLIP} c = Mul(x, b) y = Div(c, six)",
        f"{_CLIP} c = Div(b, six) y = Mul(x, c)",
        f"{_CLIP} c = Mul(b, sixth) y = Mul(c, x)",
        "a = Add(three, x) d = Relu(a) b = Min(d, six) c = Mul(x, b) y = Div(c, six)",
        "a = HardSigmoid<alpha=0.1666667, beta=0.5>(x) y = Mul(a, x)",
    ],
)
def test_hard_swish(body: str) -> None:
    after = f"{_IO} {{ y = HardSwish(x) }}"
    assert_rewrites(FuseActivations(), before=_text(body), after=after, opset=14)


def test_hard_swish_before_opset_14_is_two_nodes() -> None:
    assert_rewrites(
        FuseActivations(),
        before=_text(f"{_CLIP} c = Mul(x, b) y = Div(c, six)"),
        after=f"""{_IO}
        {{ a = HardSigmoid<alpha=0.16666667, beta=0.5>(x) y = Mul(x, a) }}""",
        opset=13,
    )


@pytest.mark.parametrize(
    ("body", "alpha"),
    [
        (f"{_CLIP} y = Div(b, six)", 1 / 6),
        ("a = Mul(x, s2) b = Add(a, half) y = Clip(b, zero, one)", 0.2),
        ("a = Div(x, six) b = Add(a, half) c = Max(b, zero) y = Min(c, one)", 1 / 6),
    ],
)
def test_hard_sigmoid(body: str, alpha: float) -> None:
    model = parse(_text(body))
    check_pass(FuseActivations(), model)
    (node,) = model.graph
    assert node.op_type == "HardSigmoid"
    assert node.attributes.get_float("alpha", 0) == pytest.approx(alpha, rel=1e-6)


@pytest.mark.parametrize(
    ("body", "after"),
    [
        ("a = Relu(x) y = Min(a, six)", "y = Clip(x, zero, six)"),
        ("a = Max(x, neg) y = Min(six, a)", "y = Clip(x, neg, six)"),
        ("a = Min(x, six) y = Max(a, neg)", "y = Clip(x, neg, six)"),
        ("a = Clip(x, neg, six) y = Relu(a)", "y = Clip(x, zero, six)"),
        ("a = Relu(x) y = Clip(a, , six)", "y = Clip(x, zero, six)"),
        ("a = Max(x, neg) y = Relu(a)", "y = Relu(x)"),
    ],
)
def test_limits(body: str, after: str) -> None:
    assert_rewrites(
        FuseActivations(),
        before=_text(body),
        after=_text(after).replace(_TYPES, "float[1] q = {0}"),
    )


def test_limits_before_opset_11_are_attributes() -> None:
    assert_rewrites(
        FuseActivations(),
        before=_text("a = Relu(x) y = Clip<max=6.0>(a)"),
        after=f"{_IO} {{ y = Clip<min=0.0, max=6.0>(x) }}",
        opset=9,
    )


def test_limits_of_doubles_keep_their_bounds() -> None:
    model = in_type(parse(_text("a = Relu(x) y = Min(a, s2)")), ir.DataType.DOUBLE)
    check_pass(FuseActivations(), model, tolerance=1e-12)
    assert [node.op_type for node in model.graph] == ["Clip"]


@pytest.mark.parametrize(
    ("body", "opset", "reason"),
    [
        (f"{_ERF} d = Mul(x, c) y = Mul(d, half)", 19, "needs opset 20, the model has 19"),
        (
            "a = HardSigmoid<alpha=0.1666667, beta=0.5>(x) y = Mul(a, x)",
            13,
            "needs opset 14, the model has 13",
        ),
        (f"{_ERF} d = Mul(x, c) y = Mul(d, half) z = Relu(b)", 20, "read elsewhere"),
        (f"{_CLIP} c = Mul(x, b) y = Div(c, six) z = Neg(a)", 17, "read elsewhere"),
        ("a = Max(x, ten) y = Min(a, six)", 17, "bounds that cross"),
        ("a = Relu(x) y = Min(a, six) z = Neg(a)", 17, "read elsewhere"),
    ],
)
def test_refusals(body: str, opset: int, reason: str) -> None:
    refusals = assert_keeps(FuseActivations(), _text(body), opset=opset).refusals
    assert len(refusals) == 1
    assert reason in refusals[0].reason


def test_refuses_a_value_that_is_a_graph_output() -> None:
    io = "g (float[2,3] x) => (float[2,3] y, float[2,3] c)"
    text = _text(f"{_ERF} d = Mul(x, c) y = Mul(d, half)", io)
    refusals = assert_keeps(FuseActivations(), text.replace("float[2,3] c,", "", 1), opset=20)
    assert "graph output" in refusals.refusals[0].reason


def test_refuses_other_types() -> None:
    model = in_type(parse(_text(f"{_CLIP} c = Mul(x, b) y = Div(c, six)")), ir.DataType.DOUBLE)
    refusals = check_pass(FuseActivations(), model).refusals
    assert [refusal.reason for refusal in refusals] == [
        "would be a HardSwish of another type than FLOAT"
    ]


@pytest.mark.parametrize(
    "body",
    [
        "a = Sigmoid(x) y = Mul(x, a)",
        "a = Mul(x, half) b = Erf(a) c = Add(b, one) d = Mul(x, c) y = Mul(d, half)",
        f"{_ERF} d = Mul(x, c) y = Mul(d, two)",
        f"{_ERF} d = Mul(a, c) y = Mul(d, half)",
        "a = Add(x, two) b = Clip(a, zero, six) c = Mul(x, b) y = Div(c, six)",
        "a = Add(x, three) b = Clip(a, zero, three) c = Mul(x, b) y = Div(c, six)",
        "a = HardSigmoid<alpha=0.2, beta=0.5>(x) y = Mul(a, x)",
        "a = Relu(x) b = Neg(x) y = Min(a, b)",
    ],
)
def test_keeps_what_only_looks_alike(body: str) -> None:
    assert assert_keeps(FuseActivations(), _text(body), opset=20).refusals == ()
