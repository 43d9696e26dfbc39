from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmopt.backends.onnxruntime.profile import event_cost, profile_model
from bmopt.backends.onnxruntime.trace import NodeEvents, NodeKey
from bmopt.backends.profiled_turns import FEWEST
from bmopt.errors import DataError
from tests.optimizer.literals import weights
from tests.quantizing import named

NET = f"""g (float[64,64] x) => (float[64,64] y) <{weights("w", (64, 64))}>
    {{ h = MatMul(x, w) r = Relu(h) y = MatMul(r, w) }}"""
FEEDS = [{"x": np.full((64, 64), i, np.float32)} for i in range(3)]


def entry(time_ns: float, events: float = 1.0) -> NodeEvents:
    return NodeEvents(NodeKey("n", "Relu", "0"), "CPU", "float", time_ns, events)


def left(entries: list[NodeEvents], cost: float) -> float:
    return sum(max(0.0, e.median_ns - cost * e.events) for e in entries)


times = st.lists(st.tuples(st.floats(1, 1e6), st.integers(1, 9)), min_size=1, max_size=20)


@given(times, st.floats(0, 1))
def test_the_cost_makes_layers_add_up(pairs: list[tuple[float, int]], share: float) -> None:
    entries = [entry(time, events) for time, events in pairs]
    wanted = share * sum(time for time, _ in pairs)
    cost = event_cost(entries, wanted_ns=wanted, least_ns=0.0, added_ns=1e12)
    assert left(entries, cost) == pytest.approx(wanted, rel=1e-3, abs=20.0)


@given(times, st.floats(0, 1e6), st.floats(0, 1e4), st.floats(-1e6, 1e6))
def test_the_cost_keeps_within_its_bounds(
    pairs: list[tuple[float, int]], wanted: float, least: float, added: float
) -> None:
    entries = [entry(time, events) for time, events in pairs]
    cost = event_cost(entries, wanted_ns=wanted, least_ns=least, added_ns=added)
    share = added / sum(events for _, events in pairs)
    assert least <= cost <= max(least, share)


def test_a_real_session() -> None:
    found = profile_model(named(NET), FEEDS, threads=1, inferences=40, seconds=5.0)
    assert found.inferences == 40
    assert found.profiled_wall_ns > found.wall_ns > 0
    assert found.event_ns > 0
    assert all(layer.provider == "CPUExecutionProvider" for layer in found.layers)
    assert {layer.dtype for layer in found.layers} == {"float"}
    assert {name for layer in found.layers for name in layer.nodes} == {"h", "r", "y"}
    assert all(0 <= layer.ns <= layer.profiled_ns for layer in found.layers)
    products = [layer for layer in found.layers if set(layer.nodes) & {"h", "y"}]
    assert len(products) == 2
    assert sum(layer.ns for layer in products) > 0
    document = found.to_dict()
    assert document["layers_ns"] == pytest.approx(sum(e["ns"] for e in document["layers"]))


def test_time_ends_a_profile_but_not_below_the_fewest() -> None:
    slow = itertools.count(0, 10**9)
    found = profile_model(
        named(NET), FEEDS, threads=1, inferences=40, seconds=1.0, clock=lambda: next(slow)
    )
    assert found.inferences == FEWEST


def test_no_inputs_are_refused() -> None:
    with pytest.raises(DataError, match="at least one sample"):
        profile_model(named(NET), [])


def test_inputs_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="cannot run these inputs"):
        profile_model(named(NET), [{"x": np.zeros((2, 2), np.float32)}])
