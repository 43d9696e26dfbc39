from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from bmopt.graph.origin import origin_of
from bmopt.optimizer.passes.fold_batch_norm import FoldBatchNorm
from tests.optimizer.literals import batch_norm, in_type, weights
from tests.rewriting import assert_keeps, assert_rewrites, check_pass, parse

_BN = "y = BatchNormalization(c, g, b, m, v)"


def _ops(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph.all_nodes()]


def test_folds_into_the_conv_before_it() -> None:
    assert_rewrites(
        FoldBatchNorm(),
        before="""g (float[N,1,2,2] x) => (float[N,2,2,2] y)
        <float[2,1,1,1] w = {1, 2}, float[2] cb = {1, 1}, float[2] g = {2, 4},
         float[2] b = {1, 0}, float[2] m = {0, 1}, float[2] v = {1, 4}>
        { c = Conv(x, w, cb)  y = BatchNormalization<epsilon=0.0>(c, g, b, m, v) }""",
        after="""g (float[N,1,2,2] x) => (float[N,2,2,2] y)
        <float[2,1,1,1] w = {2, 4}, float[2] cb = {3, 0}> { y = Conv(x, w, cb) }""",
    )


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("group", [1, 2, 4])
@pytest.mark.parametrize("op", ["Conv", "ConvTranspose"])
def test_grouped_convolutions(op: str, group: int, bias: bool) -> None:
    shape = (8, 4 // group, 3, 3) if op == "Conv" else (4, 8 // group, 3, 3)
    more = ", " + weights("cb", (8,)) if bias else ""
    model = parse(f"""g (float[2,4,6,5] x) => (float[2,8,A,B] y)
    <{weights("w", shape)}, {batch_norm(8)}{more}>
    {{ c = {op}<group={group}, pads=[1,0,0,1], strides=[2,1]>(x, w{", cb" if bias else ""})
      {_BN} }}""")
    assert check_pass(FoldBatchNorm(), model).refusals == ()
    assert _ops(model) == [op]
    assert sorted(model.graph.initializers) != []
    assert len(model.graph.initializers) == 2


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("bias", [None, (5,), (1, 5), (1,), ()])
def test_gemm(transposed: int, bias: tuple[int, ...] | None) -> None:
    more = "" if bias is None else ", " + weights("cb", bias)
    model = parse(f"""g (float[3,4] x) => (float[3,5] y)
    <{weights("w", (5, 4) if transposed else (4, 5))}, {batch_norm(5)}{more}>
    {{ c = Gemm<transB={transposed}, alpha=0.5, beta=2.0>(x, w{"" if bias is None else ", cb"})
      {_BN} }}""")
    check_pass(FoldBatchNorm(), model)
    assert _ops(model) == ["Gemm"]


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(ir.DataType.FLOAT16, 5e-3), (ir.DataType.DOUBLE, 1e-9)]
)
def test_other_types(dtype: ir.DataType, tolerance: float) -> None:
    text = f"""g (float[2,4] x) => (float[2,3] y) <{weights("w", (4, 3))}, {batch_norm(3)}>
    {{ c = Gemm(x, w) {_BN} }}"""
    model = in_type(parse(text), dtype)
    check_pass(FoldBatchNorm(), model, compare=dtype == ir.DataType.DOUBLE, tolerance=tolerance)
    wide = parse(text)
    FoldBatchNorm()(wide)
    for got, want in zip(model.graph[0].inputs[1:], wide.graph[0].inputs[1:], strict=True):
        assert got is not None
        assert want is not None
        assert got.const_value is not None
        assert want.const_value is not None
        assert got.const_value.dtype == dtype
        np.testing.assert_allclose(
            got.const_value.numpy(), want.const_value.numpy(), rtol=5e-3, atol=5e-3
        )


def test_matmul_of_rank_2_becomes_gemm() -> None:
    model = parse(f"""g (float[3,4] x) => (float[3,5] y) <{weights("w", (4, 5))}, {batch_norm(5)}>
    {{ c = MatMul(x, w) {_BN} }}""")
    check_pass(FoldBatchNorm(), model)
    assert _ops(model) == ["Gemm"]


