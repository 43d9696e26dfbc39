from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from bmopt.optimizer.passes.infer_shapes import InferShapes
from tests.rewriting import parse


def _shape(model: ir.Model, name: str) -> list[int | str | None]:
    values = {out.name: out for node in model.graph.all_nodes() for out in node.outputs}
    shape = values[name].shape
    assert shape is not None
    return [dim if isinstance(dim, int) else dim.value for dim in shape]


def _infer(text: str, opset: int = 17) -> ir.Model:
    model = parse(text, opset)
    assert InferShapes()(model).modified
    assert not InferShapes()(model).modified, "a second run must change nothing"
    return model


def test_infers_types_and_shapes() -> None:
    model = _infer("g (float[N, 3] x) => (float[N, 3] y) { h = Relu(x)  y = Neg(h) }")
    assert _shape(model, "h") == ["N", 3]


def test_names_the_open_axis_of_a_reshape() -> None:
    model = _infer(
        """g (float[N, 3, 4] x) => (float[N, 12] y) <int64[2] t = {-1, 12}>
        { h = Reshape(x, t)  i = Relu(h)  y = Neg(i) }"""
    )
    assert _shape(model, "h") == ["N", 12]
    assert _shape(model, "i") == ["N", 12]


def test_what_was_multiplied_is_divided_again() -> None:
    model = _infer(
        """g (float[N, 6, 4] x) => (float[A, B, C] y)
        <int64[2] t = {-1, 4}, int64[4] u = {-1, 6, 2, 2}>
        { h = Reshape(x, t)  r = Relu(h)  i = Reshape(r, u)  y = Neg(i) }"""
    )
    assert _shape(model, "i") == ["N", 6, 2, 2]


@pytest.mark.parametrize(
    ("nodes", "shape"),
    [
        ("h = Reshape(x, t) i = Reshape(h, u) j = Add(x, i)", ["N", 6, 4]),
        ("h = Reshape(x, t) i = Reshape(h, u) k = Transpose(i) j = Concat<axis = 1>(i, x)",
         ["N", 12, 4]),
        ("i = Transpose<perm = [0, 2, 1]>(x) j = MatMul(x, i)", ["N", 6, 6]),
        ("j = Pad(x, p)", ["N", 7, 4]),
        ("j = Slice(x, one, two, one)", ["N", 1, 4]),
        ("s = Shape<start = 0, end = 1>(x) n = Squeeze(s) j = Range(nil, n, step)", ["N"]),
    ],
)  # fmt: skip
def test_an_axis_keeps_its_name(nodes: str, shape: list[int | str]) -> None:
    model = _infer(
        f"""g (float[N, 6, 4] x) => (float[A] y)
        <int64[2] t = {{-1, 4}}, int64[3] u = {{-1, 6, 4}}, int64[6] p = {{0, 1, 0, 0, 0, 0}},
         int64[1] one = {{1}}, int64[1] two = {{2}}, int64 nil = {{0}}, int64 step = {{1}}>
        {{ {nodes} y = Neg(j) }}"""
    )
    assert _shape(model, "j") == shape


def test_group_normalization_has_the_shape_of_its_data() -> None:
    model = _infer(
        """g (float[N, 4, 2] x, float[4] s, float[4] b) => (float[N, 4, 2] y)
        { h = GroupNormalization<num_groups = 2>(x, s, b)  y = Neg(h) }""",
        opset=21,
    )
    assert _shape(model, "h") == ["N", 4, 2]


def test_follows_computed_targets() -> None:
    model = _infer(
        """g (float[N, 3, 4] x) => (float[N, 4, 3] y)
        <int64[1] zero = {0}, int64[1] four = {4}, int64[1] three = {3}>
        { s = Shape(x)  n = Gather(s, zero)  t = Concat<axis = 0>(n, four, three)
          h = Reshape(x, t)  i = Relu(h)  y = Transpose<perm = [0, 1, 2]>(i) }"""
    )
    assert _shape(model, "h") == ["N", 4, 3]
    assert _shape(model, "i") == ["N", 4, 3]


def test_infers_inside_branches() -> None:
    model = _infer(
        """g (bool c, float[2, 3] x) => (float[2, 3] y) { h = Neg(x)  y = If(c) <
            then_branch = t () => (float[2, 3] p) { u = Exp(h) p = Relu(u) },
            else_branch = e () => (float[2, 3] q) { q = Abs(h) }> }"""
    )
    assert _shape(model, "u") == [2, 3]


def test_an_impossible_declaration_gives_way() -> None:
    model = _infer(
        "g (float[2, 3] x) => (float[3, 2] y) <float[5] h> { h = Relu(x) y = Transpose(h) }"
    )
    assert _shape(model, "h") == [2, 3]


def test_a_negative_size_is_an_unknown_one() -> None:
    model = parse("g (float[2, 3] x) => (float[2, 3] y) { h = Relu(x) y = Neg(h) }")
    x = model.graph.inputs[0]
    x.shape = ir.Shape([-1, 3])
    assert InferShapes()(model).modified
    assert x.shape[0] == ir.SymbolicDim(None)
    assert not InferShapes()(model).modified


def test_shapes_computed_from_a_negative_size_are_not_believed() -> None:
    model = parse(
        """g (float[A, 3] x) => (float[B, 3] y) <float[0, 3] h> { h = Relu(x) y = Neg(h) }"""
    )
    model.graph.inputs[0].shape = ir.Shape([-1, 3])
    assert InferShapes()(model).modified
    assert 0 not in _shape(model, "h")


def test_large_weights_are_not_read() -> None:
    model = parse(
        """g (float[N, 8] x, float[8, 512] w) => (float[N, 512] y)
        { h = MatMul(x, w) y = Neg(h) }"""
    )
    weight = model.graph.inputs.pop()

    def fail() -> np.ndarray:
        raise AssertionError("a weight was read")

    weight.const_value = ir.LazyTensor(
        fail, dtype=ir.DataType.FLOAT, shape=ir.Shape([8, 512]), name="w"
    )
    model.graph.register_initializer(weight)
    InferShapes()(model)
    assert _shape(model, "h") == ["N", 512]


def test_a_node_it_does_not_know_is_left() -> None:
    model = parse(
        """<ir_version: 8, opset_import: ["" : 17, "other" : 1]>
        g (float[2] x) => (float[2] y) { h = other.Thing(x)  y = Relu(h) }"""
    )
    InferShapes()(model)
    assert next(iter(model.graph)).outputs[0].shape is None
