from __future__ import annotations

from bmopt.graph.origin import origin_of
from bmopt.optimizer.passes.merge_common import MergeCommon
from tests.rewriting import assert_keeps, assert_rewrites, check_pass, parse


def test_merges_chains_and_keeps_both_origins() -> None:
    outcome = assert_rewrites(
        MergeCommon(),
        before="""g (float[2] x) => (float[2] y)
            { a = Neg(x) b = Exp(a) c = Neg(x) d = Exp(c) y = Add(b, d) }""",
        after="g (float[2] x) => (float[2] y) { a = Neg(x) b = Exp(a) y = Add(b, b) }",
    )
    assert len(origin_of(outcome.model.graph[0])) == 2


def test_small_constants_are_compared_by_contents() -> None:
    assert_rewrites(
        MergeCommon(),
        before="""g (float[2] x) => (float[2] y) <float[2] a = {1, 2}, float[2] b = {1, 2}>
            { c = Add(x, a) d = Add(b, x) y = Mul(c, d) }""",
        after="""g (float[2] x) => (float[2] y) <float[2] a = {1, 2}>
            { c = Add(x, a) y = Mul(c, c) }""",
    )


def test_a_branch_uses_what_is_computed_around_it() -> None:
    model = parse(
        """g (bool c, float[2] x) => (float[2] y, float[2] z) { h = Neg(x) z = Abs(h) y = If(c) <
            then_branch = t () => (float[2] p) { u = Neg(x) p = Exp(u) },
            else_branch = e () => (float[2] q) { q = Abs(x) }> }"""
    )
    assert check_pass(MergeCommon(), model).modified
    assert [n.op_type for n in model.graph.all_nodes()] == ["Neg", "Abs", "If", "Exp", "Abs"]


def test_keeps_different_attributes_and_random_ops() -> None:
    attributes = """g (float[2, 2] x) => (float[2, 2] y)
        { a = Softmax<axis = 0>(x) b = Softmax<axis = 1>(x) y = Add(a, b) }"""
    assert_keeps(MergeCommon(), attributes)
    random = """g (float[2] x) => (float[2] y)
        { a = RandomNormalLike(x) b = RandomNormalLike(x) y = Add(a, b) }"""
    assert_keeps(MergeCommon(), random, compare=False)


def test_keeps_sides_of_ops_that_do_not_commute() -> None:
    text = """g (float[2] x, float[2] z) => (float[2] y)
        { a = Sub(x, z) b = Sub(z, x) y = Mul(a, b) }"""
    assert_keeps(MergeCommon(), text)


def test_keeps_two_public_names() -> None:
    text = "g (float[2] x) => (float[2] y, float[2] z) { y = Neg(x) z = Neg(x) }"
    assert "interface" in assert_keeps(MergeCommon(), text).refusals[0].reason


def test_the_first_takes_the_name_of_the_second() -> None:
    assert_rewrites(
        MergeCommon(),
        before="g (float[2] x) => (float[2] y, float[2] z) { a = Neg(x) z = Exp(a) y = Neg(x) }",
        after="g (float[2] x) => (float[2] y, float[2] z) { y = Neg(x) z = Exp(y) }",
    )
