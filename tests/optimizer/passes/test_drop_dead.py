from __future__ import annotations

from bmopt.optimizer.passes.drop_dead import DropDead
from tests.rewriting import assert_keeps, assert_rewrites, check_pass, parse


def test_drops_a_dead_chain() -> None:
    assert_rewrites(
        DropDead(),
        before="g (float[2] x) => (float[2] y) { a = Neg(x) b = Exp(a) y = Relu(x) c = Abs(b) }",
        after="g (float[2] x) => (float[2] y) { y = Relu(x) }",
    )


def test_drops_control_flow_with_what_only_it_reads() -> None:
    assert_rewrites(
        DropDead(),
        before="""g (bool c, float[2] x) => (float[2] y) { a = Neg(x)  d = If(c) <
            then_branch = t () => (float[2] p) { p = Exp(a) },
            else_branch = e () => (float[2] q) { q = Abs(a) }>  y = Relu(x) }""",
        after="g (bool c, float[2] x) => (float[2] y) { y = Relu(x) }",
    )


def test_drops_inside_a_branch() -> None:
    model = parse(
        """g (bool c, float[2] x) => (float[2] y) { y = If(c) <
            then_branch = t () => (float[2] p) { u = Exp(x) p = Exp(x) },
            else_branch = e () => (float[2] q) { q = Abs(x) }> }"""
    )
    assert check_pass(DropDead(), model).modified
    assert sum(1 for _ in model.graph.all_nodes()) == 3


def test_keeps_unused_inputs_and_what_a_branch_reads() -> None:
    text = """g (bool c, float[2] x, float[2] unused) => (float[2] y) { a = Neg(x)  y = If(c) <
        then_branch = t () => (float[2] p) { p = Exp(a) },
        else_branch = e () => (float[2] q) { q = Abs(x) }> }"""
    assert_keeps(DropDead(), text)
