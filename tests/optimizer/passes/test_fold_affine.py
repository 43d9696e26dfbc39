from __future__ import annotations

import itertools

import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmopt.optimizer.passes.fold_affine import FoldAffine
from tests.optimizer.literals import in_type, weights
from tests.rewriting import assert_keeps, assert_rewrites, check_pass, parse

_CONV = "g (float[2,2,4,4] x) => (float[2,3,4,4] y)"
_W = weights("w", (3, 2, 1, 1))


def _ops(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph.all_nodes()]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("expression", "after"),
    [
        ("y = Add(c, k)", "w = {1, 2}> KB {1, 2}"),
        ("y = Sub(c, k)", "w = {1, 2}> KB {-1, -2}"),
        ("y = Sub(k, c)", "w = {-1, -2}> KB {1, 2}"),
        ("y = Mul(k, c)", "w = {1, 4}> KB"),
        ("y = Div(c, k)", "w = {1, 1}> KB"),
        ("y = Neg(c)", "w = {-1, -2}> KB"),
    ],
)
def test_folds_each_op_into_a_conv(expression: str, after: str, bias: bool) -> None:
    model = parse(f"""g (float[1,1,2,2] x) => (float[1,2,2,2] y)
    <float[2,1,1,1] w = {{1, 2}}, float[2] cb = {{3, 4}}, float[2,1,1] k = {{1, 2}},
     float[1,2,2,2] c> {{ c = Conv(x, w{", cb" if bias else ""})  {expression} }}""")
    check_pass(FoldAffine(), model)
    (conv,) = model.graph
    weight, wanted = conv.inputs[1], after.split(">")[0]
    assert weight is not None
    assert weight.const_value is not None
    numbers = ", ".join(f"{v:.0f}" for v in weight.const_value.numpy().reshape(-1))
    assert wanted == f"w = {{{numbers}}}"
    has_bias = len(conv.inputs) > 2 and conv.inputs[2] is not None
    assert has_bias == (bias or "{" in after.split("KB")[1])


@pytest.mark.parametrize("shape", [(), (1,), (6, 1, 1), (1, 6, 1, 1), (1, 1, 1, 1)])
@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
def test_grouped_convolutions(op: str, group: int, shape: tuple[int, ...]) -> None:
    weight = (6, 4 // group, 3, 2) if op == "Conv" else (4, 6 // group, 3, 2)
    model = parse(f"""g (float[2,4,6,5] x) => (float[2,6,A,B] y)
    <{weights("w", weight)}, {weights("s", shape, positive=True)}, {weights("t", shape)}>
    {{ c = {op}<group={group}, pads=[1,0,0,1]>(x, w)  d = Mul(c, s)  e = Add(t, d)
      y = Div(e, s) }}""")
    check_pass(FoldAffine(), model)
    assert _ops(model) == [op]


@pytest.mark.parametrize("shape", [(), (5,), (1, 5), (1, 1)])
@pytest.mark.parametrize("op", ["Gemm", "MatMul"])
def test_matrices(op: str, shape: tuple[int, ...]) -> None:
    model = parse(f"""g (float[2,4] x) => (float[2,5] y)
    <{weights("w", (4, 5))}, {weights("s", shape)}, {weights("t", shape)}>
    {{ c = {op}(x, w)  d = Mul(c, s)  y = Add(t, d) }}""")
    check_pass(FoldAffine(), model)
    assert _ops(model) == ["Gemm"]


def test_attention_scale_goes_into_a_constant_weight() -> None:
    model = parse(f"""g (float[2,3,4] x) => (float[2,3,5] y) <{weights("w", (4, 5))},
    float s = {{0.125}}> {{ c = MatMul(x, w)  y = Mul(c, s) }}""")
    check_pass(FoldAffine(), model)
    assert _ops(model) == ["MatMul"]


@pytest.mark.parametrize("group", [1, 2])
def test_normalisation_before_convs(group: int) -> None:
    model = parse(f"""g (float[2,4,6,5] x) => (float[2,6,4,3] y, float[2,6,4,3] z)
    <{weights("w", (6, 4 // group, 3, 3))}, {weights("u", (6, 4 // group, 3, 3))},
     {weights("ub", (6,))}, {weights("m", (1, 4, 1, 1))}, {weights("s", (4, 1, 1), positive=True)},
     float[2,4,6,5] a, float[2,4,6,5] c>
    {{ a = Sub(x, m)  c = Div(a, s)
      y = Conv<group={group}>(c, w)  z = Conv<group={group}>(c, u, ub) }}""")
    check_pass(FoldAffine(), model)
    assert _ops(model) == ["Conv", "Conv"]


def test_factor_before_a_padded_conv() -> None:
    assert_rewrites(
        FoldAffine(),
        before="""g (float[1,1,2,2] x) => (float[1,1,2,2] y)
        <float[1,1,3,3] w = {1,1,1,1,1,1,1,1,1}, float s = {2}>
        { c = Mul(x, s)  y = Conv<pads=[1,1,1,1]>(c, w) }""",
        after="""g (float[1,1,2,2] x) => (float[1,1,2,2] y)
        <float[1,1,3,3] w = {2,2,2,2,2,2,2,2,2}> { y = Conv<pads=[1,1,1,1]>(x, w) }""",
    )


def test_factor_before_matrices_of_any_rank() -> None:
    model = parse(f"""g (float[2,3,4] x) => (float[2,3,5] y) <{weights("w", (4, 5))},
    {weights("s", (4,))}, float[2,3,4] c> {{ c = Mul(x, s)  y = MatMul(c, w) }}""")
    check_pass(FoldAffine(), model)
    assert _ops(model) == ["MatMul"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("c = Add(x, a) y = Add(c, b)", "<float k = {5}> { y = Add(x, k) }"),
        ("c = Mul(x, a) y = Div(c, b)", "<float k = {0.666667}> { y = Mul(x, k) }"),
        ("c = Sub(a, x) y = Sub(b, c)", "<float k = {1}> { y = Add(x, k) }"),
        ("c = Sub(a, x) y = Add(b, c)", "<float k = {5}> { y = Sub(k, x) }"),
        ("c = Neg(x) y = Sub(a, c)", "<float k = {2}> { y = Add(x, k) }"),
        ("c = Neg(x) y = Neg(c)", "<float k = {1}> { y = Mul(x, k) }"),
        (
            "c = Mul(x, a) d = Add(c, b) y = Mul(d, b)",
            "<float k = {6}, float l = {9}> { c = Mul(x, k) y = Add(c, l) }",
        ),
    ],
)
def test_chains(before: str, after: str) -> None:
    io = "g (float[2,3] x) => (float[2,3] y)"
    types = "float a = {2}, float b = {3}, float[2,3] c, float[2,3] d"
    assert_rewrites(FoldAffine(), before=f"{io} <{types}> {{ {before} }}", after=f"{io} {after}")


