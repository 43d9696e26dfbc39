from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import pytest

from bmopt.calibration.plan import make_plan
from bmopt.core.plan import QuantPlan
from bmopt.errors import QuantizationError
from bmopt.graph.origin import origin_of
from bmopt.graph.values import constant_array
from bmopt.optimizer.passes.quantize import Quantize
from tests.optimizer.literals import weights
from tests.quantizing import (
    CONV_NET,
    as_bytes,
    entry,
    named,
    quantized,
    run_optimised,
    samples_for,
    scheme,
    sqnr_db,
    table_of,
)
from tests.rewriting import run_plain, structure


def require_close(model: ir.Model, integer: Sequence[str], least_db: float = 25.0) -> ir.Model:
    """Quantise ``model``; the nodes ``integer`` must be planned, and results stay close."""
    copy, plan = quantized(model)
    assert plan.integer == tuple(integer)
    feeds = samples_for(model)
    want = run_plain(model, feeds)
    for got in (run_plain(copy, feeds), run_optimised(copy, feeds)):
        for one, other in zip(want, got, strict=True):
            assert one.shape == other.shape
            assert sqnr_db(one, other) > least_db
    return copy


def test_before_and_after() -> None:
    model = named(
        "g (float[N,2] x) => (float[N,2] y) <float[2,2] w = {1.27, 2.54, 0.5, 1}, "
        "float[2] b = {0.1, -0.1}, float[2,2] v = {1.27, 0, 0, 1.27}> "
        "{ h = Gemm(x, w, b) r = Relu(h) y = MatMul(r, v) }"
    )
    table = table_of(model, {"x": entry(-1.27, 1.28), "r": entry(0, 2.55)})
    Quantize(make_plan(model, table, scheme()))(model)
    x, r = "FLOAT[]0.01, UINT8[]127.", "FLOAT[]0.01, UINT8[]0."
    w = "INT8[2, 2][[127. 127.] [ 50.  50.]], FLOAT[2][0.01 0.02], INT8[2][0. 0.]"
    b = "INT32[2][1000. -500.], FLOAT[2][1.e-04 2.e-04], INT32[2][0. 0.]"
    v = "INT8[2, 2][[127.   0.] [  0. 127.]], FLOAT[2][0.01 0.01], INT8[2][0. 0.]"
    assert structure(model) == [
        "in x",
        f"%2 = QuantizeLinear(x, {x}) {{}}",
        f"%3 = DequantizeLinear(%2, {x}) {{}}",
        f"%4 = DequantizeLinear({w}) {{'axis': 1}}",
        f"%5 = DequantizeLinear({b}) {{'axis': 0}}",
        "%6 = Gemm(%3, %4, %5) {}",
        f"%7 = QuantizeLinear(%6, {r}) {{}}",
        f"%8 = DequantizeLinear(%7, {r}) {{}}",
        f"%9 = DequantizeLinear({v}) {{'axis': 1}}",
        "y = MatMul(%8, %9) {}",
        "out y",
    ]


def test_a_small_network() -> None:
    model = named(CONV_NET)
    copy = require_close(model, ["c1", "m1", "c2", "c3", "a", "p", "f", "y"])
    assert [v.name for v in copy.graph.outputs] == ["y"]
    assert all(origin_of(node) for node in copy.graph)
    kept = {name for node in copy.graph for name in origin_of(node)}
    assert kept == {node.name for node in model.graph}, "folded nodes live on in their product"


def test_a_second_run_changes_nothing() -> None:
    model = named(CONV_NET)
    plan = make_plan(model, table_of(model), scheme())
    assert Quantize(plan)(model).modified
    before = as_bytes(model)
    assert not Quantize(plan)(model).modified
    assert as_bytes(model) == before


def test_a_second_run_behind_a_mover_changes_nothing() -> None:
    model = named(CONV_NET)
    plan = make_plan(model, table_of(model), scheme())
    Quantize(plan)(model)
    first_is_a_mover = QuantPlan(**{**vars(plan), "integer": ("m1", *plan.integer)})
    assert not Quantize(first_is_a_mover)(model).modified