@pytest.mark.parametrize("group", [1, 2])
def test_folds_into_the_convs_after_it(group: int) -> None:
    shape = (6, 4 // group, 3, 3)
    model = parse(f"""g (float[2,4,6,5] x) => (float[2,6,4,3] y, float[2,6,4,3] z)
    <{weights("w", shape)}, {weights("u", shape)}, {weights("ub", (6,))}, {batch_norm(4)}>
    {{ c = BatchNormalization(x, g, b, m, v)
      y = Conv<group={group}>(c, w)  z = Conv<auto_pad="VALID", group={group}>(c, u, ub) }}""")
    check_pass(FoldBatchNorm(), model)
    assert _ops(model) == ["Conv", "Conv"]


@pytest.mark.parametrize("op", ["Gemm", "MatMul"])
def test_folds_into_the_matrix_after_it(op: str) -> None:
    attribute = "<alpha=0.5>" if op == "Gemm" else ""
    model = parse(f"""g (float[2,4] x) => (float[2,3] y)
    <{weights("w", (4, 3))}, {batch_norm(4)}, float[2,4] c>
    {{ c = BatchNormalization(x, g, b, m, v)  y = {op}{attribute}(c, w) }}""")
    check_pass(FoldBatchNorm(), model)
    assert _ops(model) == ["Gemm"]


@pytest.mark.parametrize("opset", [7, 9, 14, 15])
def test_opsets(opset: int) -> None:
    model = parse(
        f"""g (float[2,2,4,4] x) => (float[2,3,4,4] y)
        <{weights("w", (3, 2, 1, 1))}, {batch_norm(3)}> {{ c = Conv(x, w) {_BN} }}""",
        opset,
    )
    check_pass(FoldBatchNorm(), model)
    assert _ops(model) == ["Conv"]


def test_shared_weight_stays_as_it_is() -> None:
    model = parse(f"""g (float[2,2,4,4] x) => (float[2,3,4,4] y, float[2,3,4,4] z)
    <{weights("w", (3, 2, 1, 1))}, {batch_norm(3)}> {{ c = Conv(x, w) {_BN} z = Conv(x, w) }}""")
    check_pass(FoldBatchNorm(), model)
    assert _ops(model) == ["Conv", "Conv"]
    assert "w" in model.graph.initializers


def test_conv_stands_for_both_and_takes_the_name() -> None:
    model = parse(f"""g (float[2,2,4,4] x) => (float[2,3,4,4] y)
    <{weights("w", (3, 2, 1, 1))}, {batch_norm(3)}>
    {{ c = Conv(x, w)  n = BatchNormalization(c, g, b, m, v)  y = Relu(n) }}""")
    names = [node.name for node in model.graph.all_nodes()]
    check_pass(FoldBatchNorm(), model)
    conv = model.graph[0]
    assert conv.outputs[0].name == "n"
    assert list(origin_of(conv)) == names[:2]


def test_folds_inside_a_branch() -> None:
    body = f"<{weights('w', (3, 2, 1, 1))}, {batch_norm(3)}>"
    model = parse(f"""g (bool p, float[1,2,4,4] x) => (float[1,3,4,4] y)
    <{weights("k", (1, 3, 4, 4))}>
    {{ y = If(p) <then_branch = t () => (float[1,3,4,4] a) {body}
        {{ c = Conv(x, w)  a = BatchNormalization(c, g, b, m, v) }},
      else_branch = e () => (float[1,3,4,4] d) {{ d = Identity(k) }}> }}""")
    outcome = check_pass(FoldBatchNorm(), model)
    assert outcome.modified
    assert "BatchNormalization" not in _ops(model)


_CONV = f"<{weights('w', (3, 2, 1, 1))}, {batch_norm(3)}>"
_IO = "g (float[2,2,4,4] x) => (float[2,3,4,4] y)"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"{_IO} {_CONV} {{ c = Conv(x, w) {_BN} z = Relu(c) }}", "read elsewhere"),
        (
            (
                "g (float[2,2,4,4] x) => (float[2,3,4,4] y, float[2,3,4,4] c)"
                f" {_CONV} {{ c = Conv(x, w) {_BN} }}"
            ),
            "graph output",
        ),
        (
            (
                f"g (float[2,2,4,4] x, float[3] k) => (float[2,3,4,4] y) {_CONV}"
                f" {{ c = Conv(x, w, k) {_BN} }}"
            ),
            "which is computed",
        ),
        (
            (
                f"g (float[2,2,4,4] x, float[3] g) => (float[2,3,4,4] y)"
                f" <{weights('w', (3, 2, 1, 1))},"
                f" {weights('b', (3,))}, {weights('m', (3,))},"
                f" {weights('v', (3,), positive=True)}>"
                f" {{ c = Conv(x, w) {_BN} }}"
            ),
            "not constant",
        ),
        (
            (
                f"g (float[2,2,4,4] x) => (float[2,2,6,6] y) <{weights('w', (2, 2, 1, 1))},"
                f" {batch_norm(2)}> {{ c = BatchNormalization(x, g, b, m, v)"
                " y = Conv<pads=[1,1,1,1]>(c, w) }"
            ),
            "pads with zeros",
        ),
        (
            (
                f"g (float[2,2,4,4] x) => (float[2,2,4,4] y) <{weights('w', (2, 2, 1, 1))},"
                f" {batch_norm(2)}> {{ c = BatchNormalization(x, g, b, m, v)"
                ' y = Conv<auto_pad="SAME_UPPER">(c, w) }'
            ),
            "pads with zeros",
        ),
        (
            (
                f"g (float[2,2,4,4] x) => (float[2,2,4,4] y) <{weights('w', (2, 2, 1, 1))},"
                f" {batch_norm(2)}> {{ c = BatchNormalization(x, g, b, m, v)"
                " y = ConvTranspose(c, w) }"
            ),
            "ConvTranspose",
        ),
        (
            (
                f"g (float[2,2,4,4] x) => (float[2,2,4,4] y, float[2,2,4,4] z)"
                f" <{weights('w', (2, 2, 1, 1))}, {batch_norm(2)}>"
                " { c = BatchNormalization(x, g, b, m, v) y = Conv(c, w) z = Relu(c) }"
            ),
            "not read by linear nodes alone",
        ),
        (
            (
                f"g (float[2,5,4] x) => (float[2,5,5] y) <{weights('w', (4, 5))}, {batch_norm(5)}>"
                f" {{ c = MatMul(x, w) {_BN} }}"
            ),
            "not of rank 2",
        ),
        (
            (
                "g (float[2,4] x) => (float[2,3] y)"
                f" <{weights('w', (4, 3))}, {weights('k', (2, 3))},"
                f" {batch_norm(3)}> {{ c = Gemm(x, w, k) {_BN} }}"
            ),
            "not per channel",
        ),
        (
            (
                f"{_IO} <{weights('w', (3, 2, 1, 1))}, float[3] g = {{1e30, 1, 1}},"
                " float[3] b = {0, 0, 0}, float[3] m = {0, 0, 0}, float[3] v = {1e-30, 1, 1}>"
                " { c = Conv(x, w) y = BatchNormalization<epsilon=0.0>(c, g, b, m, v) }"
            ),
            "beyond the range of FLOAT",
        ),
    ],
)
def test_refusals(text: str, reason: str) -> None:
    refusals = assert_keeps(FoldBatchNorm(), text).refusals
    assert len(refusals) == 1
    assert reason in refusals[0].reason


