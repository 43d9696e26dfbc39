from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir
import pytest

from bmopt.calibration.placement import Placement, final_output, matches, place
from bmopt.core.ranges import TensorRange
from bmopt.core.scheme import FloatRules
from bmopt.graph.origin import set_origin
from bmopt.graph.values import constant_array
from tests.optimizer.literals import weights
from tests.quantizing import CONV_NET, entry, named, scheme, table_of

W = weights("w", (8, 8, 3, 3))
CONV = "c = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(x, w)"
X, Y = "float[N,8,6,6] x", "float[N,8,6,6] y"


def graph(
    body: str, inits: str = W, inputs: str = X, output: str = "float[N,8,6,6] y"
) -> ir.Model:
    return named(f"g ({inputs}) => ({output}) <{inits}> {{ {body} }}")


def placed(
    model: ir.Model,
    ranges: Mapping[str, TensorRange | None] | None = None,
    rules: FloatRules | None = None,
    keep_float: Sequence[str] = (),
) -> Placement:
    return place(model.graph, table_of(model, ranges), scheme(rules=rules), keep_float)


def integer(found: Placement) -> list[str]:
    return [node.name or "" for node in found.integer]


def test_everything_with_an_integer_kernel_runs_in_integers() -> None:
    found = placed(named(CONV_NET))
    assert integer(found) == ["c1", "m1", "c2", "c3", "a", "p", "f", "y"]
    assert not found.reasons


@pytest.mark.parametrize(
    ("pattern", "kept"),
    [
        ("c2", ["c2"]),
        ("c?", ["c1", "c2", "c3"]),
        ("op:Gemm", ["y"]),
        ("op:Max*", ["m1"]),
        ("source_of_c2", ["c2"]),
        ("source_*", ["c2"]),
        ("a[bc]", ["ab"]),
        ("C2", []),
        ("op:c2", []),
        ("Conv", []),
    ],
)
def test_keep_float_names_nodes(pattern: str, kept: list[str]) -> None:
    model = named(CONV_NET)
    set_origin(model.graph.node("c2"), ["c2_before", "source_of_c2"])
    model.graph.node("a").name = "ab"
    found = placed(model, keep_float=[pattern])
    assert [n for n, why in found.reasons.items() if why == "kept in float as asked"] == kept
    assert not set(kept) & set(integer(found))


def test_a_name_with_brackets_matches_itself() -> None:
    node = named(CONV_NET).graph.node("c2")
    node.name = "block[0]/conv"
    assert matches(node, ["block[0]/conv"])
    assert not matches(node, ["block[1]/conv"])
    assert not matches(node, [])


@pytest.mark.parametrize(
    ("rules", "floats"),
    [
        (FloatRules(narrow_input=7), {}),
        (FloatRules(narrow_input=8), {"c1": "reads 8 channels only"}),
        (FloatRules(narrow_depthwise=16), {}),
        (FloatRules(narrow_depthwise=17), {"c3": "depthwise over 16 channels only"}),
        (FloatRules(small_product=80), {}),
        (FloatRules(small_product=81), {"y": "only 80 multiply-adds"}),
        (FloatRules(prefix=1), {"c1": "so near the input it is faster in float"}),
        (
            FloatRules(prefix=2),
            dict.fromkeys(["c1", "c2"], "so near the input it is faster in float"),
        ),
    ],
)
def test_rules_leave_products_in_float(rules: FloatRules, floats: dict[str, str]) -> None:
    found = placed(named(CONV_NET), rules=rules)
    products = {"c1", "c2", "c3", "y"}
    assert {n: why for n, why in found.reasons.items() if n in products} == floats


def test_a_product_kept_in_float_does_not_use_up_the_prefix() -> None:
    found = placed(named(CONV_NET), rules=FloatRules(prefix=1), keep_float=["c1"])
    assert found.reasons["c2"] == "so near the input it is faster in float"


def test_followers_and_movers_stay_in_float_behind_float_nodes() -> None:
    found = placed(named(CONV_NET), keep_float=["c1", "c3"])
    assert found.reasons["m1"] == "its input is in float"
    assert found.reasons["a"] == "its input is in float"
    assert integer(found) == ["c2", "y"]


@pytest.mark.parametrize(
    ("name", "found_range", "reason"),
    [
        ("x", entry(0.0, 0.0), "tensor 'x' never left zero in calibration"),
        ("r1", None, "no range for tensor 'r1'"),
        ("r1", entry(0.0, 0.0), "tensor 'r1' never left zero in calibration"),
        ("r1", entry(0, 1, infinities=3), "tensor 'r1' holds infinities"),
    ],
)
def test_unusable_ranges_keep_a_product_in_float(
    name: str, found_range: TensorRange | None, reason: str
) -> None:
    found = placed(named(CONV_NET), {name: found_range})
    assert found.reasons["c1"] == reason