def test_a_plan_without_nodes_changes_nothing() -> None:
    model = named(CONV_NET)
    plan = make_plan(model, table_of(model), scheme(), keep_float=["*"])
    before = structure(model)
    assert not Quantize(plan)(model).modified
    assert structure(model) == before


def test_another_models_plan_is_refused_and_changes_nothing() -> None:
    model = named(CONV_NET)
    plan = make_plan(model, table_of(model), scheme())
    other = named("g (float[N,2] x) => (float[N,2] y) { y = Relu(x) }")
    before = structure(other)
    with pytest.raises(QuantizationError, match="'c1', which the model has not"):
        Quantize(plan)(other)
    assert structure(other) == before


@pytest.mark.parametrize(
    ("field", "value"),
    [("folded", ("gone",)), ("moved", ("gone",)), ("activations", "gone")],
)
def test_a_badly_edited_plan_is_refused(field: str, value: object) -> None:
    model = named(CONV_NET)
    plan = make_plan(model, table_of(model), scheme())
    if field == "activations":
        value = {**plan.activations, "gone": plan.activations["x"]}
    before = structure(model)
    with pytest.raises(QuantizationError, match="'gone', which the model has not"):
        Quantize(QuantPlan(**{**vars(plan), field: value}))(model)
    assert structure(model) == before


def test_float_weights_are_gone() -> None:
    size = (64, 64, 3, 3)
    model = named(
        f"g (float[N,64,6,6] x) => (float[N,64,6,6] y) <{weights('w', size)}> "
        "{ y = Conv<pads=[1,1,1,1]>(x, w) }"
    )
    before = len(as_bytes(model))
    copy, _ = quantized(model)
    assert "w" not in copy.graph.initializers
    assert len(as_bytes(copy)) < before / 3.8


def test_a_weight_in_a_constant_node_is_gone() -> None:
    model = named(
        "g (float[N,2] x) => (float[N,1] y) "
        "{ k = Constant<value = float[2,1] {1, 2}>()  y = MatMul(x, k) }"
    )
    copy = require_close(model, ["y"])
    assert not [node for node in copy.graph if node.op_type == "Constant"]


def test_a_weight_that_a_float_node_reads_stays() -> None:
    inits = weights("w", (4, 4))
    model = named(
        f"g (float[N,4] x) => (float[N,4] y, float[4,4] z) <{inits}> "
        "{ y = MatMul(x, w) z = Relu(w) }"
    )
    copy, _ = quantized(model)
    assert "w" in copy.graph.initializers
    assert copy.graph.node("z").inputs[0] is copy.graph.initializers["w"]


def test_a_tensor_that_float_nodes_read_too_stays_exact_for_them() -> None:
    inits = weights("w", (4, 4))
    model = named(
        f"g (float[N,4] x) => (float[N,4] y, float[N,4] z) <{inits}> "
        "{ y = MatMul(x, w) z = Softmax(x) }"
    )
    copy = require_close(model, ["y"])
    feeds = samples_for(model)
    np.testing.assert_array_equal(run_plain(model, feeds)[1], run_plain(copy, feeds)[1])


C = weights("w", (8, 8, 3, 3))
CONV = "c = Conv<pads=[1,1,1,1]>(x, w)"
BRANCHES = """
  d = Conv<strides=[2,2], pads=[1,1,1,1]>(c, w)
  p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(c)
  y = Add(d, p)
"""


