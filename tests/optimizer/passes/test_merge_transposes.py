from __future__ import annotations

from bmopt.optimizer.passes.merge_transposes import MergeTransposes
from tests.rewriting import assert_keeps, assert_rewrites


def test_two_that_undo_each_other_go() -> None:
    assert_rewrites(
        MergeTransposes(),
        before="""g (float[2, 3, 4] x) => (float[2, 3, 4] y) {
            a = Transpose<perm = [1, 2, 0]>(x) b = Transpose<perm = [2, 0, 1]>(a) y = Relu(b) }""",
        after="g (float[2, 3, 4] x) => (float[2, 3, 4] y) { y = Relu(x) }",
    )


def test_two_become_one() -> None:
    assert_rewrites(
        MergeTransposes(),
        before="""g (float[2, 3, 4] x) => (float[3, 2, 4] y) {
            a = Transpose<perm = [1, 2, 0]>(x) y = Transpose<perm = [0, 2, 1]>(a) }""",
        after="g (float[2, 3, 4] x) => (float[3, 2, 4] y) { y = Transpose<perm = [1, 0, 2]>(x) }",
    )


def test_three_become_one() -> None:
    assert_rewrites(
        MergeTransposes(),
        before="""g (float[2, 3, 4] x) => (float[4, 2, 3] y) { a = Transpose<perm = [1, 2, 0]>(x)
            b = Transpose<perm = [0, 2, 1]>(a) y = Transpose<perm = [2, 1, 0]>(b) }""",
        after="g (float[2, 3, 4] x) => (float[4, 2, 3] y) { y = Transpose<perm = [2, 0, 1]>(x) }",
    )


def test_gemm_takes_a_transpose_in() -> None:
    assert_rewrites(
        MergeTransposes(),
        before="""g (float[2, 3] x, float[4, 2] w) => (float[3, 4] y) {
            a = Transpose<perm = [1, 0]>(x) b = Transpose(w) y = Gemm(a, b) }""",
        after="""g (float[2, 3] x, float[4, 2] w) => (float[3, 4] y) {
            y = Gemm<transA = 1, transB = 1>(x, w) }""",
    )


def test_the_product_of_two_transposed_is_transposed_once() -> None:
    assert_rewrites(
        MergeTransposes(),
        before="""g (float[2, 3] x, float[4, 2] w) => (float[3, 4] y) {
            a = Transpose<perm = [1, 0]>(x) b = Transpose<perm = [1, 0]>(w) y = MatMul(a, b) }""",
        after="""g (float[2, 3] x, float[4, 2] w) => (float[3, 4] y) {
            p = MatMul(w, x) y = Transpose<perm = [1, 0]>(p) }""",
    )


def test_keeps_what_others_read() -> None:
    pair = """g (float[2, 3, 4] x) => (float[3, 2, 4] y, float[3, 4, 2] z) {
        a = Transpose<perm = [1, 2, 0]>(x) y = Transpose<perm = [0, 2, 1]>(a) z = Relu(a) }"""
    assert_keeps(MergeTransposes(), pair)
    gemm = """g (float[2, 3] x, float[2, 4] w) => (float[3, 4] y, float[3, 2] z) {
        a = Transpose<perm = [1, 0]>(x) y = Gemm(a, w) z = Relu(a) }"""
    assert_keeps(MergeTransposes(), gemm)


def test_keeps_a_pair_between_public_names() -> None:
    text = """g (float[2, 3] x) => (float[2, 3] y) {
        a = Transpose<perm = [1, 0]>(x) y = Transpose<perm = [1, 0]>(a) }"""
    assert "interface" in assert_keeps(MergeTransposes(), text).refusals[0].reason
