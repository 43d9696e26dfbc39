from __future__ import annotations

import pytest

from bmopt.optimizer.passes.infer_shapes import InferShapes
from bmopt.optimizer.passes.merge_splits import MergeSplits
from tests.rewriting import assert_keeps, assert_rewrites, check_pass, parse


def test_heads_that_were_folded_into_the_batch_get_an_axis_at_once() -> None:
    assert_rewrites(
        MergeSplits(),
        before="""g (float[5, 2, 12] x) => (float[2, 3, 5, 4] y)
            <int64[3] t = {5, 6, 4}, int64[4] u = {2, 3, 5, 4}, float[5, 6, 4] a, float[6, 5, 4] b>
            { a = Reshape(x, t) b = Transpose<perm = [1, 0, 2]>(a) y = Reshape(b, u) }""",
        after="""g (float[5, 2, 12] x) => (float[2, 3, 5, 4] y) <int64[4] t = {5, 2, 3, 4}>
            { a = Reshape(x, t) y = Transpose<perm = [1, 2, 0, 3]>(a) }""",
    )


@pytest.mark.parametrize(
    ("perm", "split"), [([1, 0, 2], "-1, 3, 5, 4"), ([1, 2, 0], "-1, 3, 4, 5")]
)
def test_a_dynamic_batch_stays_dynamic(perm: list[int], split: str) -> None:
    model = parse(
        f"""g (float[5, N, 12] x) => (float[N, 3, A, B] y)
        <int64[3] t = {{5, -1, 4}}, int64[4] u = {{{split}}}>
        {{ a = Reshape(x, t) b = Transpose<perm = {perm}>(a) c = Reshape(b, u) y = Neg(c) }}"""
    )
    InferShapes()(model)
    assert check_pass(MergeSplits(), model).modified
    assert [node.op_type for node in model.graph] == ["Reshape", "Transpose", "Neg"]
    target = model.graph.node(0).inputs[1].const_value
    assert target is not None
    assert target.numpy().tolist() == [5, -1, 3, 4]


@pytest.mark.parametrize(
    "nodes",
    [
        # It merges axes that were apart.
        "a = Reshape(x, t) b = Transpose<perm = [1, 0, 2]>(a) y = Reshape(b, w)",
        # Others read what is between.
        "a = Reshape(x, t) b = Transpose<perm = [1, 0, 2]>(a) y = Reshape(b, u) z = Neg(b)",
    ],
)
def test_keeps(nodes: str) -> None:
    outputs = "float[A, B, C, D] y" + (", float[6, 5, 4] z" if "z" in nodes else "")
    assert_keeps(
        MergeSplits(),
        f"""g (float[5, 2, 12] x) => ({outputs})
        <int64[3] t = {{5, 6, 4}}, int64[4] u = {{2, 3, 5, 4}}, int64[4] w = {{2, 15, 2, 2}},
         float[5, 6, 4] a, float[6, 5, 4] b> {{ {nodes} }}""",
    )
