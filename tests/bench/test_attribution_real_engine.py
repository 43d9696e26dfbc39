"""The demo's model, as it is and compiled to INT8, profiled on ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import onnx_ir as ir
import pytest

from bmopt.backends.onnxruntime.profile import profile_model
from bmopt.bench.attribution import attribute
from bmopt.bench.layer_table import LayerRow, LayerTable
from bmopt.bench.peaks import measure_peaks
from bmopt.bench.roofline import roofline, working_set_bytes
from bmopt.core.runner import Feeds
from bmopt.graph.model_io import load_model
from tests.workflow.demo_runs import DEMO, compile_demo, images

PRODUCTS = {"Conv", "Gemm"}


def tabled(model: ir.Model, source: ir.Model) -> LayerTable:
    feeds: list[Feeds] = [{"image": image[None]} for image in images(8)]
    found = profile_model(model, feeds, threads=1, inferences=60, seconds=5.0)
    return attribute(found, model, source=source, shapes={"image": (1, 1, 16, 16)})


@pytest.fixture(scope="module")
def source() -> ir.Model:
    return load_model(DEMO.model)


@pytest.fixture(scope="module")
def float_table(source: ir.Model) -> LayerTable:
    return tabled(source, source)


@pytest.fixture(scope="module")
def integer_table(source: ir.Model, tmp_path_factory: pytest.TempPathFactory) -> LayerTable:
    folder: Path = tmp_path_factory.mktemp("demo") / "artifact"
    compile_demo(folder)
    return tabled(load_model(folder / "model.onnx"), source)


@pytest.fixture(params=["float", "integer"])
def table(request: pytest.FixtureRequest) -> LayerTable:
    found = request.getfixturevalue(f"{request.param}_table")
    assert isinstance(found, LayerTable)
    return found


def rows_by_node(table: LayerTable) -> dict[str, LayerRow]:
    return {name: row for row in table.rows for name in row.nodes}


def test_every_node_of_the_model_is_in_one_row(table: LayerTable, source: ir.Model) -> None:
    named = [name for row in table.rows for name in row.nodes]
    assert sorted(named) == sorted(str(node.name) for node in source.graph)


def test_every_convolution_and_product_takes_time(table: LayerTable, source: ir.Model) -> None:
    rows = rows_by_node(table)
    for node in source.graph:
        row = rows[str(node.name)]
        if node.op_type in PRODUCTS:
            assert sum(op in PRODUCTS for op in row.ops) == 1
            assert row.work.macs
        if node.op_type == "Conv":
            assert row.ns > 0


def test_every_kernel_stands_for_something(table: LayerTable) -> None:
    assert table.unmatched == ()
    assert table.layers_ns > 0
    # The layers cannot take much longer than the inference that they make up.
    assert table.layers_ns < 2 * table.wall_ns


def test_the_large_convolutions_take_most_of_it(table: LayerTable) -> None:
    longest = sorted(table.rows, key=lambda row: -row.ns)[:3]
    assert {"left_conv", "right_conv"} <= {row.name for row in longest}


def test_the_artifact_computes_in_integers(
    float_table: LayerTable, integer_table: LayerTable
) -> None:
    before, after = rows_by_node(float_table), rows_by_node(integer_table)
    for name in ("left_conv", "right_conv", "head_conv"):
        assert (before[name].dtype, after[name].dtype) == ("float", "uint8")
        assert before[name].work.macs == after[name].work.macs
        assert (after[name].work.bytes or 0) < 0.5 * (before[name].work.bytes or 0)


def test_under_the_roof(table: LayerTable) -> None:
    peaks = measure_peaks(
        1, working_set_bytes(table), milliseconds=0.5, repetitions=40, memory_buffer_bytes=1 << 24
    )
    found = roofline(table, peaks)
    rows = {row.layer.name: row for row in found.rows}
    assert rows["left_conv"].bound == "compute"
    assert rows["flatten"].bound == "overhead" or rows["flatten"].layer.ns < 200
    assert all(row.bound != "unknown" for row in found.rows)
    assert 0 < found.attainable_ns <= table.layers_ns
