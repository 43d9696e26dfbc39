from __future__ import annotations

import onnx_ir as ir

from bmopt.optimizer.passes.fold_shapes import FoldShapes
from bmopt.optimizer.passes.infer_shapes import InferShapes
from tests.rewriting import assert_keeps, check_pass, parse, structure


def _fold(before: str, after: str, opset: int = 17) -> None:
    model = parse(before, opset)
    InferShapes()(model)
    assert check_pass(FoldShapes(), model).modified
    assert structure(model) == structure(parse(after, opset))


def _ops(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph.all_nodes()]


def test_the_shape_of_a_static_tensor_is_constant() -> None:
    _fold(
        """g (float[2, 6] x, float[12] z) => (float[2, 6] y) { s = Shape(x) y = Reshape(z, s) }""",
        """g (float[2, 6] x, float[12] z) => (float[2, 6] y) <int64[2] s = {2, 6}>
        { y = Reshape(z, s) }""",
    )


def test_a_known_axis_of_a_dynamic_tensor_is_constant() -> None:
    _fold(
        """g (float[N, 6] x) => (int64 y) <int64 one = {1}, int64 two = {2}>
        { s = Shape(x) d = Gather(s, one) h = Div(d, two) y = Neg(h) }""",
        "g (float[N, 6] x) => (int64 y) <int64 h = {3}> { y = Neg(h) }",
    )


def test_a_computed_target_becomes_one_with_an_open_axis() -> None:
    _fold(
        """g (float[N, 6] x) => (float[N, 2, 3] y)
        <int64 zero = {0}, int64[1] at = {0}, int64[2] rest = {2, 3}>
        { s = Shape(x) n = Gather(s, zero) v = Unsqueeze(n, at)
          t = Concat<axis = 0>(v, rest) y = Reshape(x, t) }""",
        """g (float[N, 6] x) => (float[N, 2, 3] y) <int64[3] t = {-1, 2, 3}>
        { y = Reshape(x, t) }""",
    )


def test_two_unknown_axes_are_copied() -> None:
    _fold(
        """g (float[N, M, 6] x) => (float[N, M, 2, 3] y)
        <int64[1] zero = {0}, int64[1] two = {2}, int64[2] rest = {2, 3}>
        { s = Shape(x) n = Slice(s, zero, two) t = Concat<axis = 0>(n, rest)
          y = Reshape(x, t) }""",
        """g (float[N, M, 6] x) => (float[N, M, 2, 3] y) <int64[4] t = {0, 0, 2, 3}>
        { y = Reshape(x, t) }""",
    )


def test_a_slice_to_the_end_needs_no_size() -> None:
    _fold(
        """g (float[N, 6] x) => (float[M, 6] y) <int64[1] one = {1}, int64[1] zero = {0}>
        { s = Shape(x) n = Gather(s, zero) y = Slice(x, one, n, zero) }""",
        """g (float[N, 6] x) => (float[M, 6] y)
        <int64[1] one = {1}, int64[1] zero = {0}, int64[1] end = {9223372036854775807}>
        { y = Slice(x, one, end, zero) }""",
    )


def test_an_expand_to_the_own_shape_goes() -> None:
    _fold(
        "g (float[N, 6] x) => (float[N, 6] y) { s = Shape(x) e = Expand(x, s) y = Relu(e) }",
        "g (float[N, 6] x) => (float[N, 6] y) { y = Relu(x) }",
    )


def test_an_expand_keeps_own_sizes_by_ones() -> None:
    _fold(
        """g (float[N, 1, 6] x) => (float[N, 4, 6] y) <int64[2] sizes = {4, 6}>
        { s = Shape<start = 0, end = 1>(x) t = Concat<axis = 0>(s, sizes) y = Expand(x, t) }""",
        """g (float[N, 1, 6] x) => (float[N, 4, 6] y) <int64[3] t = {1, 4, 1}>
        { y = Expand(x, t) }""",
    )


def test_a_comparison_with_minus_one_is_decided() -> None:
    _fold(
        """g (float[N, 6] x, float[1, 6] z) => (float[N, 6] y)
        <int64[2] no = {-1, -1}, int64[2] ones = {1, 1}>
        { s = Shape(x) c = Equal(s, no) w = Where(c, ones, s) y = Expand(z, w) }""",
        "g (float[N, 6] x, float[1, 6] z) => (float[N, 6] y) { s = Shape(x) y = Expand(z, s) }",
    )


def test_a_vector_is_written_with_few_nodes() -> None:
    _fold(
        """g (float[N, 6] x, float[1, 1] z) => (float[N, 3] y)
        <int64 zero = {0}, int64[1] at = {0}, int64[1] three = {3}>
        { s = Shape(x) n = Gather(s, zero) v = Unsqueeze(n, at)
          t = Concat<axis = 0>(v, three) y = Expand(z, t) }""",
        """g (float[N, 6] x, float[1, 1] z) => (float[N, 3] y) <int64[1] three = {3}>
        { s = Shape<start = 0, end = 1>(x) t = Concat<axis = 0>(s, three) y = Expand(z, t) }""",
    )


def test_without_partial_shapes_a_gather_takes_the_axes() -> None:
    model = parse(
        """g (float[N, 6] x, float[1, 1] z) => (float[N, 3] y)
        <int64 zero = {0}, int64[1] at = {0}, int64[1] three = {3}>
        { s = Shape(x) n = Gather(s, zero) v = Unsqueeze(n, at)
          t = Concat<axis = 0>(v, three) y = Expand(z, t) }""",
        opset=13,
    )
    InferShapes()(model)
    assert check_pass(FoldShapes(), model).modified
    assert _ops(model) == ["Shape", "Gather", "Concat", "Expand"]


def test_decides_inside_a_branch() -> None:
    model = parse(
        """g (bool c, float[2, 6] x) => (float[12] y) { y = If(c) <
            then_branch = t () => (float[12] p) { s = Size(x) a = Constant<value_ints = [1]>()
                r = Reshape(s, a) p = Reshape(x, r) },
            else_branch = e () => (float[12] q) <int64[1] z = {12}> { q = Reshape(x, z) }> }"""
    )
    InferShapes()(model)
    assert check_pass(FoldShapes(), model).modified
    assert "Size" not in _ops(model)


def test_keeps_dynamic_targets_that_no_constant_can_say() -> None:
    text = """g (float[N, M] x, float[A, B] z) => (float[C, D] y)
        { s = Shape(x) y = Reshape(z, s) }"""
    assert_keeps(FoldShapes(), text)


def test_keeps_targets_that_are_fed_and_public_shapes() -> None:
    fed = "g (float[2, 6] x, int64[2] t) => (float[A, B] y) { y = Reshape(x, t) }"
    assert_keeps(FoldShapes(), fed, compare=False)
    public = "g (float[2, 6] x) => (int64[2] y) { y = Shape(x) }"
    assert_keeps(FoldShapes(), public)
