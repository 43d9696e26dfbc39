from __future__ import annotations

from bmopt.optimizer.passes.merge_slices import MergeSlices
from tests.rewriting import assert_keeps, assert_rewrites


def test_merges_two_axes() -> None:
    assert_rewrites(
        MergeSlices(),
        before="""g (float[4, 6] x) => (float[2, 3] y)
            <int64[1] zero = {0}, int64[1] two = {2}, int64[1] one = {1}, int64[1] far = {99},
            int64[1] last = {-1}>
            { a = Slice(x, zero, two, zero) y = Slice(a, one, far, last, two) }""",
        after="""g (float[4, 6] x) => (float[2, 3] y)
            <int64[2] s = {0, 1}, int64[2] e = {2, 99}, int64[2] a = {0, 1}, int64[2] t = {1, 2}>
            { y = Slice(x, s, e, a, t) }""",
    )


def test_keeps_two_cuts_of_one_axis() -> None:
    text = """g (float[6] x) => (float[2] y)
        <int64[1] zero = {0}, int64[1] four = {4}, int64[1] two = {2}>
        { a = Slice(x, zero, four, zero) y = Slice(a, two, four, zero) }"""
    assert assert_keeps(MergeSlices(), text).refusals


def test_keeps_what_others_read_and_computed_bounds() -> None:
    read = """g (float[4, 6] x) => (float[2, 4] y, float[2, 6] z)
        <int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}, int64[1] four = {4}>
        { a = Slice(x, zero, two, zero) y = Slice(a, zero, four, one) z = Relu(a) }"""
    assert_keeps(MergeSlices(), read)
    computed = """g (float[4, 6] x, int64[1] n) => (float[A, B] y)
        <int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}>
        { a = Slice(x, zero, two, zero) y = Slice(a, zero, n, one) }"""
    assert_keeps(MergeSlices(), computed)
