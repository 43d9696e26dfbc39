from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bmopt.backends.openvino.ports import input_spec, port_names
from bmopt.backends.openvino.session import open_file
from bmopt.core.runner import Array
from tests.backends.openvino.models import ir_of, onnx_file, openvino, random


def port(friendly: str, *names: str) -> SimpleNamespace:
    return SimpleNamespace(node=SimpleNamespace(friendly_name=friendly), names=set(names))


def test_the_node_tells_which_of_the_names_it_is() -> None:
    ports = [port("y/sink_port_0", "h", "y"), port("z/sink_port_1", "a", "z"), port("x", "a", "x")]
    assert port_names(ports) == ("y", "z", "x")


def test_nodes_called_otherwise() -> None:
    assert port_names([port("Result_7", "out"), port("Result_8", "b", "a")]) == ("out", "a")
    assert port_names([port("Result_7"), port("Result_8")]) == ("Result_7", "Result_8")


def test_no_two_ports_share_a_name() -> None:
    ports = [port("r0", "a", "b"), port("r1", "a", "b"), port("r2", "a", "b")]
    assert port_names(ports) == ("a", "b", "r2")


SPLIT = "g (float[2,3] x) => (float[1,3] q, float[1,3] a) { q, a = Split<axis=0>(x, s) }"
RENAMED = """g (float[N,3] x) => (float[N,3] z, float[N,3] b)
    { a = Relu(x) z = Identity(a) b = Identity(a) }"""
MERGED = "g (float[N,3] x) => (float[N,3] y) { h = MatMul(x, w) y = Identity(h) }"
MODELS: list[tuple[str, dict[str, Array], tuple[str, ...]]] = [
    (SPLIT, {"s": np.array([1, 1])}, ("q", "a")),
    (RENAMED, {}, ("z", "b")),
    (MERGED, {"w": random(3, 3)}, ("y",)),
]


@pytest.mark.parametrize(("text", "weights", "outputs"), MODELS)
@pytest.mark.parametrize("named", [False, True])
def test_names_are_those_of_the_onnx_model(
    text: str, weights: dict[str, Array], outputs: tuple[str, ...], named: bool, tmp_path: Path
) -> None:
    path = onnx_file(tmp_path, text, weights, named=named)
    for file in (path, ir_of(path)):
        with open_file(file) as runner:
            assert [spec.name for spec in runner.inputs] == ["x"]
            assert runner.output_names == outputs
            assert list(runner.run({"x": random(2, 3)})) == list(outputs)


def test_dynamic_axes_and_ranks() -> None:
    dimension = openvino.Dimension
    shapes = [
        (openvino.PartialShape([-1, 3, dimension(1, 8)]), (None, 3, None)),
        (openvino.PartialShape([]), ()),
        (openvino.PartialShape.dynamic(), None),
    ]
    for shape, wanted in shapes:
        found = SimpleNamespace(partial_shape=shape, element_type=openvino.Type.i64)
        assert input_spec(found, "x").shape == wanted
