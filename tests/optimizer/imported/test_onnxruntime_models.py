from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from bmopt.core.imported import to_range_table
from bmopt.graph.model_io import load_model
from bmopt.graph.quantized import is_quantized
from bmopt.graph.values import constant_array
from bmopt.optimizer.imported.importing import import_quantized
from tests.optimizer.imported.quantised_models import (
    QDQ_OPTIONS,
    QOPERATOR,
    QOPERATOR_OPTIONS,
    assert_same_arithmetic,
    by_onnxruntime,
    integers_of,
)
from tests.shared_data import needs_shared, shared_dir

PRODUCTS = ["c1", "c2", "c3", "mm", "y"]


def interface(model: ir.Model) -> list[tuple[str | None, ir.DataType | None]]:
    return [(v.name, v.dtype) for v in (*model.graph.inputs, *model.graph.outputs)]


@pytest.mark.parametrize("options", QDQ_OPTIONS.values(), ids=QDQ_OPTIONS)
def test_qdq_models_keep_their_arithmetic(options: dict[str, Any]) -> None:
    source = by_onnxruntime(**options)
    imported = import_quantized(source)
    assert not is_quantized(imported.model)
    assert is_quantized(source), "the source is not touched"
    assert interface(imported.model) == interface(source)
    assert_same_arithmetic(source, imported)


@pytest.mark.parametrize("options", QOPERATOR_OPTIONS.values(), ids=QOPERATOR_OPTIONS)
def test_ops_on_integers_become_their_float_ops(options: dict[str, Any]) -> None:
    source = by_onnxruntime(quant_format=QOPERATOR, **options)
    assert {node.domain for node in source.graph} == {"", "com.microsoft"}
    imported = import_quantized(source)
    assert not is_quantized(imported.model)
    assert interface(imported.model) == interface(source)
    assert {node.domain for node in imported.model.graph} == {""}
    assert_same_arithmetic(source, imported)


@pytest.mark.parametrize("name", ["per_channel", "uint8_int8", "weight_pairs", "tensorrt"])
def test_weight_scales_are_kept_and_give_the_stored_integers_back(name: str) -> None:
    source = by_onnxruntime(**QDQ_OPTIONS[name])
    imported = import_quantized(source)
    assert sorted(imported.weight_scales) == sorted(PRODUCTS)
    assert imported.keep_float == ()
    assert len(imported.weight_scales["mm"]) == 6
    for node in source.graph:
        if node.name not in PRODUCTS or name in ("weight_pairs", "tensorrt"):
            continue
        weight = node.inputs[1]
        assert weight is not None
        dequantize = weight.producer()
        assert dequantize is not None
        stored, scales = (constant_array(v) for v in dequantize.inputs[:2])
        assert stored is not None
        assert scales is not None
        np.testing.assert_array_equal(integers_of(imported, node.name), stored)
        np.testing.assert_array_equal(
            np.array(imported.weight_scales[node.name], np.float32), scales.reshape(-1)
        )


def test_a_removed_relu_and_a_removed_clip_come_back() -> None:
    source = by_onnxruntime(**QDQ_OPTIONS["uint8_int8"])
    assert "Clip" not in {node.op_type for node in source.graph}
    imported = import_quantized(source)
    (clip,) = (node for node in imported.model.graph if node.op_type == "Clip")
    assert clip.inputs[0] is not None
    producer = clip.inputs[0].producer()
    assert producer is not None
    assert producer.name == "c2"
    relus = [n.inputs[0] for n in imported.model.graph if n.op_type == "Relu"]
    assert "r1" in {v.name for v in relus if v is not None}
    assert "is a Clip now" in imported.notes["k2_QuantizeLinear"]


def test_zero_points_off_the_middle_are_noted() -> None:
    imported = import_quantized(by_onnxruntime(**QDQ_OPTIONS["uint8_uint8"]))
    assert "c1" not in imported.weight_scales
    assert "weight re-encoded: its uint8 zero point is 129" in imported.notes["c1"]
    assert "int32 bias dequantised" in imported.notes["c1"]
    assert imported.notes["x_QuantizeLinear"].startswith("uint8 zero point 143 re-encoded")


def test_a_model_in_tensorrts_style_needs_no_change() -> None:
    imported = import_quantized(by_onnxruntime(**QDQ_OPTIONS["tensorrt"]))
    assert imported.notes == {}
    assert set(imported.tensors) >= {"x", "m1", "k2", "f", "mm"}
    table = to_range_table(imported, "m" * 64)
    for name, entry in imported.tensors.items():
        interval = table.tensors[name].interval("mse", symmetric=True)
        assert interval.high / 127 == entry.scale


def test_products_that_the_source_left_in_float_are_listed() -> None:
    imported = import_quantized(by_onnxruntime(nodes_to_exclude=["c2", "y"], per_channel=True))
    assert imported.keep_float == ("c2", "y")
    assert sorted(imported.weight_scales) == ["c1", "c3", "mm"]


@needs_shared
@pytest.mark.zoo
def test_the_shared_quantised_model_stays_near_in_float() -> None:
    folder = shared_dir()
    assert folder is not None
    source = load_model(folder / "zoo" / "models" / "resnet8_already_int8_qdq.onnx")
    imported = import_quantized(source)
    assert len(imported.weight_scales) == 10
    with np.load(folder / "cifar10" / "cifar10_calib1024.npz") as data:
        images = data["images"][:64].astype(np.float32).transpose(0, 3, 1, 2)
    assert_same_arithmetic(source, imported, {source.graph.inputs[0].name or "": images})
