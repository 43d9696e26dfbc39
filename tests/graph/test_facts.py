from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bmopt.core.runner import Array
from bmopt.errors import UsageError
from bmopt.graph.facts import ModelFacts, ValueFacts, model_facts
from bmopt.graph.model_digest import model_digest
from bmopt.graph.model_io import load_model
from tests.graph.model_files import proto_of, write

_TEXT = """g (float[N,3,H,W] x) => (float[N,4,P,Q] y, float16[N] z) {
    a = Conv<pads = [1,1,1,1]>(x, w, b)
    y = Relu(a)
    m = ReduceMax<keepdims = 0, axes = [1,2,3]>(y)
    z = Cast<to = 10>(m)
}"""
_WEIGHTS = {"w": np.ones((4, 3, 3, 3), np.float32), "b": np.ones(4, np.float32)}


def _facts(tmp_path: Path, **shapes: list[int]) -> ModelFacts:
    return model_facts(load_model(write(tmp_path / "m.onnx", proto_of(_TEXT, _WEIGHTS))), shapes)


def test_what_is_declared(tmp_path: Path) -> None:
    facts = _facts(tmp_path)
    assert facts.opsets == {"": 17}
    assert facts.inputs == (ValueFacts("x", "FLOAT", ("N", 3, "H", "W")),)
    assert facts.outputs[1] == ValueFacts("z", "FLOAT16", ("N",))
    assert facts.dynamic_axes == {"x[0]": "N", "x[2]": "H", "x[3]": "W"}
    assert facts.ops == {"Cast": 1, "Conv": 1, "ReduceMax": 1, "Relu": 1}
    assert facts.parameters == 112
    assert facts.weight_bytes == 448
    assert not facts.quantized


def test_dynamic_axes_are_one_unless_given(tmp_path: Path) -> None:
    assert _facts(tmp_path).sizes == {"N": 1, "H": 1, "W": 1}
    facts = _facts(tmp_path, x=[2, 3, 8, 6])
    assert facts.sizes == {"N": 2, "H": 8, "W": 6}
    conv, relu, maximum, cast = facts.nodes
    assert conv.shape == relu.shape == (2, 4, 8, 6)
    assert conv.macs == facts.macs == 2 * 48 * 4 * 27
    assert (conv.parameters, conv.weight_bytes) == (112, 448)
    assert conv.activation_bytes == 2 * 4 * 48 * 4
    assert (maximum.activation_bytes, cast.activation_bytes) == (8, 4)


def test_the_model_is_left_alone(tmp_path: Path) -> None:
    model = load_model(write(tmp_path / "m.onnx", proto_of(_TEXT, _WEIGHTS)))
    digest = model_digest(model)
    model_facts(model, {"x": [1, 3, 4, 4]})
    assert model_digest(model) == digest
    assert list(model.graph.initializers) == ["w", "b"]


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ({"nobody": [1]}, "no input 'nobody'; the inputs are x"),
        ({"x": [1, 2, 8, 8]}, "input 'x' has shape"),
        ({"x": [1, 3, 8]}, "input 'x' has shape"),
    ],
)
def test_shapes_that_do_not_fit(
    tmp_path: Path, shapes: dict[str, list[int]], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        _facts(tmp_path, **shapes)


def test_pads_and_shapes_that_are_computed(tmp_path: Path) -> None:
    text = """g (float[N,3,4] x) => (float[M,K] y) {
        half = Cast<to = 7>(p)
        back = Concat<axis = 0>(half, half)
        wide = Pad(x, back)
        s = Shape(wide)
        n = Gather(s, i)
        target = Concat<axis = 0>(n, rest)
        r = Reshape(wide, target)
        y = MatMul(r, w)
    }"""
    weights: dict[str, Array] = {
        "p": np.array([0, 0, 1], np.int32),
        "i": np.array([0], np.int64),
        "rest": np.array([-1], np.int64),
        "w": np.ones((18, 5), np.float32),
    }
    facts = model_facts(load_model(write(tmp_path / "m.onnx", proto_of(text, weights))))
    assert facts.macs_unknown == ()
    assert facts.macs == 18 * 5
    assert facts.nodes[-1].shape == (1, 5)
