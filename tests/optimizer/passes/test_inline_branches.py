from __future__ import annotations

import pytest

from bmopt.optimizer.passes.inline_branches import InlineBranches
from tests.rewriting import assert_keeps, assert_rewrites, check_pass, parse

_IF = """g (float[2] x) => (float[2] y) <bool c = {{{flag}}}> {{ h = Neg(x)  i = If(c) <
    then_branch = t () => (float[2] p) {{ u = Exp(h) p = Relu(u) }},
    else_branch = e () => (float[2] q) <float[2] v = {{1, 2}}> {{ u = Abs(h) q = Add(u, v) }}>
    y = Neg(i) }}"""


@pytest.mark.parametrize(
    ("flag", "after"),
    [
        (1, "g (float[2] x) => (float[2] y) { h = Neg(x) u = Exp(h) p = Relu(u) y = Neg(p) }"),
        (
            0,
            """g (float[2] x) => (float[2] y) <float[2] v = {1, 2}>
            { h = Neg(x) u = Abs(h) q = Add(u, v) y = Neg(q) }""",
        ),
    ],
)
def test_inlines_the_taken_branch(flag: int, after: str) -> None:
    assert_rewrites(InlineBranches(), before=_IF.format(flag=flag), after=after)


def test_an_output_of_the_model_keeps_its_name() -> None:
    assert_rewrites(
        InlineBranches(),
        before="""g (float[2] x) => (float[2] y, float[2] z) <bool c = {1}> { y, z = If(c) <
            then_branch = t () => (float[2] p, float[2] o) <float[2] o = {1, 2}> { p = Exp(x) },
            else_branch = e () => (float[2] q, float[2] r) { q = Abs(x) r = Neg(x) }> }""",
        after="""g (float[2] x) => (float[2] y, float[2] z) <float[2] o = {1, 2}>
            { y = Exp(x) z = Identity(o) }""",
    )


def test_inlines_nested_branches() -> None:
    model = parse(
        """g (float[2] x) => (float[2] y) <bool c = {1}> { y = If(c) <
            then_branch = t () => (float[2] p) { p = If(c) <
                then_branch = tt () => (float[2] pp) { pp = Exp(x) },
                else_branch = te () => (float[2] pq) { pq = Neg(x) }> },
            else_branch = e () => (float[2] q) { q = Abs(x) }> }"""
    )
    assert check_pass(InlineBranches(), model).modified
    assert [node.op_type for node in model.graph.all_nodes()] == ["Exp"]


def test_keeps_a_condition_that_is_fed() -> None:
    text = """g (bool c, float[2] x) => (float[2] y) { y = If(c) <
        then_branch = t () => (float[2] p) { p = Exp(x) },
        else_branch = e () => (float[2] q) { q = Abs(x) }> }"""
    assert_keeps(InlineBranches(), text)
