from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from bmopt.core.runner import Array, Feeds
from bmopt.graph.model_io import load_model
from bmopt.graph.pieces import is_constant_node, live_nodes, names_read, piece_of, with_inputs
from tests.engine import PlainRunner
from tests.optimizer.literals import weights
from tests.quantizing import named, samples_for

NET = f"""
g (float[N,4] x, float[N,4] z) => (float[N,4] y)
  <{weights("w", (4, 4))}, {weights("c", (4,))}>
{{
  a = MatMul(x, w)
  b = Add(a, c)
  two = Constant<value = float {{2.0}}>()
  d = Mul(b, two)
  y = Sub(d, z)
}}
"""

BRANCH = """
g (float[N,4] x, bool on) => (float[N,4] y)
  <float[4] c = {1, 2, 3, 4}>
{
  a = Relu(x)
  b = Neg(x)
  y = If (on) <
    then_branch = yes () => (float[N,4] p) { p = Add(a, c) },
    else_branch = no () => (float[N,4] q) { q = Identity(b) }
  >
}
"""


def run(model: ir.Model, feeds: Feeds) -> dict[str, Array]:
    with PlainRunner(model) as runner:
        return runner.run(feeds)


def dtypes(feeds: Feeds) -> dict[str, np.dtype]:
    return {name: array.dtype for name, array in feeds.items()}


def shows(model: ir.Model, *names: str) -> ir.Model:
    copy = model.clone()
    values = {value.name: value for node in copy.graph for value in node.outputs}
    copy.graph.outputs[:] = [values[name] for name in names]
    return copy


def test_a_piece_computes_what_the_model_does() -> None:
    model = named(NET)
    feeds = samples_for(model)
    whole = run(shows(model, "b", "y"), feeds)
    nodes = list(model.graph)
    first = piece_of(model, nodes, dtypes(feeds), ["b"])
    assert [value.name for value in first.graph.inputs] == ["x"], "z is read by no live node"
    assert set(first.graph.initializers) == {"w", "c"}
    np.testing.assert_array_equal(run(first, {"x": feeds["x"]})["b"], whole["b"])
    rest = {"b": whole["b"], "z": feeds["z"]}
    second = piece_of(model, nodes[2:], dtypes(rest), ["y"])
    assert not second.graph.initializers
    np.testing.assert_array_equal(run(second, rest)["y"], whole["y"])


def test_a_piece_takes_other_constants() -> None:
    model = named(NET)
    feeds = {"x": samples_for(model)["x"]}
    weight = np.eye(4, dtype=np.float32)
    piece = piece_of(model, list(model.graph), dtypes(feeds), ["a"], {"w": weight})
    np.testing.assert_array_equal(run(piece, feeds)["a"], feeds["x"])
    assert not np.array_equal(model.graph.initializers["w"].const_value.numpy(), weight)


def test_what_is_fed_wins_over_an_initialiser() -> None:
    model = named(NET)
    feeds = {"x": np.ones((2, 4), np.float32), "w": np.zeros((4, 4), np.float32)}
    piece = piece_of(model, list(model.graph), dtypes(feeds), ["a"])
    assert not run(piece, feeds)["a"].any()


def test_a_body_brings_what_it_reads_from_outside() -> None:
    model = named(BRANCH)
    nodes = list(model.graph)
    assert set(names_read(nodes[-1])) >= {"on", "a", "c", "b"}
    assert live_nodes(nodes, ["y"]) == nodes
    x = samples_for(model)["x"]
    feeds = {"a": np.maximum(x, 0), "b": -x, "on": np.array(True)}
    piece = piece_of(model, nodes[2:], dtypes(feeds), ["y"])
    added = feeds["a"] + np.arange(1, 5, dtype=np.float32)
    np.testing.assert_array_equal(run(piece, feeds)["y"], added)
    feeds["on"] = np.array(False)
    np.testing.assert_array_equal(run(piece, feeds)["y"], -x)


def test_a_piece_of_a_model_with_weights_in_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = named(NET)
    ir.save(model, tmp_path / "m.onnx", external_data="m.data", size_threshold_bytes=0)
    monkeypatch.chdir("/")
    loaded = load_model(tmp_path / "m.onnx")
    feeds = {"x": samples_for(model)["x"]}
    piece = piece_of(loaded, list(loaded.graph), dtypes(feeds), ["b"])
    expected = run(shows(model, "b"), samples_for(model))["b"]
    np.testing.assert_array_equal(run(piece, feeds)["b"], expected)


def test_a_node_with_other_inputs() -> None:
    model = named(
        f"g (float[N,3,4,4] x) => (float[N,2,2,2] y) <{weights('w', (2, 3, 3, 3))}>"
        "{ y = Conv<kernel_shape=[3,3]>(x, w) }"
    )
    conv = model.graph[0]
    copy = with_inputs(conv, {1: "v", 2: "bias"})
    assert [value.name for value in copy.inputs if value is not None] == ["x", "v", "bias"]
    assert (copy.name, copy.outputs[0].name) == ("y", "y")
    assert [value.name for value in conv.inputs if value is not None] == ["x", "w"]
    constants = {"v": np.zeros((2, 3, 3, 3), np.float32), "bias": np.array([1, 2], np.float32)}
    feeds = samples_for(model)
    found = run(piece_of(model, [copy], dtypes(feeds), ["y"], constants), feeds)["y"]
    np.testing.assert_array_equal(found[0, :, 0, 0], [1, 2])


def test_a_node_keeps_a_gap_among_its_inputs() -> None:
    model = named("g (float[N] x) => (float[N] y) <float h = {1}> { y = Clip(x, , h) }")
    copy = with_inputs(model.graph[0], {2: "other"})
    names = [None if value is None else value.name for value in copy.inputs]
    assert names == ["x", None, "other"]


def test_constant_nodes() -> None:
    assert [node.name for node in named(NET).graph if is_constant_node(node)] == ["two"]