@pytest.mark.parametrize(("name", "node"), [("c1", "c1"), ("m1", "m1")])
def test_ranges_that_are_not_needed_may_be_missing(name: str, node: str) -> None:
    """What a folded activation reads, and what a mover writes."""
    assert node in integer(placed(named(CONV_NET), {name: None}))


def test_the_output_of_an_integer_node_decides_too() -> None:
    found = placed(named(CONV_NET), {"p": entry(0.0, 0.0)})
    assert found.reasons["p"] == "tensor 'p' never left zero in calibration"
    assert found.reasons["f"] == "its input is in float"


@pytest.mark.parametrize(
    ("body", "inits", "reason"),
    [
        ("y = Conv(x, v)", "float v = {1}", "its weight is not constant"),
        ("y = Conv(x, w, v)", W, "its bias is not constant"),
        ("y = Conv(k, w)", f"{W}, {weights('k', (1, 8, 3, 3))}", "its input is constant"),
    ],
)
def test_products_of_another_form(body: str, inits: str, reason: str) -> None:
    model = graph(body, inits, f"{X}, float[8,8,3,3] v")
    if "float v" in inits:
        del model.graph.initializers["v"]
    assert placed(model).reasons["y"] == reason


@pytest.mark.parametrize(
    ("body", "shape", "reason"),
    [
        ("Gemm<alpha=2.0>(x, w)", (4, 4), "its alpha or beta is not 1"),
        ("Gemm<beta=0.5>(x, w, b)", (4, 4), "its alpha or beta is not 1"),
        ("Gemm<transA=1>(x, w)", (4, 4), "it transposes its input"),
        ("Gemm(x, w, rows)", (4, 4), "its bias differs between rows"),
        ("Gemm(x, w, column)", (4, 4), "its bias differs between rows"),
        ("MatMul(x, w)", (2, 4, 4), "its weight is not a matrix"),
        ("MatMul(x, w)", (4,), "its weight is not a matrix"),
    ],
)
def test_matrix_products_of_another_form(body: str, shape: tuple[int, ...], reason: str) -> None:
    shapes = {"w": shape, "b": (4,), "rows": (4, 4), "column": (4, 1)}
    inits = ", ".join(weights(name, size) for name, size in shapes.items())
    model = graph(f"y = {body}", inits, "float[4,4] x", "float y")
    found = placed(model)
    assert found.reasons == {"y": reason}
    assert not found.integer


def with_weight(dtype: type[np.generic], value: float | None = None) -> ir.Model:
    model = graph(f"{CONV} y = Relu(c)")
    weight = model.graph.initializers["w"]
    array = np.array(constant_array(weight)).astype(dtype)
    if value is not None:
        array[0, 0, 0, 0] = value
    weight.const_value = ir.tensor(array)
    weight.type = ir.TensorType(weight.const_value.dtype)
    return model


def test_half_precision_weights_stay() -> None:
    assert placed(with_weight(np.float16)).reasons == {"c": "its weight is not float32"}


def test_an_infinite_weight_stays() -> None:
    found = placed(with_weight(np.float32, np.inf))
    assert found.reasons == {"c": "its weight holds infinities"}


def test_an_infinite_bias_stays() -> None:
    model = graph("y = Conv<pads=[1,1,1,1]>(x, w, b)", f"{W}, float[8] b = {{1,1,1,1,1,1,1,1}}")
    bias = model.graph.initializers["b"]
    bias.const_value = ir.tensor(np.full(8, -np.inf, np.float32))
    assert placed(model).reasons == {"y": "its bias holds infinities"}


def test_a_weight_in_a_constant_node_counts() -> None:
    model = named(
        "g (float[N,2] x) => (float[N,1] y) "
        "{ k = Constant<value = float[2,1] {1, 2}>()  y = MatMul(x, k) }"
    )
    model.graph.node("k").outputs[0].type = None
    assert integer(placed(model)) == ["y"]


