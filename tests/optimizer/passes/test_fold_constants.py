from __future__ import annotations

from bmopt.optimizer.passes.fold_constants import FoldConstants
from tests.rewriting import assert_keeps, assert_rewrites, check_pass, parse


def test_folds_a_chain_in_one_go() -> None:
    assert_rewrites(
        FoldConstants(),
        before="""g (float[2] x) => (float[2] y) <float[2] a = {1, 2}, float[2] b = {3, 4}>
            { c = Add(a, b)  d = Mul(c, b)  y = Add(x, d) }""",
        after="g (float[2] x) => (float[2] y) <float[2] d = {12, 24}> { y = Add(x, d) }",
    )


def test_folds_the_known_side_only() -> None:
    assert_rewrites(
        FoldConstants(),
        before="""g (float[2, 2] x) => (float[2, 2] y) <float[2, 2] w = {1, 2, 3, 4}>
            { v = Transpose<perm = [1, 0]>(w)  y = MatMul(x, v) }""",
        after="""g (float[2, 2] x) => (float[2, 2] y) <float[2, 2] v = {1, 3, 2, 4}>
            { y = MatMul(x, v) }""",
    )


def test_folds_inside_a_branch() -> None:
    model = parse(
        """g (bool c, float[2] x) => (float[2] y) <float[2] a = {1, 2}> { y = If(c) <
            then_branch = t () => (float[2] p) { u = Neg(a) p = Add(x, u) },
            else_branch = e () => (float[2] q) { q = Abs(x) }> }"""
    )
    assert check_pass(FoldConstants(), model).modified
    assert [node.op_type for node in model.graph.all_nodes()] == ["If", "Add", "Abs"]


def test_keeps_random_ops() -> None:
    text = """g (float[2] x) => (float[2] y) <float[2] a = {1, 2}>
        { r = RandomNormalLike(a)  y = Add(x, r) }"""
    assert_keeps(FoldConstants(), text, compare=False)


def test_keeps_explicit_quantisation() -> None:
    text = """g (float[2] x) => (float[2] y)
        <int8[2] w = {1, 2}, float s = {0.5}, int8 z = {0}>
        { d = DequantizeLinear(w, s, z)  y = Add(x, d) }"""
    assert_keeps(FoldConstants(), text)


def test_keeps_what_would_store_too_much() -> None:
    text = """g (float[100, 100] x) => (float[100, 100] y)
        <int64[2] s = {100, 100}, float[100, 100] c>
        { c = ConstantOfShape<value = float[1] {2}>(s)  y = Add(x, c) }"""
    outcome = assert_keeps(FoldConstants(), text)
    assert outcome.refusals[0].reason == "would store too much"
    assert check_pass(FoldConstants(limit=1 << 16), parse(text)).modified


def test_keeps_what_is_too_large_once_it_is_known() -> None:
    text = """g (float[100, 100] x) => (float[100, 100] y) <int64[2] s = {100, 100}>
        { c = ConstantOfShape<value = float[1] {2}>(s)  y = Add(x, c) }"""
    assert assert_keeps(FoldConstants(), text).refusals


def test_keeps_outputs_and_fed_initialisers() -> None:
    output = "g (float[2] x) => (float[2] y) <float[2] a = {1, 2}> { y = Neg(a) }"
    assert assert_keeps(FoldConstants(), output).refusals[0].reason == "computes an output"
    fed = """g (float[2] x, float[2] a) => (float[2] y) <float[2] a = {1, 2}>
        { n = Neg(a)  y = Add(x, n) }"""
    assert_keeps(FoldConstants(), fed)


def test_an_op_that_fails_leaves_the_others_to_fold() -> None:
    model = parse(
        """g (float[2] x) => (float[2] y)
        <float[2] a = {1, 2}, float[3] b = {1, 2, 3}, float[2] c = {5, 6}>
        { bad = Add(a, b)  dead = Relu(bad)  good = Add(a, c)  y = Add(x, good) }"""
    )
    outcome = FoldConstants()(model)
    assert outcome.modified
    assert "good" in model.graph.initializers or "good_1" in model.graph.initializers
