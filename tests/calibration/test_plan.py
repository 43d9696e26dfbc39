from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir
import pytest

from bmopt.calibration.plan import make_plan
from bmopt.core.plan import ActivationQuant, QuantPlan
from bmopt.core.ranges import Interval, Method, TensorRange
from bmopt.core.scheme import FloatRules
from tests.optimizer.literals import weights
from tests.quantizing import CONV_NET, entry, named, scheme, table_of

W = weights("w", (8, 8, 3, 3))
CONV = "c = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(x, w)"


def graph(body: str, outputs: str = "float y", inits: str = W) -> ir.Model:
    return named(f"g (float[N,8,6,6] x) => ({outputs}) <{inits}> {{ {body} }}")


def planned(
    model: ir.Model,
    ranges: Mapping[str, TensorRange | None] | None = None,
    *,
    device: str = "x86-vnni",
    keep_float: Sequence[str] = (),
    method: Method = "minmax",
    rules: FloatRules | None = None,
) -> QuantPlan:
    table = table_of(model, ranges)
    return make_plan(model, table, scheme(device, rules), method=method, keep_float=keep_float)


def test_the_plan_of_a_small_network() -> None:
    plan = planned(named(CONV_NET))
    assert plan.integer == ("c1", "m1", "c2", "c3", "a", "p", "f", "y")
    assert plan.folded == ("r1", "r2")
    assert plan.moved == ("m1", "f")
    assert set(plan.weights) == {"c1", "c2", "c3", "y"}
    # Not c1 and a: a Relu was folded into them; not y: its kernel writes float.
    assert set(plan.activations) == {"x", "r1", "m1", "c2", "c3", "r2", "p", "f"}
    assert plan.model == "m" * 64
    assert (plan.scheme, plan.method) == ("x86-vnni", "minmax")


def test_a_mover_keeps_the_encoding_of_what_it_moves() -> None:
    plan = planned(named(CONV_NET), {"m1": entry(0, 77)})
    assert plan.activations["m1"] == plan.activations["r1"]


@pytest.mark.parametrize(
    ("clip", "found", "folded"),
    [
        ("Relu(c)", entry(0, 3), True),
        ("Clip(c, zero, six)", entry(0, 6), True),
        ("Clip(c, zero, six)", entry(0, 3), True),
        ("Clip(c, zero)", entry(0, 9), True),
        ("Clip(c, , six)", entry(-2, 6), True),
        ("Clip(c, one, six)", entry(1, 6), False),
        ("Relu(c)", entry(-1, 3), False),  # ranges need not know what the node does
    ],
)
def test_a_clip_is_folded_where_the_encoding_clips_alike(
    clip: str, found: TensorRange, folded: bool
) -> None:
    inits = f"{W}, float zero = {{0}}, float one = {{1}}, float six = {{6}}"
    model = graph(f"{CONV} r = {clip} y = Softmax(r)", inits=inits)
    plan = planned(model, {"r": found})
    assert plan.folded == (("r",) if folded else ())
    assert ("c" in plan.activations) is not folded
    assert plan.integer == ("c",)


def test_a_clip_that_stays_needs_no_range_before_it() -> None:
    model = graph(f"{CONV} r = Relu(c) y = Softmax(r)")
    plan = planned(model, {"c": None, "r": entry(-1, 3)})
    assert not plan.folded
    assert set(plan.activations) == {"x", "r"}


def test_a_clip_by_a_tensor_is_no_clip() -> None:
    model = named(
        f"g (float[N,8,6,6] x, float top) => (float y) <{W}> "
        f"{{ {CONV} r = Clip(c, , top) y = Softmax(r) }}"
    )
    plan = planned(model)
    assert not plan.folded
    assert set(plan.activations) == {"x", "c"}


def test_a_relu_that_is_not_the_only_reader_is_not_folded() -> None:
    plan = planned(graph(f"{CONV} r = Relu(c) y = Add(r, c)"))
    assert not plan.folded
    assert set(plan.activations) == {"x", "c"}
    assert plan.float_nodes == {"y": "its input is in float"}


