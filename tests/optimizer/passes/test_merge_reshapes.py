from __future__ import annotations

from bmopt.optimizer.passes.infer_shapes import InferShapes
from bmopt.optimizer.passes.merge_reshapes import MergeReshapes
from tests.rewriting import assert_keeps, assert_rewrites, check_pass, parse


def test_a_reshape_to_constant_sizes_needs_no_other_before_it() -> None:
    assert_rewrites(
        MergeReshapes(),
        before="""g (float[N, 3, 4] x) => (float[N, 2, 6] y) <int64[3] t = {-1, 2, 6}>
            { a = Flatten(x) y = Reshape(a, t) }""",
        after="""g (float[N, 3, 4] x) => (float[N, 2, 6] y) <int64[3] t = {-1, 2, 6}>
            { y = Reshape(x, t) }""",
    )


def test_two_become_a_reshape_with_one_open_axis() -> None:
    assert_rewrites(
        MergeReshapes(),
        before="""g (float[N, 3, 4] x) => (float[N, 12, 1] y)
            <int64[2] t = {-1, 12}, int64[1] two = {2}>
            { a = Reshape(x, t) y = Unsqueeze(a, two) }""",
        after="""g (float[N, 3, 4] x) => (float[N, 12, 1] y) <int64[3] t = {-1, 12, 1}>
            { y = Reshape(x, t) }""",
    )


def test_a_transpose_that_moves_only_ones_counts() -> None:
    assert_rewrites(
        MergeReshapes(),
        before="""g (float[1, 3, 4] x) => (float[12] y) <int64[1] t = {12}, float[3, 1, 4] a>
            { a = Transpose<perm = [1, 0, 2]>(x) y = Reshape(a, t) }""",
        after="g (float[1, 3, 4] x) => (float[12] y) <int64[1] t = {12}> { y = Reshape(x, t) }",
    )


def test_two_that_end_where_they_began_go() -> None:
    assert_rewrites(
        MergeReshapes(),
        before="""g (float[N, 3] x) => (float[N, 3] y) <int64[1] a = {1}, float[N, 3] c>
            { b = Unsqueeze(x, a) c = Squeeze(b, a) y = Relu(c) }""",
        after="g (float[N, 3] x) => (float[N, 3] y) { y = Relu(x) }",
    )


def test_two_unsqueezes_of_an_unknown_shape() -> None:
    model = parse(
        """g (float[A, B, C] x) => (float[A, 1, B, 1, C] y)
        <int64[1] one = {1}, int64[1] three = {3}>
        { a = Unsqueeze(x, one)  b = Unsqueeze(a, three)  y = Neg(b) }"""
    )
    InferShapes()(model)
    assert check_pass(MergeReshapes(), model).modified
    assert [node.op_type for node in model.graph] == ["Unsqueeze", "Neg"]


def test_keeps_what_others_read() -> None:
    text = """g (float[2, 6] x) => (float[3, 4] y, float[12] z)
        <int64[1] t = {12}, int64[2] u = {3, 4}>
        { a = Reshape(x, t) y = Reshape(a, u) z = Relu(a) }"""
    assert_keeps(MergeReshapes(), text)


def test_keeps_copied_axes_of_an_unknown_shape() -> None:
    text = """g (float[A, B, C, D] x) => (float[E, F, 1] y)
        <int64[2] t = {2, -1}, int64[3] u = {0, 0, 1}>
        { a = Reshape(x, t) y = Reshape(a, u) }"""
    outcome = assert_keeps(MergeReshapes(), text)
    assert "unknown axes" in outcome.refusals[0].reason


def test_keeps_a_transpose_that_moves_data() -> None:
    text = """g (float[2, 3, 4] x) => (float[24] y) <int64[1] t = {24}, float[3, 2, 4] a>
        { a = Transpose<perm = [1, 0, 2]>(x) y = Reshape(a, t) }"""
    assert_keeps(MergeReshapes(), text)