def conv_graph(body: str, shape: str, inits: str = C) -> ir.Model:
    return named(f"g (float[N,8,6,6] x) => (float[{shape}] y) <{inits}> {{ {CONV} {body} }}")


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        ("y = MaxPool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]>(c)", "N,8,3,3"),
        ("y = Reshape(c, flat)", "N,288"),
        ("y = Flatten(c)", "N,288"),
        ("y = Transpose<perm=[0,2,3,1]>(c)", "N,6,6,8"),
        ("y = Slice(c, from, to, axes)", "N,8,2,2"),
        ("s = Slice(c, from, one, axes) y = Squeeze(s, axes)", "N,8"),
        ("y = Unsqueeze(c, axes)", "N,8,1,1,6,6"),
        ("y = Pad(c, pads)", "N,8,8,7"),
        ("y = Pad(c, pads, zero)", "N,8,8,7"),
        ('y = Pad<mode="reflect">(c, pads)', "N,8,8,7"),
    ],
)
def test_movers_work_on_the_integers(body: str, shape: str) -> None:
    inits = (
        f"{C}, int64[2] flat = {{-1, 288}}, int64[2] from = {{0, 0}}, int64[2] to = {{2, 2}}, "
        "int64[2] one = {1, 1}, int64[2] axes = {2, 3}, float zero = {0}, "
        "int64[8] pads = {0, 0, 1, 0, 0, 0, 1, 1}"
    )
    model = conv_graph(body, shape, inits)
    names = [node.name or "" for node in model.graph]
    copy = require_close(model, names)
    for name in names[1:]:
        node = copy.graph.node(name)
        assert node.inputs[0] is not None
        assert node.inputs[0].dtype == node.outputs[0].dtype == ir.DataType.UINT8
    kinds = [node.op_type for node in copy.graph]
    assert kinds.count("QuantizeLinear") == 2, "of x and c; movers need none of their own"


@pytest.mark.parametrize("device", ["x86-vnni", "arm64"])
def test_a_pad_fills_with_the_zero_point(device: str) -> None:
    model = conv_graph("y = Pad(c, pads)", "N,8,8,7", f"{C}, int64[8] pads = {{0,0,1,0,0,0,1,1}}")
    copy, plan = quantized(model, device=device)
    fill = constant_array(copy.graph.node("y").inputs[2])
    assert fill is not None
    assert fill.item() == plan.activations["c"].zero_point
    assert fill.dtype == plan.activations["c"].dtype
    got = run_plain(copy, samples_for(model, count=2))[0]
    assert not got[:, :, 0].any(), "the border is zero"
    assert got[:, :, 1].any()


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        ("y = Add(c, x)", "N,8,6,6"),
        ("y = Mul(c, x)", "N,8,6,6"),
        ("y = Concat<axis=1>(c, x)", "N,16,6,6"),
        ("y = Concat<axis=1>(c, c)", "N,16,6,6"),
        ("y = AveragePool<kernel_shape=[2,2]>(c)", "N,8,5,5"),
        (
            "y = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1], count_include_pad=1>(c)",
            "N,8,6,6",
        ),
        ("y = GlobalAveragePool(c)", "N,8,1,1"),
        ("y = LeakyRelu<alpha=0.1>(c)", "N,8,6,6"),
        ("y = Sigmoid(c)", "N,8,6,6"),
        ("s = Sigmoid(c) y = Mul(c, s)", "N,8,6,6"),
        (BRANCHES, "N,8,3,3"),
    ],
)
def test_followers(body: str, shape: str) -> None:
    model = conv_graph(body, shape)
    require_close(model, [node.name or "" for node in model.graph])