def test_a_relu_read_twice_is_folded() -> None:
    plan = planned(graph(f"{CONV} r = Relu(c) d = Conv<pads=[1,1,1,1]>(r, w) y = Add(r, d)"))
    assert plan.folded == ("r",)
    assert plan.integer == ("c", "d", "y")


def test_an_output_that_is_the_graphs_own_is_no_relus() -> None:
    plan = planned(graph(f"{CONV} y = Relu(c)", "float y, float c"))
    assert not plan.folded
    assert set(plan.activations) == {"x", "c"}


def test_a_relu_that_is_the_graphs_output_is_folded() -> None:
    plan = planned(graph(f"{CONV} y = Relu(c)"))
    assert plan.folded == ("y",)
    assert set(plan.activations) == {"x", "y"}


def test_a_relu_in_a_subgraph_is_not_folded() -> None:
    model = named(f"""
        g (bool q, float[N,8,6,6] x) => (float y) <{W}> {{
          {CONV}
          y = If (q) <
            then_branch = t () => (float a) {{ a = Relu(c) }},
            else_branch = e () => (float b) {{ b = Softmax(x) }}>
        }}
    """)
    plan = planned(model)
    assert not plan.folded
    assert set(plan.activations) == {"x", "c"}


HEAD = f"{weights('w', (8, 8))}, {weights('v', (8, 8))}"


@pytest.mark.parametrize("op", ["Gemm", "MatMul"])
def test_a_matrix_products_output_is_quantised_where_integers_read_it(op: str) -> None:
    text = f"g (float[N,8] x) => (float y) <{HEAD}> {{ h = {op}(x, w) y = {op}(h, v) }}"
    assert set(planned(named(text)).activations) == {"x", "h"}
    alone = f"g (float[N,8] x) => (float y) <{HEAD}> {{ h = {op}(x, w) y = Softmax(h) }}"
    assert set(planned(named(alone)).activations) == {"x"}


def test_a_matrix_products_relu_is_folded_where_integers_read_it() -> None:
    text = (
        f"g (float[N,8] x) => (float y) <{HEAD}> {{ h = Gemm(x, w) r = Relu(h) y = Gemm(r, v) }}"
    )
    plan = planned(named(text))
    assert plan.folded == ("r",)
    assert set(plan.activations) == {"x", "r"}
    last = f"g (float[N,8] x) => (float y) <{HEAD}> {{ h = Gemm(x, w) y = Relu(h) }}"
    assert not planned(named(last)).folded


def test_arm_takes_signed_activations() -> None:
    plan = planned(named(CONV_NET), device="arm64-dotprod")
    assert plan.activations["r1"] == ActivationQuant("int8", plan.activations["r1"].scale, -128)
    assert plan.folded == ("r1", "r2")


@pytest.mark.parametrize(
    ("device", "limit"),
    [("x86-vnni", 127), ("x86-avx512", 63), ("x86-avx2", 63), ("arm64", 127)],
)
def test_weights_have_the_bits_that_the_device_adds_exactly(device: str, limit: int) -> None:
    plan = planned(named(CONV_NET), device=device)
    assert {w.limit for w in plan.weights.values()} == {limit}
    assert {w.axis for w in plan.weights.values()} == {0}


def test_the_method_chooses_the_interval() -> None:
    model = named(CONV_NET)
    found = entry(0, 1)
    wide = TensorRange(**{**vars(found), "affine": {**found.affine, "mse": Interval(0, 2)}})
    narrow = planned(model, {"r1": wide}).activations["r1"].scale
    assert planned(model, {"r1": wide}, method="mse").activations["r1"].scale == pytest.approx(
        2 * narrow, rel=1e-6
    )


def test_reasons_are_kept() -> None:
    plan = planned(named(CONV_NET), keep_float=["c1"], rules=FloatRules(small_product=100))
    assert plan.float_nodes == {
        "c1": "kept in float as asked",
        "m1": "its input is in float",
        "y": "only 80 multiply-adds",
    }


def test_the_plan_goes_through_json() -> None:
    plan = planned(named(CONV_NET), keep_float=["c3"])
    assert QuantPlan.from_json(plan.to_json()) == plan