_STEPS = [f"{op}({args})" for op in ("Add", "Sub", "Mul", "Div") for args in ("@, k", "@, l")]
_STEPS += ["Sub(k, @)", "Neg(@)", "Add(l, @)", "Mul(m, @)", "Add(@, m)"]


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.sampled_from(_STEPS), min_size=1, max_size=5))
def test_random_chains_keep_shape_and_value(steps: list[str]) -> None:
    names = ["x", *(f"t{i}" for i in range(len(steps) - 1)), "y"]
    lines = [
        f"{new} = {s.replace('@', old)}"
        for (old, new), s in zip(itertools.pairwise(names), steps, strict=True)
    ]
    model = parse(f"""g (float[2,3,1] x) => (float[A,B,C] y)
    <{weights("k", (), positive=True)}, {weights("l", (3, 1), positive=True)},
     {weights("m", (1, 2))}> {{ {" ".join(lines)} }}""")
    for node in model.graph:
        node.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    count = len(model.graph)
    check_pass(FoldAffine(), model)
    assert len(model.graph) <= min(count, 2)


def test_chain_of_half_precision() -> None:
    text = """g (float[2,3] x) => (float[2,3] y) <float a = {2}, float b = {3}, float[2,3] c>
    { c = Add(x, a)  y = Add(c, b) }"""
    model = in_type(parse(text), ir.DataType.FLOAT16)
    check_pass(FoldAffine(), model, tolerance=5e-3)
    assert _ops(model) == ["Add"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            f"{_CONV} <{_W}, {weights('k', (4, 4))}> {{ c = Conv(x, w) y = Add(c, k) }}",
            "not per channel",
        ),
        (
            (
                f"g (float[2,2,4,4] x) => (float[2,3,4,4] y) <{weights('w', (1, 2, 1, 1))},"
                f" {weights('k', (3, 1, 1))}> {{ c = Conv(x, w) y = Add(c, k) }}"
            ),
            "not per channel",
        ),
        (
            (
                f"g (float[2,2,4,4] x) => (float[1,2,3,4,4] y) <{_W},"
                f" {weights('k', (1, 1, 1, 1, 1))}> {{ c = Conv(x, w) y = Add(c, k) }}"
            ),
            "higher rank",
        ),
        (
            f"{_CONV} <{_W}, float k = {{2}}> {{ c = Conv(x, w) y = Mul(c, k) z = Relu(c) }}",
            "read elsewhere",
        ),
        (
            (
                f"g (float[2,2,4,4] x) => (float[2,3,4,4] y, float[2,3,4,4] c)"
                f" <{_W}, float k = {{2}}>"
                " { c = Conv(x, w) y = Mul(c, k) }"
            ),
            "graph output",
        ),
        (
            (
                f"g (float[2,2,4,4] x, float[3] b) => (float[2,3,4,4] y) <{_W}, float k = {{2}}>"
                " { c = Conv(x, w, b) y = Mul(c, k) }"
            ),
            "which is computed",
        ),
        (
            (
                f"{_CONV} <{weights('w', (3, 2, 3, 3))}, float k = {{2}}>"
                " { c = Add(x, k) y = Conv<pads=[1,1,1,1]>(c, w) }"
            ),
            "pads with zeros",
        ),
        (
            (
                f"{_CONV} <{_W}, {weights('k', (2, 1, 1))}>"
                " { r = Relu(x) c = Mul(r, k) y = Conv(c, w) }"
            ),
            "rank is unknown",
        ),
        (
            (
                f"g (float[2,1,4,4] x) => (float[2,3,4,4] y) <{_W}, {weights('k', (2, 1, 1))}>"
                " { c = Mul(x, k) y = Conv(c, w) }"
            ),
            "along the channels",
        ),
        (
            f"{_CONV} <{_W}, float k = {{2}}> {{ c = Mul(x, k) y = Conv(c, w) z = Relu(c) }}",
            "not read by linear nodes alone",
        ),
        (
            (
                f"g (float[4,2] x) => (float[2,5] y) <{weights('w', (4, 5))}, float k = {{2}}>"
                " { c = Mul(x, k) y = Gemm<transA=1>(c, w) }"
            ),
            "transposes its data",
        ),
        (
            (
                f"g (float[2,3,4] x) => (float[2,3,5] y)"
                f" <{weights('w', (4, 5))}, {weights('k', (5,))}>"
                " { c = MatMul(x, w) y = Add(c, k) }"
            ),
            "needs a bias",
        ),
        (
            f"{_CONV} <{_W}, float k = {{0}}> {{ c = Conv(x, w) y = Div(c, k) }}",
            "not finite",
        ),
        (
            (
                "g (float[2,3] x) => (float[2,3] y) <float k = {12582912}, float[2,3] c>"
                " { c = Add(x, k) y = Sub(c, k) }"
            ),
            "rounds its input",
        ),
        (
            (
                f"g (float[2,40,40] x) => (float[2,40,40] y) <{weights('k', (40, 1))},"
                f" {weights('l', (1, 40))}, float[2,40,40] c> {{ c = Add(x, k) y = Add(c, l) }}"
            ),
            "would grow",
        ),
        (
            (
                "g (float[2,3] x) => (float[2,3] y) <float k = {1e30}, float[2,3] c>"
                " { c = Mul(x, k) y = Mul(c, k) }"
            ),
            "beyond the range",
        ),
    ],
)
def test_refusals(text: str, reason: str) -> None:
    refusals = assert_keeps(FoldAffine(), text).refusals
    assert len(refusals) == 1
    assert reason in refusals[0].reason


