from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from bmopt.graph.origin import origin_of
from bmopt.optimizer.passes.append_top_k import AppendTopK
from tests.rewriting import assert_keeps, parse, run_plain, structure

_NET = "g (float[N,4] x) => ({}[N,4] y) {{ y = {}(x) }}"


def ranked(text: str, k: int = 2, opset: int = 17) -> ir.Model:
    """Run the pass twice and check what it promises."""
    model = parse(text, opset)
    assert AppendTopK(k)(model).modified
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    after = structure(model)
    assert not AppendTopK(k)(model).modified
    assert structure(model) == after
    assert all(origin_of(node) for node in model.graph)
    return model


@pytest.mark.parametrize(
    ("opset", "node"),
    [
        (9, "TopK<axis = 1, k = 2>(s)"),
        (10, "TopK<axis = 1>(s, k)"),
        (17, "TopK<axis = 1>(s, k)"),
    ],
)
def test_scores_and_classes_in_the_place_of_all_scores(opset: int, node: str) -> None:
    model = ranked(_NET.format("float", "Neg"), opset=opset)
    constant = "" if opset < 10 else "<int64[1] k = {2}>"
    after = parse(
        f"g (float[N,4] x) => (float[N,2] y_scores, int64[N,2] y_classes) {constant} "
        f"{{ s = Neg(x) y_scores, y_classes = {node} }}",
        opset,
    )
    assert structure(model) == structure(after)
    shapes = [(value.dtype, str(value.shape)) for value in model.graph.outputs]
    assert shapes == [(ir.DataType.FLOAT, "[N,2]"), (ir.DataType.INT64, "[N,2]")]


def test_of_equal_scores_the_first_class_counts() -> None:
    model = ranked(_NET.format("float", "Identity"), k=3)
    scores, classes = run_plain(model, {"x": np.array([[1, 3, 3, 2], [5, 5, 5, 5]], np.float32)})
    assert scores.tolist() == [[3, 3, 2], [5, 5, 5]]
    assert classes.tolist() == [[1, 2, 3], [0, 1, 2]]


def test_half_precision_is_compared_in_float32() -> None:
    model = ranked(_NET.format("float16", "Cast<to = 10>"))
    assert [node.op_type for node in model.graph] == ["Cast", "Cast", "TopK", "Cast"]
    values = np.array([[0.1, 7.3, -2.0, 0.5]], np.float32)
    scores, classes = run_plain(model, {"x": values})
    assert (scores.dtype, classes.tolist()) == (np.float16, [[1, 3]])
    assert scores.tolist() == [[np.float16(7.3), 0.5]]


def test_other_outputs_stay_in_their_places() -> None:
    model = ranked(
        "g (float[N,4] x) => (float[N] a, float[N,4] y, float[N,4,1] b) <int64[1] two = {2}> { "
        "y = Neg(x) a = ReduceMax<axes = [1], keepdims = 0>(x) b = Unsqueeze(y, two) }"
    )
    names = [value.name for value in model.graph.outputs]
    assert names == ["a", "y_scores", "y_classes", "b"]
    feeds = {"x": np.array([[1, 4, 2, 3]], np.float32)}
    assert run_plain(model, feeds)[3].ravel().tolist() == [-1, -4, -2, -3]


def test_names_that_are_taken() -> None:
    model = ranked(
        "g (float[N,4] y_scores) => (float[N,4] y) "
        "{ y_classes = Neg(y_scores) y = Abs(y_classes) }"
    )
    assert [value.name for value in model.graph.outputs] == ["y_scores_1", "y_classes_1"]


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        ("(float[N,4] x) => (float[N,4] y, float[N,4] z) { y = Neg(x) z = Abs(x) }", "has 2"),
        ("(float[N,4,2] x) => (float[N,4,2] y) { y = Neg(x) }", "has 0"),
        ("(float[N,C] x) => (float[N,C] y) { y = Neg(x) }", "has 0"),
        ("(int64[N,4] x) => (int64[N,4] y) { y = Neg(x) }", "has 0"),
        ("(float[N,3] x) => (float[N,3] y) { y = Neg(x) }", "has 3 classes, of which 4"),
    ],
)
def test_refuses(graph: str, reason: str) -> None:
    outcome = assert_keeps(AppendTopK(4), f"g {graph}", compare=False)
    assert reason in outcome.refusals[0].reason
