from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from bmopt.graph.model_digest import model_digest
from bmopt.graph.model_io import load_model, save_model
from tests.graph.model_files import proto_of, put_outside, write

_TEXT = """g (bool c, float[N,2] x) => (float[N,2] y) {
    k = Constant<value = float[2] {3.0, 4.0}>()
    a = Add(x, w)
    y = If(c) <then_branch = t () => (float[N,2] p) { p = Mul(a, k) },
               else_branch = e () => (float[N,2] q) { q = LeakyRelu<alpha = 0.5>(a) }> }"""
_W = {"w": np.array([1, 2], np.float32)}


def _model(tmp_path: Path) -> ir.Model:
    return load_model(write(tmp_path / "m.onnx", proto_of(_TEXT, _W)))


def test_survives_saving_cloning_and_moving_weights_outside(tmp_path: Path) -> None:
    model = _model(tmp_path)
    digest = model_digest(model)
    save_model(model, tmp_path / "saved.onnx")
    outside = proto_of(_TEXT, _W)
    put_outside(outside, tmp_path)
    write(tmp_path / "outside.onnx", outside)
    assert model_digest(load_model(tmp_path / "saved.onnx")) == digest
    assert model_digest(load_model(tmp_path / "outside.onnx")) == digest
    assert model_digest(model.clone()) == digest


def test_ignores_metadata_and_recorded_shapes(tmp_path: Path) -> None:
    model = _model(tmp_path)
    digest = model_digest(model)
    model.producer_name = "other"
    model.metadata_props["a"] = "b"
    node = model.graph[1]
    node.metadata_props["bmopt.origin"] = '["z"]'
    node.doc_string = "text"
    node.outputs[0].shape = ir.Shape([1, 2])
    assert model_digest(model) == digest


def _weight(model: ir.Model) -> None:
    model.graph.initializers["w"].const_value = ir.tensor(np.array([1, 3], np.float32))


def _weight_type(model: ir.Model) -> None:
    model.graph.initializers["w"].const_value = ir.tensor(np.array([1, 2], np.int32))


def _node_name(model: ir.Model) -> None:
    model.graph[1].name = "renamed"


def _attribute_in_a_branch(model: ir.Model) -> None:
    (node,) = (n for n in model.graph.all_nodes() if n.op_type == "LeakyRelu")
    node.attributes["alpha"] = ir.AttrFloat32("alpha", 0.25)


def _constant(model: ir.Model) -> None:
    model.graph[0].attributes["value"] = ir.AttrTensor("value", ir.tensor([3.0, 5.0]))


def _opset(model: ir.Model) -> None:
    model.opset_imports[""] = 18


def _input_shape(model: ir.Model) -> None:
    model.graph.inputs[1].shape = ir.Shape([1, 2])


@pytest.mark.parametrize(
    "change",
    [_weight, _weight_type, _node_name, _attribute_in_a_branch, _constant, _opset, _input_shape],
)
def test_tells_models_apart(tmp_path: Path, change: Callable[[ir.Model], None]) -> None:
    model = _model(tmp_path)
    digest = model_digest(model)
    change(model)
    assert model_digest(model) != digest
