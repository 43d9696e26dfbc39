from __future__ import annotations

import json

import pytest

from bmopt.bench.attribution import attribute
from bmopt.graph.origin import set_origin
from tests.bench.profiles import layer, profile
from tests.quantizing import CONV_NET, named, quantized


def test_nodes_that_share_a_kernel_share_a_row() -> None:
    table = attribute(
        profile(
            layer("k1", 50_000.0, "r1", "c1"),
            layer("reorder", 5_000.0, "r1", "c1", op="ReorderOutput"),
            layer("k2", 20_000.0, "m1", op="MaxPool"),
        ),
        named(CONV_NET),
    )
    first, second = table.rows
    assert (first.nodes, first.op, first.name) == (("c1", "r1"), "Conv+Relu", "c1")
    assert first.ns == 55_000.0
    assert [kernel.op for kernel in first.kernels] == ["Conv", "ReorderOutput"]
    assert first.work.macs == 100 * 16 * 72
    assert (second.nodes, second.ns) == (("m1",), 20_000.0)
    assert (table.layers_ns, table.outside_ns, table.unmatched_ns) == (75_000.0, 25_000.0, 0.0)
    assert table.share(first.ns) == 0.55


def test_kernels_that_stand_for_nothing_known_are_shown() -> None:
    table = attribute(
        profile(
            layer("k1", 50_000.0, "c1"), layer("?", 9_000.0), layer("!", 1_000.0, "elsewhere")
        ),
        named(CONV_NET),
    )
    assert [kernel.name for kernel in table.unmatched] == ["?", "!"]
    assert table.unmatched_ns == 10_000.0
    assert table.unattributed_ns == 50_000.0
    assert table.to_dict()["unattributed_share"] == 0.5


def test_rows_are_of_the_original_model() -> None:
    graph = named(CONV_NET)
    set_origin(graph.graph.node("c1"), ["conv", "norm"])
    set_origin(graph.graph.node("r1"), ["relu"])
    source = named(
        "g (float[2] x) => (float[2] relu) { norm = Abs(x) conv = Neg(norm) relu = Relu(conv) }"
    )
    found = profile(layer("k", 1.0, "c1"), layer("l", 2.0, "r1"), layer("m", 4.0, "m1"))
    rows = attribute(found, graph, source=source).rows
    assert [row.nodes for row in rows] == [("norm", "conv"), ("relu",), ("m1",)]
    assert [row.op for row in rows] == ["Abs+Neg", "Relu", ""]


def test_origins_that_overlap_join_their_kernels() -> None:
    graph = named(CONV_NET)
    set_origin(graph.graph.node("r1"), ["c1", "shared"])
    set_origin(graph.graph.node("m1"), ["shared"])
    found = profile(layer("k", 1.0, "c1"), layer("l", 2.0, "r1"), layer("m", 4.0, "m1"))
    (row,) = attribute(found, graph).rows
    assert set(row.nodes) == {"c1", "shared"}
    assert row.ns == 7.0


def test_a_neighbour_s_pair_in_a_kernel_joins_nothing() -> None:
    model, _ = quantized(named(CONV_NET))
    core = model.graph.node("c2")
    dequantizer = core.inputs[0]
    assert dequantizer is not None
    writer = dequantizer.producer()
    assert writer is not None
    assert writer.op_type == "DequantizeLinear"
    set_origin(writer, ["m1"])
    found = profile(layer("a", 1.0, "m1"), layer("b", 2.0, "c2", str(writer.name)))
    rows = attribute(found, model).rows
    assert [row.nodes for row in rows][1] == ("c2",)
    assert "m1" in rows[0].nodes


def test_a_conversion_counts_for_what_it_serves() -> None:
    model, _ = quantized(named(CONV_NET))
    quantizer = next(node for node in model.graph if node.op_type == "QuantizeLinear")
    set_origin(quantizer, ["c1"])
    found = profile(
        layer("q", 1.0, str(quantizer.name), op="QuantizeLinear"),
        layer("k", 2.0, "c1", op="QLinearConv", dtype="uint8"),
    )
    (row,) = attribute(found, model).rows
    assert row.ns == 3.0
    assert row.dtype == "uint8"


def test_the_dtype_is_that_of_what_computes() -> None:
    found = profile(
        layer("q", 9.0, "c1", op="QuantizeLinear", dtype="float"),
        layer("k", 2.0, "c1", op="QLinearConv", dtype="uint8"),
    )
    assert attribute(found, named(CONV_NET)).rows[0].dtype == "uint8"


def test_sizes_are_those_that_were_profiled() -> None:
    found = profile(layer("k", 1.0, "c1"))
    one = attribute(found, named(CONV_NET)).rows[0].work
    five = attribute(found, named(CONV_NET), shapes={"x": (5, 8, 10, 10)}).rows[0].work
    assert five.macs == 5 * (one.macs or 0)


def test_the_table_is_json() -> None:
    table = attribute(profile(layer("k", 50_000.0, "c1"), layer("?", 1.0)), named(CONV_NET))
    document = json.loads(json.dumps(table.to_dict()))
    assert document["rows"][0]["name"] == "c1"
    assert document["rows"][0]["share"] == pytest.approx(0.5)
    assert document["rows"][0]["kernels"][0]["op"] == "Conv"
    assert document["rows"][0]["macs"] == 100 * 16 * 72
    assert document["unmatched"][0]["name"] == "?"
    assert document["layers_ns"] + document["outside_ns"] == document["wall_ns"]


def test_a_profile_of_nothing() -> None:
    table = attribute(profile(wall_ns=0.0), named(CONV_NET))
    assert table.rows == ()
    assert table.share(5.0) == 0.0
