from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from bmopt.core.dataset import InputSpec
from bmopt.core.runner import Array
from bmopt.errors import ModelError
from bmopt.graph.model_io import input_specs, load_model
from bmopt.graph.opset import raise_opset
from bmopt.graph.origin import origin_of
from tests.graph.model_files import proto_of, write
from tests.rewriting import random_feeds, run_plain

_SOFTMAX = """g (float[N,3,4] x) => (float[N,12] y) {
    a = Softmax<axis = 1>(x)
    b = Flatten(a)
    y = MatMul(b, w)
}"""


def _model(
    tmp_path: Path, text: str, weights: dict[str, Array] | None = None, opset: int = 11
) -> ir.Model:
    proto = proto_of(text, weights, opset=opset)
    return load_model(write(tmp_path / "m.onnx", proto))


def _random(*shape: int) -> Array:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_raises_and_keeps_results_interface_and_weights(tmp_path: Path) -> None:
    model = _model(tmp_path, _SOFTMAX, {"w": _random(12, 12)}, opset=11)
    feeds = random_feeds(model)
    raised = raise_opset(model, 17)
    assert raised.opset_imports[""] == 17
    assert input_specs(raised) == (InputSpec("x", "float32", ("N", 3, 4)),)
    assert raised.graph.outputs[0].shape == ir.Shape(["N", 12])
    assert raised.graph.initializers["w"].const_value is model.graph.initializers["w"].const_value
    assert model.opset_imports[""] == 11
    assert [node.op_type for node in model.graph] == ["Softmax", "Flatten", "MatMul"]
    for want, got in zip(run_plain(model, feeds), run_plain(raised, feeds), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6)


def test_new_nodes_have_names_and_origins(tmp_path: Path) -> None:
    raised = raise_opset(_model(tmp_path, _SOFTMAX, {"w": _random(12, 12)}), 17)
    assert len(raised.graph) > 3
    names = [node.name for node in raised.graph]
    assert len(set(names)) == len(names)
    assert {name for node in raised.graph for name in origin_of(node)} == {
        "Softmax",
        "Flatten",
        "MatMul",
    }
    assert all(origin_of(node) for node in raised.graph)


def test_branches_are_raised_as_well(tmp_path: Path) -> None:
    text = """g (bool c, float[1,2] x) => (float[M] y) {
        n = Neg(x)
        y = If(c) <then_branch = t () => (float[M] p) { p = Squeeze<axes = [0]>(x) },
                   else_branch = e () => (float[M] q) { q = Squeeze<axes = [0]>(n) }> }"""
    model = _model(tmp_path, text)
    raised = raise_opset(model, 13)
    squeezes = [n for n in raised.graph.all_nodes() if n.op_type == "Squeeze"]
    assert [len(node.inputs) for node in squeezes] == [2, 2]
    for truth in (True, False):
        feeds = {"c": np.array(truth), "x": _random(1, 2)}
        np.testing.assert_array_equal(run_plain(raised, feeds)[0], run_plain(model, feeds)[0])


def test_a_default_of_an_input_stays(tmp_path: Path) -> None:
    text = "g (float[2] x, float[2] w) => (float[2] y) { y = Add(x, w) }"
    raised = raise_opset(_model(tmp_path, text, {"w": _random(2)}), 17)
    assert [value.name for value in raised.graph.inputs] == ["x", "w"]
    assert raised.graph.inputs[1].is_initializer()


def test_a_model_that_is_new_enough_comes_back(tmp_path: Path) -> None:
    model = _model(tmp_path, "g (float[2] x) => (float[2] y) { y = Relu(x) }", opset=17)
    assert raise_opset(model, 13) is model


def test_an_op_without_a_conversion_is_named(tmp_path: Path) -> None:
    text = """g (float[1,1,2,2] x) => (float[1,1,2,2] y) {
        y = BatchNormalization<spatial = 0>(x, s, s, s, s) }"""
    model = _model(tmp_path, text, {"s": np.ones((1, 2, 2), np.float32)}, opset=7)
    with pytest.raises(
        ModelError, match="from opset 7 to 17: Attribute spatial must have"
    ) as caught:
        raise_opset(model, 17)
    assert "\n" not in str(caught.value)


def test_local_functions_are_refused(tmp_path: Path) -> None:
    text = """<ir_version: 8, opset_import: ["" : 11, "l" : 1]>
        g (float[2] x) => (float[2] y) { y = l.twice(x) }
        <domain: "l", opset_import: ["" : 11]> twice (a) => (b) { b = Add(a, a) }"""
    with pytest.raises(ModelError, match="it has local functions"):
        raise_opset(_model(tmp_path, text), 17)
