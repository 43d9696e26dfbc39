from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmopt.calibration.plan import make_plan
from bmopt.calibration.plan_inputs import held_by_float16
from bmopt.core.plan import ActivationQuant, QuantPlan
from bmopt.core.ranges import Interval, TensorRange
from bmopt.errors import QuantizationError
from tests.optimizer.literals import weights
from tests.quantizing import CONV_NET, entry, inputs_scheme, named, table_of

W = weights("w", (8, 8, 3, 3))


def planned(
    model: ir.Model,
    ranges: Mapping[str, TensorRange | None] | None = None,
    precision: str = "int8",
    weight_scales: Mapping[str, tuple[float, ...]] | None = None,
) -> QuantPlan:
    return make_plan(
        model, table_of(model, ranges), inputs_scheme(precision), weight_scales=weight_scales
    )


def scale(plan: QuantPlan, name: str) -> float:
    return plan.activations[name].scale


def test_the_plan_of_a_small_network() -> None:
    plan = planned(named(CONV_NET), {"x": entry(-2.54, 1)})
    assert plan.integer == ("c1", "c2", "c3", "a", "y")
    assert plan.reads == {"c1": (0,), "c2": (0,), "c3": (0,), "a": (0,), "y": (0,)}
    assert set(plan.weights) == {"c1", "c2", "c3", "y"}
    assert set(plan.activations) == {"x", "m1", "c2", "f"}
    assert (plan.folded, plan.moved, plan.scheme) == ((), (), "trt-int8")
    assert plan.activations["x"] == ActivationQuant("int8", float(np.float32(0.02)), 0)
    assert all(weight.bias is None for weight in plan.weights.values())
    assert QuantPlan.from_json(plan.to_json()) == plan


def test_the_method_chooses_the_range() -> None:
    model = named(f"g (float[N,8,6,6] x) => (float y) <{W}> {{ y = Conv(x, w) }}")
    found = entry(-8, 4)
    found = dataclasses.replace(found, symmetric={**found.symmetric, "mse": Interval(-1.27, 1.27)})
    table = table_of(model, {"x": found})
    plan = make_plan(model, table, inputs_scheme(), method="mse")
    assert scale(plan, "x") == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("body", "shape", "axis", "channels"),
    [
        ("Conv(x, w)", (4, 8, 1, 1), 0, 4),
        ("Conv<group=8>(x, w)", (16, 1, 1, 1), 0, 16),
        ("ConvTranspose(x, w)", (8, 4, 1, 1), 1, 4),
        ("ConvTranspose<group=2>(x, w)", (8, 4, 1, 1), 1, 4),
        ("MatMul(x, w)", (6, 3), 1, 3),
        ("MatMul(x, w)", (8, 6, 3), 2, 3),
    ],
)
def test_weights_have_a_scale_per_output_channel(
    body: str, shape: tuple[int, ...], axis: int, channels: int
) -> None:
    text = f"g (float[N,8,6,6] x) => (float y) <{weights('w', shape)}> {{ y = {body} }}"
    found = planned(named(text)).weights["y"]
    assert (found.axis, len(found.scales), found.dtype) == (axis, channels, "int8")


@pytest.mark.parametrize(("transposed", "axis"), [(0, 1), (1, 0)])
def test_gemm_has_its_channels_where_it_says(transposed: int, axis: int) -> None:
    shape = (3, 8) if transposed else (8, 3)
    text = (
        f"g (float[N,8] x) => (float y) <{weights('w', shape)}> "
        f"{{ y = Gemm<transB={transposed}>(x, w) }}"
    )
    assert planned(named(text)).weights["y"].axis == axis


def test_float8_has_one_scale_a_weight() -> None:
    plan = planned(named(CONV_NET), {"x": entry(-448, 1)}, "fp8")
    assert plan.activations["x"] == ActivationQuant("float8e4m3fn", 1.0, 0)
    assert {(w.dtype, w.axis, len(w.scales), w.limit) for w in plan.weights.values()} == {
        ("float8e4m3fn", None, 1, 448)
    }


CONCAT = named(
    f"g (float[N,8,6,6] x) => (float y, float z) <{W}, {weights('u', (8, 16, 1, 1))}> {{"
    " c = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(x, w) r = Relu(c) k = Concat<axis=1>(r, x)"
    " m = MaxPool<kernel_shape=[2,2]>(k) y = Conv(m, u)"
    " q = MaxPool<kernel_shape=[2,2]>(r) z = Conv(q, w) }"
)


def test_what_passes_integers_on_shares_the_widest_range() -> None:
    plan = planned(CONCAT, {"r": entry(0, 1), "x": entry(-3, 2), "q": entry(0, 0.5)})
    assert set(plan.activations) == {"r", "x", "m", "q"}
    assert {found.scale for found in plan.activations.values()} == {float(np.float32(3 / 127))}


def test_tensors_that_meet_in_float_have_their_own_ranges() -> None:
    ranges = {"r": entry(0, 1), "x": entry(-3, 2), "m": entry(0, 4)}
    plan = make_plan(CONCAT, table_of(CONCAT, ranges), inputs_scheme(), keep_float=["k"])
    assert scale(plan, "x") == pytest.approx(3 / 127)
    assert scale(plan, "m") == pytest.approx(4 / 127)
    assert "r" not in plan.activations


@pytest.mark.parametrize(("mode", "shared"), [("nearest", True), ("linear", False)])
def test_an_interpolating_resize_makes_new_values(mode: str, shared: bool) -> None:
    model = named(
        f"g (float[N,8,6,6] x) => (float y, float z) <{W}, float[4] s = {{1, 1, 2, 2}}> {{"
        f' y = Conv(x, w) r = Resize<mode="{mode}">(x, , s) z = Conv(r, w) }}'
    )
    plan = planned(model, {"x": entry(0, 1), "r": entry(0, 2)})
    assert (scale(plan, "x") == scale(plan, "r")) is shared


def test_known_scales_of_a_weight_are_kept() -> None:
    model = named(CONV_NET)
    per_channel = tuple(0.01 * (i + 1) for i in range(16))
    found = planned(model, weight_scales={"c1": (0.5,), "c2": per_channel}).weights
    assert (found["c1"].axis, found["c1"].scales) == (None, (0.5,))
    assert (found["c2"].axis, found["c2"].scales) == (0, per_channel)
    assert found["c3"] == planned(model).weights["c3"]


@pytest.mark.parametrize(
    ("scales", "complaint"),
    [
        ((0.1, 0.2), "2 scales for a weight of 16 output channels"),
        ((0.0,), "not a positive number"),
        ((float("inf"),), "not a positive number"),
        ((float("nan"),), "not a positive number"),
    ],
)
def test_known_scales_have_to_fit(scales: tuple[float, ...], complaint: str) -> None:
    with pytest.raises(QuantizationError, match=f"node 'c1': .*{complaint}"):
        planned(named(CONV_NET), weight_scales={"c1": scales})


@given(st.floats(2**-126, 64, width=32))
def test_float16_holds_every_scale(scale: float) -> None:
    held = held_by_float16(scale)
    assert held >= scale
    assert held <= max(scale * (1 + 2**-9), scale + 2**-24)
    near = float(np.float16(held))
    assert near == pytest.approx(held, rel=2**-11)
    assert near > 0
