from __future__ import annotations

import pytest

from bmopt.optimizer.passes.drop_no_ops import DropNoOps
from bmopt.optimizer.passes.infer_shapes import InferShapes
from tests.rewriting import assert_keeps, assert_rewrites, check_pass, parse, structure

_X = "g (float[N, 3, 4, 4] x) => (float[N, 3, 4, 4] y)"

_NO_OPS = {
    "Identity": "h = Identity(x)",
    "Dropout": "h = Dropout(x)",
    "Cast": "h = Cast<to = 1>(x)",
    "Cast there and back": "d = Cast<to = 11>(x) h = Cast<to = 1>(d)",
    "Transpose": "h = Transpose<perm = [0, 1, 2, 3]>(x)",
    "Reshape with copied axes": "t = Constant<value_ints = [0, 3, -1, 4]>() h = Reshape(x, t)",
    "Expand": "t = Constant<value_ints = [3, 1, 4]>() h = Expand(x, t)",
    "Tile": "t = Constant<value_ints = [1, 1, 1, 1]>() h = Tile(x, t)",
    "Slice": """s = Constant<value_ints = [0]>() e = Constant<value_ints = [9223372036854775807]>()
        h = Slice(x, s, e)""",
    "Pad": "t = Constant<value_ints = [0, 0, 0, 0, 0, 0, 0, 0]>() h = Pad(x, t)",
    "Resize": """r = Constant<value_floats = [1.0, 1.0, 1.0, 1.0]>()
        h = Resize<mode = "linear">(x, , r)""",
    "Concat": "h = Concat<axis = 1>(x)",
    "Sum": "h = Sum(x)",
    "Add": "z = Constant<value_float = 0.0>() h = Add(z, x)",
    "Sub": "z = Constant<value = float[3, 1, 1] {0, 0, 0}>() h = Sub(x, z)",
    "Mul": "z = Constant<value_float = 1.0>() h = Mul(x, z)",
    "Div": "z = Constant<value_float = 1.0>() h = Div(x, z)",
    "Pow": "z = Constant<value_float = 1.0>() h = Pow(x, z)",
    "Gather": "t = Constant<value_ints = [0, 1, 2]>() h = Gather<axis = 1>(x, t)",
    "Neg": "n = Neg(x) h = Neg(n)",
    "MaxPool": "h = MaxPool<kernel_shape = [1, 1]>(x)",
    "Clip": "h = Clip(x)",
}


@pytest.mark.parametrize("name", _NO_OPS)
def test_drops(name: str) -> None:
    model = parse(f"{_X} {{ {_NO_OPS[name]} y = Exp(h) }}")
    InferShapes()(model)
    assert check_pass(DropNoOps(), model).modified
    live = [node.op_type for node in model.graph if node.op_type != "Constant"]
    assert live == ["Exp"]


_DOES_SOMETHING = {
    "a cast that loses": "d = Cast<to = 10>(x) h = Cast<to = 1>(d)",
    "a transpose": "h = Transpose<perm = [0, 1, 3, 2]>(x)",
    "a slice": """s = Constant<value_ints = [1]>() e = Constant<value_ints = [3]>()
        a = Constant<value_ints = [1]>() h = Slice(x, s, e, a)""",
    "a neutral constant that broadcasts": """z = Constant<value = float[2, 1, 1, 1, 1] {0, 0}>()
        h = Add(x, z)""",
    "one minus": "z = Constant<value_float = 0.0>() h = Sub(z, x)",
    "one over": "z = Constant<value_float = 1.0>() h = Div(z, x)",
    "other indices": "t = Constant<value_ints = [0, 2, 1]>() h = Gather<axis = 1>(x, t)",
    "a pool": "h = MaxPool<kernel_shape = [1, 1], strides = [2, 2]>(x)",
    "a clip": "a = Constant<value_float = -1.0>() h = Clip(x, a)",
    "upsampling": """r = Constant<value_floats = [1.0, 1.0, 2.0, 2.0]>()
        h = Resize(x, , r)""",
}


@pytest.mark.parametrize("name", _DOES_SOMETHING)
def test_keeps(name: str) -> None:
    graph = "g (float[N, 3, 4, 4] x) => (float y)"
    text = f"{graph} {{ {_DOES_SOMETHING[name]} y = ReduceMax<keepdims = 0>(h) }}"
    assert_keeps(DropNoOps(), text)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a = Relu(x) y = Relu(a)", "y = Relu(x)"),
        ("a = Sigmoid(x) b = Relu(a) y = Neg(b)", "a = Sigmoid(x) y = Neg(a)"),
        ("z = Constant<value_float = 0.0>() y = Clip(x, z)", "y = Relu(x)"),
    ],
)
def test_activations(before: str, after: str) -> None:
    graph = "g (float[2, 3] x) => (float[2, 3] y)"
    model = parse(f"{graph} {{ {before} }}")
    assert check_pass(DropNoOps(), model).modified
    shown = [line for line in structure(model) if "Constant" not in line]
    assert shown == structure(parse(f"{graph} {{ {after} }}"))


def test_a_clip_from_zero_needs_no_relu() -> None:
    assert_rewrites(
        DropNoOps(),
        before="""g (float[2] x) => (float[2] y) <float a = {0}, float b = {6}>
            { r = Relu(x) y = Clip(r, a, b) }""",
        after="""g (float[2] x) => (float[2] y) <float a = {0}, float b = {6}>
            { y = Clip(x, a, b) }""",
    )


def test_where_with_a_constant_choice() -> None:
    assert_rewrites(
        DropNoOps(),
        before="""g (float[2] x, float[2] z) => (float[2] y) <bool[2] c = {0, 0}, float[2] w>
            { w = Where(c, x, z) y = Exp(w) }""",
        after="g (float[2] x, float[2] z) => (float[2] y) { y = Exp(z) }",
    )


def test_training_dropout_and_its_mask_are_kept() -> None:
    training = """g (float[2] x) => (float[2] y) <float r = {0.5}, bool t = {1}>
        { h = Dropout(x, r, t) y = Exp(h) }"""
    assert_keeps(DropNoOps(), training, compare=False)
    mask = "g (float[2] x) => (float[2] y, bool[2] m) { h, m = Dropout(x) y = Exp(h) }"
    assert_keeps(DropNoOps(), mask)


def test_an_identity_between_public_names_is_kept() -> None:
    outcome = assert_keeps(DropNoOps(), "g (float[2] x) => (float[2] y) { y = Identity(x) }")
    assert "interface" in outcome.refusals[0].reason


def test_a_branch_that_hands_on_an_outer_value_is_kept() -> None:
    text = """g (bool c, float[2] x) => (float[2] y) { h = Neg(x) y = If(c) <
        then_branch = t () => (float[2] p) { p = Identity(h) },
        else_branch = e () => (float[2] q) { q = Abs(h) }> }"""
    assert_keeps(DropNoOps(), text)


def test_slice_attributes_of_old_opsets() -> None:
    assert_rewrites(
        DropNoOps(),
        before="""g (float[2, 3] x) => (float[2, 3] y)
            { h = Slice<starts = [0], ends = [3], axes = [1]>(x) y = Exp(h) }""",
        after="g (float[2, 3] x) => (float[2, 3] y) { y = Exp(x) }",
        opset=9,
    )
