from __future__ import annotations

from bmopt.optimizer.passes.lift_constants import LiftConstants
from tests.rewriting import assert_keeps, assert_rewrites, check_pass, parse


def test_lifts_a_tensor() -> None:
    assert_rewrites(
        LiftConstants(),
        before="""g (float[2] x) => (float[2] y) {
            c = Constant<value = float[2] {1, 2}>()  y = Add(x, c) }""",
        after="g (float[2] x) => (float[2] y) <float[2] c = {1, 2}> { y = Add(x, c) }",
    )


def test_lifts_plain_numbers() -> None:
    assert_rewrites(
        LiftConstants(),
        before="""g (float[4] x) => (float[2, 2] y) {
            c = Constant<value_ints = [2, 2]>()  y = Reshape(x, c) }""",
        after="g (float[4] x) => (float[2, 2] y) <int64[2] c = {2, 2}> { y = Reshape(x, c) }",
    )


def test_lifts_inside_a_branch_even_as_its_output() -> None:
    model = parse(
        """g (bool c) => (float[2] y) { y = If(c) <
            then_branch = t () => (float[2] a) { a = Constant<value = float[2] {1, 2}>() },
            else_branch = e () => (float[2] b) { b = Constant<value = float[2] {3, 4}>() }> }"""
    )
    check_pass(LiftConstants(), model)
    assert [node.op_type for node in model.graph.all_nodes()] == ["If"]


def test_refuses_an_output_of_the_model() -> None:
    text = "g (float[2] x) => (float[2] y) { y = Constant<value = float[2] {1, 2}>() }"
    outcome = assert_keeps(LiftConstants(), text)
    assert outcome.refusals[0].reason == "is an output of the model"


def test_refuses_text() -> None:
    text = """g (float[2] x) => (float[2] y) {
        c = Constant<value_string = "word">()  y = Relu(x) }"""
    assert assert_keeps(LiftConstants(), text).refusals[0].reason == "holds text"
