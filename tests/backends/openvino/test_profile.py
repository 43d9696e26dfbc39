from __future__ import annotations

import itertools
from pathlib import Path

import onnx
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmopt.backends.openvino.kernels import node_names, nodes_behind, with_absorbed
from bmopt.backends.openvino.profile import event_ns, profile_file
from bmopt.backends.profiled_turns import FEWEST
from bmopt.errors import DataError, ModelError
from bmopt.graph.model_io import load_model, save_model
from tests.backends.openvino.models import ir_of, onnx_file, random
from tests.optimizer.literals import weights
from tests.quantizing import named, quantized

SIZE = 384
NET = f"""g (float[{SIZE},{SIZE}] x) => (float[{SIZE},{SIZE}] y)
    {{ h = MatMul(x, w) r = Relu(h) y = MatMul(r, w) }}"""
WEIGHTS = {"w": random(SIZE, SIZE)}
FEEDS = [{"x": random(SIZE, SIZE, seed=i)} for i in range(3)]
CONV = f"""g (float[N,16,48,48] x) => (float[N,16,48,48] y)
    <{weights("v", (16, 16, 3, 3))}, {weights("u", (16, 16, 3, 3))}>
    {{ c = Conv<pads=[1,1,1,1]>(x, v) r = Relu(c) y = Conv<pads=[1,1,1,1]>(r, u) }}"""

times = st.lists(st.floats(1, 1e6), min_size=1, max_size=20)


@given(times, st.floats(0, 2e7), st.floats(-1e5, 1e5))
def test_what_is_taken_off_has_bounds(kernels: list[float], wanted: float, added: float) -> None:
    found = event_ns(kernels, wanted_ns=wanted, added_ns=added)
    assert -1000 <= found <= max(0.0, added) / len(kernels)
    exact = (sum(kernels) - wanted) / len(kernels)
    if -1000 <= exact <= max(0.0, added) / len(kernels):
        assert found == exact


def test_nothing_is_taken_off_no_kernels() -> None:
    assert event_ns([], wanted_ns=5.0, added_ns=1.0) == 0.0


def test_kernels_make_up_the_latency(tmp_path: Path) -> None:
    path = onnx_file(tmp_path, NET, WEIGHTS)
    first, _, second = (node.name for node in load_model(path).graph)
    found = profile_file(path, FEEDS, threads=1, inferences=40)
    assert (found.engine, found.threads, found.inferences) == ("openvino", 1, 40)
    assert found.wall_ns > found.call_ns > 0
    # Two products of 57 million multiplications each: what is around them is next to nothing.
    # A busy host may be faster while it is watched than while it is not.
    least, most = sorted((found.wall_ns, found.profiled_wall_ns))
    assert 0.8 * least < found.layers_ns < 1.05 * most
    products = [layer for layer in found.layers if set(layer.nodes) & {first, second}]
    assert sum(layer.ns for layer in products) > 0.8 * found.layers_ns
    assert {layer.dtype for layer in products} == {"float"}
    assert all(layer.ns >= 0 for layer in found.layers)
    assert all(layer.profiled_ns > 0 and layer.provider for layer in found.layers)


def test_kernels_stand_for_nodes_by_their_names(tmp_path: Path) -> None:
    path = onnx_file(tmp_path, NET, WEIGHTS, named=True)
    found = profile_file(path, FEEDS, threads=1, inferences=FEWEST)
    names = {name for layer in found.layers for name in layer.nodes}
    assert {"/net/node0", "/net/node2"} <= names <= {f"/net/node{i}" for i in range(3)}


def test_kernels_of_an_ir_stand_for_layers_or_for_nodes(tmp_path: Path) -> None:
    graph = onnx_file(tmp_path, NET, WEIGHTS, named=True)
    path = ir_of(graph)
    layers = profile_file(path, FEEDS, threads=1, inferences=FEWEST).layers
    nodes = profile_file(path, FEEDS, graph=graph, threads=1, inferences=FEWEST).layers
    assert {"/net/node0", "y"} <= {name for layer in layers for name in layer.nodes}
    assert {"/net/node0", "/net/node2"} <= {name for layer in nodes for name in layer.nodes}


def test_integer_kernels_are_told(tmp_path: Path) -> None:
    path = tmp_path / "q.onnx"
    save_model(quantized(named(CONV))[0], path)
    feeds = [{"x": random(1, 16, 48, 48)}]
    found = profile_file(path, feeds, threads=1, inferences=20)
    convolutions = [layer for layer in found.layers if set(layer.nodes) & {"c", "y"}]
    assert len(convolutions) == 2
    assert {layer.dtype for layer in convolutions} <= {"uint8", "int8"}


def test_parts_of_a_node_are_its_own(tmp_path: Path) -> None:
    path = onnx_file(tmp_path, NET, WEIGHTS, named=True)
    names = node_names(load_model(path))
    assert nodes_behind(["/net/node0/WithoutBiases", "r", "/net/node1"], names) == (
        *("/net/node0", "/net/node1"),
    )
    assert nodes_behind(["Multiply_17", "/net", "/net/node9"], names) == ()


def test_time_ends_a_profile_but_not_below_the_fewest(tmp_path: Path) -> None:
    slow = itertools.count(0, 10**9)
    found = profile_file(
        onnx_file(tmp_path, NET, WEIGHTS),
        FEEDS,
        threads=1,
        inferences=40,
        seconds=1.0,
        clock=lambda: next(slow),
    )
    assert found.inferences == FEWEST


def test_what_cannot_be_profiled(tmp_path: Path) -> None:
    path = onnx_file(tmp_path, NET, WEIGHTS)
    with pytest.raises(DataError, match="at least one sample"):
        profile_file(path, [])
    with pytest.raises(DataError, match="cannot run these inputs"):
        profile_file(path, [{"x": random(2, 2)}])
    with pytest.raises(ModelError, match="no such file"):
        profile_file(tmp_path / "none.xml", FEEDS)


def test_a_node_that_was_folded_away_counts_for_the_kernel_that_took_it_over() -> None:
    text = """
        <ir_version: 8, opset_import: ["" : 17]>
        g (float[1, 4] x) => (float[1, 4] y, float[1, 4] z) {
            [a] p = Abs (x)
            [b] q = Neg (p)
            [c] y = Relu (q)
            [d] s = Exp (p)
            [e] z = Relu (s)
        }
    """
    model = ir.from_proto(onnx.parser.parse_model(text))
    found = with_absorbed(model, [("c",), ("e",)])
    assert found == [("b", "c"), ("d", "e")], "a has two readers with kernels of their own"
