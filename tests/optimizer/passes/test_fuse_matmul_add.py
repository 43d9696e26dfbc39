from __future__ import annotations

import pytest

from bmopt.optimizer.passes.fuse_matmul_add import FuseMatMulAdd
from tests.optimizer.literals import weights
from tests.rewriting import assert_keeps, assert_rewrites

_IO = "g (float[2,4] x) => (float[2,5] y)"
_W = weights("w", (4, 5))
_WT = weights("w", (5, 4))


@pytest.mark.parametrize("shape", [(), (1,), (5,), (1, 5)])
@pytest.mark.parametrize("operands", ["c, b", "b, c"])
def test_matmul_and_row_become_gemm(operands: str, shape: tuple[int, ...]) -> None:
    constants = f"<{_W}, {weights('b', shape)}>"
    assert_rewrites(
        FuseMatMulAdd(),
        before=f"{_IO} {constants} {{ c = MatMul(x, w)  y = Add({operands}) }}",
        after=f"{_IO} {constants} {{ y = Gemm(x, w, b) }}",
    )


def test_shared_bias_stays_shared() -> None:
    constants = f"<{_W}, {weights('b', (5,))}>"
    io = "g (float[2,4] x) => (float[2,5] y, float[2,5] z)"
    assert_rewrites(
        FuseMatMulAdd(),
        before=f"{io} {constants} {{ c = MatMul(x, w)  y = Add(c, b)  z = Add(y, b) }}",
        after=f"{io} {constants} {{ y = Gemm(x, w, b)  z = Add(y, b) }}",
    )


def test_gemm_takes_a_second_bias() -> None:
    assert_rewrites(
        FuseMatMulAdd(),
        before=f"""{_IO} <{_W}, float[5] a = {{1,2,3,4,5}}, float b = {{1}}>
        {{ c = Gemm<beta=2.0>(x, w, a)  y = Sub(c, b) }}""",
        after=f"{_IO} <{_W}, float[5] a = {{1,3,5,7,9}}> {{ y = Gemm(x, w, a) }}",
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("y = MatMul(x, t)", "y = Gemm<transB=1>(x, w)"),
        ("y = Gemm(x, t, b)", "y = Gemm<transB=1>(x, w, b)"),
        ("c = MatMul(x, t) y = Add(c, b)", None),
    ],
)
def test_reads_the_weight_untransposed(before: str, after: str | None) -> None:
    constants = f"<{_WT}, {weights('b', (5,))}, float[4,5] t>"
    assert_rewrites(
        FuseMatMulAdd(),
        before=f"{_IO} {constants} {{ t = Transpose<perm=[1,0]>(w) {before} }}",
        after=f"{_IO} {constants} {{ {after or 'y = Gemm<transB=1>(x, w, b)'} }}",
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            (
                f"g (float[3,2,4] x) => (float[3,2,5] y) <{_W}, {weights('b', (5,))}>"
                " { c = MatMul(x, w) y = Add(c, b) }"
            ),
            "not of rank 2",
        ),
        (
            f"{_IO} <{_W}, {weights('b', (5,))}> {{ r = Relu(x) c = MatMul(r, w) y = Add(c, b) }}",
            "not of rank 2",
        ),
        (
            f"{_IO} <{_W}, {weights('b', (2, 5))}> {{ c = MatMul(x, w) y = Add(c, b) }}",
            "neither a scalar nor a row",
        ),
        (
            f"{_IO} <{_W}, {weights('b', (2, 1))}> {{ c = MatMul(x, w) y = Add(c, b) }}",
            "neither a scalar nor a row",
        ),
        (
            f"{_IO} <{_W}, {weights('b', (5,))}> {{ c = MatMul(x, w) y = Add(c, b) z = Relu(c) }}",
            "read elsewhere",
        ),
        (
            (
                f"g (float[2,4] x) => (float[2,5] y, float[2,5] c) <{_W}, {weights('b', (5,))}>"
                " { c = MatMul(x, w) y = Add(c, b) }"
            ),
            "graph output",
        ),
    ],
)
def test_refusals(text: str, reason: str) -> None:
    refusals = assert_keeps(FuseMatMulAdd(), text).refusals
    assert len(refusals) == 1
    assert reason in refusals[0].reason


@pytest.mark.parametrize(
    "text",
    [
        (
            "g (float[2,4] x, float[4,5] w) => (float[2,5] y) <float b = {1}>"
            " { c = MatMul(x, w) y = Add(c, b) }"
        ),
        (
            f"g (float[2,4] x, float[5] b) => (float[2,5] y) <{_W}>"
            " { c = MatMul(x, w) y = Add(c, b) }"
        ),
        (
            "g (float[2,3,4] x, float[2,5,4] v) => (float[2,3,5] y) <float[2,4,5] t>"
            " { t = Transpose<perm=[0,2,1]>(v) y = MatMul(x, t) }"
        ),
        f"{_IO} <{_W}, float[4,5] t> {{ t = Transpose<perm=[0,1]>(w) y = MatMul(x, t) }}",
    ],
)
def test_keeps_other_products(text: str) -> None:
    assert assert_keeps(FuseMatMulAdd(), text).refusals == ()
