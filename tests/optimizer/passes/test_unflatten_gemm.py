from __future__ import annotations

import pytest

from bmopt.optimizer.passes.unflatten_gemm import UnflattenGemm
from tests.optimizer.literals import weights
from tests.rewriting import assert_keeps, assert_rewrites

_W, _B = weights("w", (4, 5)), weights("b", (5,))
_FLAT = "int64[2] flat = {-1, 4}, float[6,4] r, float[6,5] m"
_IO = f"g (float[2,3,4] x) => (float[2,3,5] y) <{_W}, {_B}, {_FLAT}, int64[3] back = {{2,3,5}}>"


def test_gemm_between_reshapes_becomes_matmul_and_add() -> None:
    assert_rewrites(
        UnflattenGemm(),
        before=f"{_IO} {{ r = Reshape(x, flat) m = Gemm(r, w, b) y = Reshape(m, back) }}",
        after=f"{_IO} {{ m = MatMul(x, w) y = Add(m, b) }}",
    )


def test_gemm_without_bias_becomes_matmul() -> None:
    assert_rewrites(
        UnflattenGemm(),
        before=f"{_IO} {{ r = Reshape(x, flat) m = Gemm(r, w) y = Reshape(m, back) }}",
        after=f"{_IO} {{ y = MatMul(x, w) }}",
    )


def test_dynamic_axes_with_symbols_are_known_to_come_back() -> None:
    io = (
        f"g (float[N,3,4] x) => (float[N,3,5] y) <{_W}, {_B}, int64[2] flat = {{-1, 4}}, "
        "float[M,4] r, float[M,5] m, int64[3] back = {-1,3,5}>"
    )
    assert_rewrites(
        UnflattenGemm(),
        before=f"{io} {{ r = Reshape(x, flat) m = Gemm(r, w, b) y = Reshape(m, back) }}",
        after=f"{io} {{ m = MatMul(x, w) y = Add(m, b) }}",
    )


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ("r = Reshape(x, flat) m = Gemm<alpha=2.0>(r, w, b) y = Reshape(m, back)", "scales"),
        ("r = Reshape(x, flat) m = Gemm<beta=2.0>(r, w, b) y = Reshape(m, back)", "scales"),
        ("r = Reshape(x, flat) m = Gemm<transB=1>(r, t, b) y = Reshape(m, back)", "transposes"),
        ("r = Reshape(x, flat) m = Gemm(r, w, full) y = Reshape(m, back)", "no row"),
        ("r = Reshape(x, flat) m = Gemm(r, w, b) n = Neg(m) y = Reshape(m, back)", "elsewhere"),
    ],
)
def test_refuses(nodes: str, reason: str) -> None:
    constants = f"{weights('t', (5, 4))}, {weights('full', (6, 5))}"
    outcome = assert_keeps(UnflattenGemm(), f"{_IO[:-1]}, {constants}> {{ {nodes} }}")
    assert reason in outcome.refusals[0].reason


def test_refuses_another_shape() -> None:
    io = _IO.replace("[2,3,5] y", "[3,2,5] y").replace("{2,3,5}", "{3,2,5}")
    nodes = "r = Reshape(x, flat) m = Gemm(r, w, b) y = Reshape(m, back)"
    outcome = assert_keeps(UnflattenGemm(), f"{io} {{ {nodes} }}")
    assert "does not restore" in outcome.refusals[0].reason


def test_refuses_unknown_axes() -> None:
    io = _IO.replace("float[6,4] r, ", "")
    nodes = "r = Reshape(x, flat) m = Gemm(r, w, b) y = Reshape(m, back)"
    outcome = assert_keeps(UnflattenGemm(), f"{io} {{ {nodes} }}")
    assert "unknown size" in outcome.refusals[0].reason
