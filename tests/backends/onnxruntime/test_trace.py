from __future__ import annotations

from typing import Any

import pytest

from bmopt.backends.onnxruntime.trace import Event, node_events


def kernel(name: str, start: float, took: float, op: str = "Relu", index: str = "0") -> Event:
    args: dict[str, Any] = {"op_name": op, "node_index": index, "provider": "CPU"}
    args["input_type_shape"] = [{"float": [1, 2]}, {"int64": [1]}]
    return {
        "cat": "Node",
        "name": f"{name}_kernel_time",
        "ts": start,
        "dur": took,
        "args": args,
    }


def run(start: float, took: float) -> Event:
    return {"cat": "Session", "name": "model_run", "ts": start, "dur": took, "args": {}}


def test_medians_are_finer_than_a_microsecond() -> None:
    events = []
    for index, took in enumerate([5, 5, 5, 6]):
        events += [kernel("a", 100.0 * index + 1, took), run(100.0 * index, 50)]
    (found,) = node_events(events, 4)
    # Three of four values lie between 5 and 6: the middle is two thirds of the way.
    assert found.median_ns == pytest.approx(5000 + 1000 * 2 / 3)
    assert (found.key.name, found.key.op, found.dtype, found.events) == ("a", "Relu", "float", 1.0)


def test_warm_up_is_left_out() -> None:
    events = [run(0, 50), kernel("a", 1, 40), run(100, 50), kernel("a", 101, 4)]
    assert node_events(events, 1)[0].median_ns == 4500


def test_nodes_come_in_the_order_they_run() -> None:
    events = [run(0, 50), kernel("b", 20, 1), kernel("a", 10, 1)]
    assert [entry.key.name for entry in node_events(events, 1)] == ["a", "b"]


def test_a_body_s_time_is_not_its_loop_s() -> None:
    events = [run(0, 200), kernel("loop", 10, 100, "Loop"), kernel("after", 111, 7, index="1")]
    events += [kernel("inner", 20 + 30 * i, 10, "Add") for i in range(3)]
    found = {entry.key.name: entry for entry in node_events(events, 1)}
    assert {name: entry.median_ns for name, entry in found.items()} == {
        "loop": 70500,
        "inner": 30500,
        "after": 7500,
    }
    assert {name: entry.events for name, entry in found.items()} == {
        "loop": 4.0,
        "inner": 3.0,
        "after": 1.0,
    }


def test_a_node_that_ran_in_few_inferences_has_a_median_of_all() -> None:
    events = [run(100.0 * i, 50) for i in range(3)] + [kernel("branch", 101, 9)]
    assert node_events(events, 3)[0].median_ns < 1000


def test_same_names_are_told_apart_by_their_indices() -> None:
    events = [run(0, 50), kernel("a", 1, 2, index="3"), kernel("a", 9, 4, index="5")]
    assert [entry.median_ns for entry in node_events(events, 1)] == [2500, 4500]


def test_nothing_ran() -> None:
    assert node_events([], 5) == []
    assert node_events([kernel("a", 1, 2)], 5) == []


def test_a_node_without_inputs_has_no_type() -> None:
    event = kernel("a", 1, 2)
    event["args"]["input_type_shape"] = []
    assert node_events([run(0, 9), event], 1)[0].dtype == ""
