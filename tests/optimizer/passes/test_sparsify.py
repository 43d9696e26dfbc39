from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from bmopt.errors import PassError
from bmopt.graph.sparsity import sparsity_of
from bmopt.graph.values import constant_array
from bmopt.optimizer.passes.sparsify import Sparsify
from bmopt.optimizer.pipeline_text import parse_steps, pass_text, passes_of
from tests.calibration.sparsity.nets import block
from tests.rewriting import assert_rewrites, check_pass, parse


def test_two_of_every_four_stay() -> None:
    assert_rewrites(
        Sparsify(least_inputs=4),
        before="""g (float[N,4] x) => (float[N,2] y)
        <float[4,2] w = {1,-1, -2,5, 3,-4, 2,2}> { y = MatMul(x, w) }""",
        after="""g (float[N,4] x) => (float[N,2] y)
        <float[4,2] w = {0,0, -2,5, 3,-4, 0,0}> { y = MatMul(x, w) }""",
        compare=False,
    )


def test_of_equal_ones_the_first_stay() -> None:
    assert_rewrites(
        Sparsify(least_inputs=4),
        before="""g (float[N,4] x) => (float[N,1] y)
        <float[4,1] w = {1,1,1,1}> { y = MatMul(x, w) }""",
        after="""g (float[N,4] x) => (float[N,1] y)
        <float[4,1] w = {1,1,0,0}> { y = MatMul(x, w) }""",
        compare=False,
    )


@pytest.mark.parametrize("pattern", ["2:4", "1:4", "1x4", "4x4", "unstructured"])
def test_a_second_run_changes_nothing(pattern: str) -> None:
    model = block()
    outcome = check_pass(Sparsify(pattern, ratio=0.6, least_inputs=4), model, compare=False)
    assert outcome.modified
    zeros = {one.node: one.zeros / one.weights for one in sparsity_of(model)}
    assert zeros.pop("d") == 0
    zeros.pop("m")  # of two blocks, one of them of four weights
    for share in zeros.values():
        wanted = {"2:4": 0.5, "1:4": 0.75}.get(pattern, 0.6)
        assert share == pytest.approx(wanted, abs=0.11)


def test_refusals_say_why() -> None:
    outcome = Sparsify("2:8", least_inputs=5)(block())
    assert {one.node: one.reason for one in outcome.refusals} == {
        "c0": "sums over 4 channels, fewer than 5",
        "c3": "sums over 12 channels, which are no multiple of 8",
        "d": "is depthwise: every output reads one channel",
        "m": "sums over 4 channels, fewer than 5",
    }


def test_other_readers_keep_their_weight() -> None:
    model = parse(
        """g (float[N,4] x) => (float[N,4] y, float[4,4] z)
        <float[4,4] w = {1,2,3,4, 2,3,4,1, 3,4,1,2, 4,1,2,3}>
        { h = MatMul(x, w)
          y = MatMul(h, w)
          z = Relu(w) }"""
    )
    check_pass(Sparsify(least_inputs=4), model, compare=False)
    first, second, third = model.graph
    assert first.inputs[1] is second.inputs[1], "both read one constant"
    kept, whole = constant_array(first.inputs[1]), constant_array(third.inputs[0])
    assert kept is not None
    assert whole is not None
    assert (np.count_nonzero(kept), np.count_nonzero(whole)) == (8, 16)


def test_products_inside_bodies_too() -> None:
    model = parse(
        """g (bool c, float[1,4] x) => (float[1,2] y)
        <float[4,2] w = {1,2,3,4,5,6,7,8}>
        { y = If(c) <
            then_branch = t () => (float[1,2] a) { a = MatMul(x, w) },
            else_branch = e () => (float[1,2] b) { b = MatMul(x, w) } > }"""
    )
    check_pass(Sparsify(least_inputs=4), model, compare=False)
    assert [one.zeros for one in sparsity_of(model)] == [4, 4]
    assert list(model.graph.initializers) == []


def test_a_weight_in_a_constant_node_goes_with_it() -> None:
    model = parse(
        """g (float[N,4] x) => (float[N,1] y)
        { w = Constant<value = float[4,1] {1,2,3,4}>()
          y = MatMul(x, w) }"""
    )
    check_pass(Sparsify(least_inputs=4), model, compare=False)
    assert [node.op_type for node in model.graph] == ["MatMul"]


def test_half_precision_stays_half() -> None:
    model = parse(
        "g (float16[N,4] x) => (float16[N,1] y) <float16[4,1] w = {1,2,3,4}> { y = MatMul(x, w) }"
    )
    Sparsify(least_inputs=4)(model)
    weight = model.graph[0].inputs[1]
    assert weight is not None
    assert weight.dtype == ir.DataType.FLOAT16


def test_text_round_trips() -> None:
    text = "sparsify{pattern=4x4,ratio=0.7,exclude=[head,*.1],least_inputs=8}"
    (found,) = passes_of(parse_steps(text))
    assert found == Sparsify("4x4", 0.7, (), ("head", "*.1"), 8)
    assert pass_text(found) == text
    assert list(passes_of(parse_steps("sparsify{pattern=2:4}"))) == [Sparsify()]


@pytest.mark.parametrize("pattern", ["5:4", "4by4", "4x4=2"])
def test_a_bad_pattern_is_named(pattern: str) -> None:
    with pytest.raises(PassError, match=r"sparsify: .*pattern"):
        Sparsify(pattern)
    with pytest.raises(PassError, match="above 0 and below 1"):
        Sparsify("4x4", ratio=1.0)