def test_refuses_a_weight_of_an_outer_graph_for_its_reader_in_a_branch() -> None:
    text = f"""g (bool q, float[2,2,4,4] x) => (float[2,3,4,4] y) <{_W}, float k = {{2}}>
    {{ c = Conv(x, w)
      y = If(q) <then_branch = t () => (float[2,3,4,4] a) {{ a = Mul(c, k) }},
                 else_branch = e () => (float[2,3,4,4] b) {{ b = Relu(q2) }}> }}""".replace(
        "b = Relu(q2)", "b = Identity(c)"
    )
    assert "read elsewhere" in assert_keeps(FoldAffine(), text).refusals[0].reason


@pytest.mark.parametrize(
    "text",
    [
        "g (float[2,3] x) => (float[2,3] y) <float a = {2}> { y = Div(a, x) }",
        (
            "g (int64[2,3] x) => (int64[2,3] y) <int64 a = {2}, int64[2,3] c>"
            " { c = Div(x, a) y = Mul(c, a) }"
        ),
        (
            "g (float[2,3] x) => (float[2,3] y, float[2,3] c) <float a = {2}>"
            " { c = Mul(x, a) y = Mul(c, a) }"
        ),
    ],
)
def test_keeps_what_is_no_chain(text: str) -> None:
    assert assert_keeps(FoldAffine(), text).refusals == ()


def test_leaves_a_written_out_gelu_whole() -> None:
    assert_keeps(
        FoldAffine(),
        f"""g (float[2,4] x) => (float[2,5] y) <{weights("w", (4, 5))}, float a = {{1.4142135}},
        float h = {{0.5}}, float o = {{1}}>
        {{ d = Div(x, a) e = Erf(d) p = Add(e, o) m = Mul(x, p) n = Mul(m, h)
          y = MatMul(n, w) }}""",
    )