@pytest.mark.parametrize(
    ("op", "x", "w", "b", "y"),
    [
        ("Conv<pads=[1,1]>", "N,8,12", (4, 8, 3), (4,), "N,4,12"),
        ("Conv<pads=[1,1,1,1,1,1]>", "N,4,5,5,5", (6, 4, 3, 3, 3), (6,), "N,6,5,5,5"),
        ("Conv<group=8, pads=[1,1,1,1]>", "N,8,5,5", (8, 1, 3, 3), (8,), "N,8,5,5"),
        ("Conv<group=8>", "N,8,5,5", (16, 1, 3, 3), (16,), "N,16,3,3"),
        ("Conv<group=2>", "N,8,5,5", (6, 4, 3, 3), None, "N,6,3,3"),
        ('Conv<auto_pad="SAME_UPPER", strides=[2,2]>', "N,8,5,5", (4, 8, 3, 3), None, "N,4,3,3"),
        ("Conv<dilations=[2,2]>", "N,8,5,5", (4, 8, 3, 3), (4,), "N,4,1,1"),
        ("Gemm", "N,6", (6, 5), None, "N,5"),
        ("Gemm", "N,6", (6, 5), (5,), "N,5"),
        ("Gemm", "N,6", (6, 5), (1, 5), "N,5"),
        ("Gemm", "N,6", (6, 5), (), "N,5"),
        ("Gemm", "N,6", (6, 5), (1,), "N,5"),
        ("Gemm<transB=1>", "N,6", (5, 6), None, "N,5"),
        ("Gemm<transB=1>", "N,6", (5, 6), (5,), "N,5"),
        ("Gemm<transB=1>", "N,6", (5, 6), (1, 1), "N,5"),
        ("MatMul", "N,6", (6, 5), None, "N,5"),
        ("MatMul", "N,3,6", (6, 5), None, "N,3,5"),
        ("MatMul", "N,2,3,6", (6, 5), None, "N,2,3,5"),
    ],
)
@pytest.mark.parametrize("followed", [False, True])
def test_products(
    op: str,
    x: str,
    w: tuple[int, ...],
    b: tuple[int, ...] | None,
    y: str,
    followed: bool,
) -> None:
    inits = [weights("w", w)] + ([] if b is None else [weights("b", b)])
    inputs = "x, w" if b is None else "x, w, b"
    name, more = ("h", "y = Sigmoid(h)") if followed else ("y", "")
    head = f"g (float[{x}] x) => (float[{y}] y) <{', '.join(inits)}>"
    model = named(f"{head} {{ {name} = {op}({inputs}) {more} }}")
    copy = require_close(model, ["h", "y"] if followed else ["y"])
    assert "w" not in copy.graph.initializers


def test_convtranspose_is_not_touched() -> None:
    model = conv_graph("y = ConvTranspose(c, v)", "N,4,8,8", f"{C}, {weights('v', (8, 4, 3, 3))}")
    copy = require_close(model, ["c"])
    node = copy.graph.node("y")
    assert node.inputs[1] is copy.graph.initializers["v"]


def test_graph_outputs_in_the_middle_keep_their_names() -> None:
    model = named(
        f"g (float[N,8,6,6] x) => (float[N,8,6,6] c, float[N,8,6,6] r, float[N,288] y) <{C}> "
        f"{{ {CONV} d = Conv<pads=[1,1,1,1]>(c, w) r = Relu(d) y = Flatten(r) }}"
    )
    copy = require_close(model, ["c", "d", "y"])
    assert [value.name for value in copy.graph.outputs] == ["c", "r", "y"]


def test_a_subgraph_reads_the_quantised_tensor() -> None:
    model = named(f"""
        g (bool q, float[N,8,6,6] x) => (float[N,8,6,6] y) <{C}> {{
          {CONV}
          y = If (q) <
            then_branch = t () => (float[N,8,6,6] a) {{ a = Relu(c) }},
            else_branch = e () => (float[N,8,6,6] b) {{ b = Neg(c) }}>
        }}
    """)
    table = table_of(model, {"x": entry(-4, 4), "c": entry(-12, 12)})
    copy = model.clone()
    Quantize(make_plan(model, table, scheme()))(copy)
    feeds = samples_for(named("g (float[N,8,6,6] x) => (float y) { y = Relu(x) }"), 4)
    for flag in (True, False):
        feeds["q"] = np.array(flag)
        assert sqnr_db(run_plain(model, feeds)[0], run_plain(copy, feeds)[0]) > 25


def test_a_shared_weight_is_stored_once_per_encoding() -> None:
    model = named(
        f"g (float[N,8,6,6] x) => (float[N,8,6,6] y) <{C}> "
        f"{{ {CONV} r = Relu(c) y = Conv<pads=[1,1,1,1]>(r, w) }}"
    )
    copy = require_close(model, ["c", "y"])
    stored = [v for v in copy.graph.initializers.values() if v.dtype == ir.DataType.INT8]
    assert sum(v.shape == (8, 8, 3, 3) for v in stored) == 1


@pytest.mark.parametrize("opset", [13, 15, 18, 19, 21, 22])
def test_opsets(opset: int) -> None:
    model = named(CONV_NET, opset)
    copy, plan = quantized(model)
    assert len(plan.integer) == 8
    feeds = samples_for(model)
    want, got = run_plain(model, feeds)[0], run_optimised(copy, feeds)[0]
    assert sqnr_db(want, got) > 25