def test_refuses_training() -> None:
    text = f"""{_IO} {_CONV} {{ c = Conv(x, w)
    y, rm, rv = BatchNormalization<training_mode=1>(c, g, b, m, v) }}"""
    refusals = assert_keeps(FoldBatchNorm(), text, compare=False).refusals
    assert refusals[0].reason == "is in training mode"


def test_refuses_statistics_that_are_read() -> None:
    text = f"""g (float[2,2,4,4] x) => (float[2,3,4,4] y, float[3] rm) {_CONV}
    {{ c = Conv(x, w) y, rm, rv = BatchNormalization<training_mode=0>(c, g, b, m, v) }}"""
    model = parse(text)
    assert FoldBatchNorm()(model).refusals[0].reason == "has statistics that are read"


def test_refuses_an_initialiser_that_can_be_fed() -> None:
    text = f"""g (float[2,2,4,4] x, float[3,2,1,1] w) => (float[2,3,4,4] y)
    <{batch_norm(3)}> {{ c = Conv(x, w) {_BN} }}"""
    model = parse(text)
    weight = model.graph.inputs[1]
    weight.const_value = ir.tensor(np.ones((3, 2, 1, 1), np.float32), name="w")
    model.graph.register_initializer(weight)
    assert not FoldBatchNorm()(model).modified


def test_refuses_weights_that_half_precision_cannot_hold() -> None:
    text = """g (float[2,1,4,4] x) => (float[2,1,4,4] y)
    <float[1,1,1,1] w = {0.01}, float[1] g = {0.0001}, float[1] b = {0}, float[1] m = {0},
     float[1] v = {60000}> { c = Conv(x, w)  y = BatchNormalization(c, g, b, m, v) }"""
    model = in_type(parse(text), ir.DataType.FLOAT16)
    refusals = check_pass(FoldBatchNorm(), model, compare=False).refusals
    assert "too small for FLOAT16" in refusals[0].reason
