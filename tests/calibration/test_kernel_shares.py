from __future__ import annotations

import onnx_ir as ir
import pytest

from bmopt.calibration.kernel_shares import Shares, share_kernels
from bmopt.calibration.latency_estimate import Observation, border_latencies, group_latencies
from bmopt.calibration.plan import make_plan
from bmopt.calibration.toggles import Toggles, toggles_of
from bmopt.core.profile import LayerTime
from bmopt.optimizer.passes.quantize import Quantize
from tests.quantizing import CONV_NET, named, scheme, table_of


def kernel(op: str, node: str, ns: float, *nodes: str) -> LayerTime:
    return LayerTime(node, op, "CPU", "", nodes or (node,), ns, ns)


def graph_and_toggles(keep_float: tuple[str, ...] = ()) -> tuple[ir.Graph, Toggles]:
    """Return a quantised graph, and what could be switched in the float one."""
    model = named(CONV_NET)
    table = table_of(model)
    everything = make_plan(model, table, scheme())
    plan = make_plan(model, table, scheme(), keep_float=keep_float)
    return Quantize(plan)(model.clone()).model.graph, toggles_of(model, everything, scheme())


def shared(*layers: LayerTime, keep_float: tuple[str, ...] = ()) -> Shares:
    graph, toggles = graph_and_toggles(keep_float)
    return share_kernels(layers, graph, toggles)


def test_a_kernel_counts_for_the_group_of_what_it_stands_for() -> None:
    found = shared(kernel("QLinearConv", "c1_token_1", 10.0, "r1_quantized_QuantizeLinear", "c1"))
    assert found == Shares(own={"c1": 10.0})


def test_of_several_groups_the_products_have_it() -> None:
    assert shared(kernel("Conv", "c3_nchwc", 9.0, "c3", "a", "r2")).own == {"c3": 9.0}
    works = 16 * 16 * 25, 16 * 9 * 25
    both = shared(kernel("Conv", "fused", 100.0, "c2", "c3")).own
    assert both["c2"] / both["c3"] == pytest.approx(works[0] / works[1])
    assert shared(kernel("Pool", "fused", 4.0, "p", "f")).own == {"p": 2.0, "f": 2.0}


def test_conversions_count_for_their_tensor() -> None:
    found = shared(
        kernel("QuantizeLinear", "x_quantized_QuantizeLinear", 3.0),
        kernel("DequantizeLinear", "r2_dequantized_DequantizeLinear", 2.0),
    )
    assert found == Shares(quantize={"x": 3.0}, dequantize={"r2": 2.0})


def test_a_conversion_that_moved_past_a_mover_counts_for_what_that_reads_or_writes() -> None:
    found = shared(
        kernel("QuantizeLinear", "moved", 3.0, "m1"), kernel("DequantizeLinear", "too", 2.0, "m1")
    )
    assert found == Shares(quantize={"r1": 3.0}, dequantize={"m1": 2.0})


def test_layout_changes_are_before_or_after_the_kernel_that_they_serve() -> None:
    found = shared(
        kernel("Transpose", "Transpose", 1.0, "c1"),
        kernel("QLinearConv", "c1", 10.0, "c1"),
        kernel("Transpose", "Transpose_token_2", 2.0, "c1"),
        kernel("ReorderInput", "ReorderInput", 4.0, "c2"),
        kernel("Conv", "c2_nchwc", 20.0, "c2"),
        kernel("ReorderOutput", "ReorderOutput", 8.0, "c2"),
    )
    assert found.before == {"c1": 1.0, "c2": 4.0}
    assert found.after == {"c1": 2.0, "c2": 8.0}
    assert found.own == {"c1": 10.0, "c2": 20.0}


def test_everything_else_is_the_rest() -> None:
    assert shared(kernel("Softmax", "elsewhere", 5.0)) == Shares(rest=5.0)


def observed() -> tuple[Toggles, list[Observation]]:
    """Return made-up shares of all in float, all in integers, and `c2` in float between them."""
    _, toggles = graph_and_toggles()
    own = dict.fromkeys(toggles.groups, 10.0)
    in_float = Shares(own=own, before={"c1": 1.0}, after={"c2": 2.0})
    in_int = Shares(
        own=dict.fromkeys(toggles.groups, 4.0),
        before={"c1": 3.0, "y": 0.5},
        quantize={"x": 5.0},
        dequantize={"y": 6.0},
    )
    between = Shares(
        own=own,
        before={"c3": 7.0},
        after={"c2": 12.0},
        quantize={"c2": 20.0},
        dequantize={"m1": 8},
    )
    everything = frozenset(toggles.groups)
    return toggles, [
        Observation(frozenset(), in_float),
        Observation(everything, in_int),
        Observation(everything - {"c2"}, between),
    ]


def test_group_times_have_the_layouts_that_always_come_with_them() -> None:
    toggles, seen = observed()
    found = group_latencies(toggles, seen[0], seen[1])
    assert (found["c1"].float_ns, found["c1"].int_ns) == (11.0, 4.0)
    assert (found["c2"].float_ns, found["c2"].int_ns) == (12.0, 4.0)
    assert (found["y"].float_ns, found["y"].int_ns) == (10.0, 4.5)
    assert found["m1"].needs == ("c1",)


def test_border_times_are_conversions_and_the_layouts_that_come_on_top() -> None:
    toggles, seen = observed()
    found = border_latencies(toggles, seen, {})
    assert found["x"].quantize_ns == pytest.approx(4.0)  # median of 5 + 3 there, and 0
    assert found["c2"].quantize_ns == 20.0 + 7.0 + (12.0 - 2.0)
    assert found["m1"].dequantize_ns == 8.0
    assert found["y"].dequantize_ns == pytest.approx(3.0)
    assert found["x"].dequantize_ns == 0.0


def test_borders_that_never_were_seen_cost_by_their_size() -> None:
    toggles, seen = observed()
    sizes = dict.fromkeys(toggles.borders, 100) | {"r1": 1000}
    found = border_latencies(toggles, seen, sizes)
    assert found["r1"].quantize_ns == pytest.approx(10 * found["r2"].quantize_ns)
    assert found["r1"].dequantize_ns == pytest.approx(10 * found["r2"].dequantize_ns)
    assert found["r1"].quantize_ns > 0.0


def test_a_conversion_stuck_between_integers_is_part_of_the_writer() -> None:
    toggles, seen = observed()
    seen[1].shares.quantize["r1"] = 2.5
    assert group_latencies(toggles, seen[0], seen[1])["c1"].int_ns == 4.0 + 2.5