def test_an_initializer_that_can_be_fed_is_no_constant() -> None:
    model = named(
        "g (float[N,2] x, float[2,1] w) => (float[N,1] y) <float[2,1] w = {1, 2}>"
        "{ y = MatMul(x, w) }"
    )
    assert placed(model).reasons == {"y": "its weight is not constant"}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("y, i = MaxPool<kernel_shape=[1,1]>(c)", "its indices are used"),
        ("y = AveragePool<kernel_shape=[2,2], dilations=[1,2]>(c)", "it is dilated"),
        ("y = Pad(c, pads, one)", "it pads with a value that is not zero"),
        ("y = Pad(c, pads, fed)", "it pads with a value that is not zero"),
        ("y = Add(c, one)", "one operand is constant, or both are the same"),
        ("y = Mul(c, c)", "one operand is constant, or both are the same"),
        ("y = Concat<axis=0>(c, k)", "one operand is constant"),
    ],
)
def test_followers_and_movers_of_another_form(body: str, reason: str) -> None:
    inits = (
        f"{W}, int64[8] pads = {{0,0,0,0,0,0,0,0}}, float one = {{1}}, "
        f"{weights('k', (1, 8, 6, 6))}"
    )
    model = graph(f"{CONV} {body}", inits, f"{X}, float fed", "float y")
    found = placed(model)
    assert found.reasons == {"y": reason}
    assert integer(found) == ["c"]


@pytest.mark.parametrize(
    "body",
    [
        "y = Pad(c, pads)",
        "y = Pad(c, pads, zero)",
        'y = Pad<mode="reflect">(c, pads)',
        'y = Pad<mode="edge">(c, pads)',
        "y = Concat<axis=1>(c, c)",
        "y = Add(c, x)",
        "y = AveragePool<kernel_shape=[2,2], dilations=[1,1]>(c)",
    ],
)
def test_followers_and_movers_of_the_right_form(body: str) -> None:
    inits = f"{W}, int64[8] pads = {{0,0,0,0,0,0,0,0}}, float zero = {{0}}"
    assert integer(placed(graph(f"{CONV} {body}", inits, output="float y"))) == ["c", "y"]


def test_ops_of_other_domains_are_left_alone() -> None:
    model = graph(f"{CONV} y = Relu(c)")
    model.graph.node("c").domain = "com.example"
    found = placed(model)
    assert not found.integer
    assert not found.reasons


def test_a_node_in_a_subgraph_is_left_alone() -> None:
    model = named(f"""
        g (bool q, {X}) => (float y) <{W}> {{
          {CONV}
          y = If (q) <
            then_branch = t () => (float a) {{ a = MaxPool<kernel_shape=[1,1]>(c) }},
            else_branch = e () => (float b) {{ b = Conv<kernel_shape=[3,3]>(c, w) }}>
        }}
    """)
    found = placed(model)
    assert integer(found) == ["c"]
    assert not found.reasons


def test_a_relu_behind_a_mover_is_not_folded_into_it() -> None:
    model = graph(
        f"{CONV} m = MaxPool<kernel_shape=[1,1]>(c) r = Relu(m) y = Transpose(r)", output="float y"
    )
    found = placed(model)
    assert integer(found) == ["c", "m"]
    assert found.reasons == {"y": "its input is in float"}


HEAD = f"{weights('w', (4, 4))}, int64[3] s = {{1, -1, 2}}"


@pytest.mark.parametrize("relu", ["", "h2 = Relu(h)"])
def test_an_output_is_not_quantised_for_a_mover_alone(relu: str) -> None:
    last = "h2" if relu else "h"
    body = f"h = MatMul(x, w) {relu} m = Reshape({last}, s) t = Transpose(m) y = Softmax(t)"
    found = placed(graph(body, HEAD, "float[4,4] x", "float y"))
    assert integer(found) == ["h"]
    assert found.reasons == dict.fromkeys(["m", "t"], "nothing behind it runs in integers")


def test_movers_between_matrix_products_run_in_integers() -> None:
    body = "h = MatMul(x, w) t = Transpose(h) y = MatMul(t, w)"
    found = placed(graph(body, HEAD, "float[4,4] x", "float y"))
    assert integer(found) == ["h", "t", "y"]


def test_a_mover_behind_a_convolution_runs_in_integers_to_the_end() -> None:
    found = placed(graph(f"{CONV} t = Transpose(c) y = Softmax(t)", output="float y"))
    assert integer(found) == ["c", "t"]


def test_final_output_is_behind_a_clip_that_alone_reads_the_node() -> None:
    model = graph(f"{CONV} r = Relu(c) y = Softmax(r)", output="float y")
    assert final_output(model.graph.node("c")).name == "r"
    both = graph(f"{CONV} r = Relu(c) y = Add(r, c)", output="float y")
    assert final_output(both.graph.node("c")).name == "c"
