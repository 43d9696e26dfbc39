from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from bmopt.core.plan import ActivationQuant, WeightQuant
from bmopt.graph.origin import origin_of
from bmopt.graph.values import constant_array
from bmopt.optimizer.qdq import QdqWriter
from bmopt.optimizer.rewrite import share_names
from tests.quantizing import named
from tests.rewriting import structure

QUANT = ActivationQuant("uint8", 0.5, 3)
PAIR = "UINT8[]3."


def opened(text: str) -> tuple[ir.Model, QdqWriter]:
    model = named(text)
    share_names(model)
    return model, QdqWriter(model.graph)


def test_a_pair_behind_a_node_is_read_by_all_and_keeps_the_outputs_name() -> None:
    model, writer = opened("g (float x) => (float c, float y) { c = Neg(x) y = Relu(c) }")
    producer = model.graph.node("c")
    writer.pair_behind(producer.outputs[0], QUANT, producer)
    assert structure(model) == [
        "in x",
        "%3 = Neg(x) {}",
        f"%4 = QuantizeLinear(%3, FLOAT[]0.5, {PAIR}) {{}}",
        f"c = DequantizeLinear(%4, FLOAT[]0.5, {PAIR}) {{}}",
        "y = Relu(c) {}",
        "out c",
        "out y",
    ]
    assert all(origin_of(node) == ("c",) for node in list(model.graph)[:3])


def test_a_pair_for_some_readers_leaves_the_others() -> None:
    model, writer = opened("g (float x) => (float y, float z) { y = Add(x, x) z = Relu(x) }")
    writer.pair_for(model.graph.inputs[0], QUANT, [(model.graph.node("y"), 1)])
    assert structure(model)[3:5] == ["y = Add(x, %4) {}", "z = Relu(x) {}"]
    writer.pair_for(model.graph.inputs[0], QUANT, [])
    assert len(list(model.graph)) == 4


def test_equal_constants_are_shared() -> None:
    model, writer = opened("g (float x) => (float y) { c = Neg(x) y = Relu(c) }")
    for name in ("c", "y"):
        node = model.graph.node(name)
        writer.pair_behind(node.outputs[0], QUANT, node)
    assert len(model.graph.initializers) == 2


@pytest.mark.parametrize(
    ("quant", "stored"),
    [
        (WeightQuant(1, "int8", 1, (0.5, 0.25)), [[2, -4], [-127, 127]]),
        (WeightQuant(1, "int8", 1, (0.5, 0.25), limit=63), [[2, -4], [-63, 63]]),
        (WeightQuant(1, "int8", None, (0.5,)), [[2, -2], [-127, 127]]),
        (WeightQuant(1, "int8", None, (0.5,), limit=128), [[2, -2], [-128, 127]]),
        (WeightQuant(1, "uint8", None, (0.5,)), [[130, 126], [1, 255]]),
        (WeightQuant(1, "uint8", None, (0.5,), limit=128), [[130, 126], [0, 255]]),
        (WeightQuant(1, "float8e4m3fn", None, (0.25,), limit=448), [[4, -4], [-384, 384]]),
    ],
)
def test_a_weight_is_rounded_and_clipped(quant: WeightQuant, stored: list[list[int]]) -> None:
    model, writer = opened(
        "g (float[N,2] x) => (float[N,2] y) <float[2,2] w = {1, -1, -99, 99}> { y = MatMul(x, w) }"
    )
    node = model.graph.node("y")
    writer.quantize_weight(node, quant, 0.1)
    dequantize = node.inputs[1].producer()  # type: ignore[union-attr]
    assert dequantize is not None
    assert dequantize.op_type == "DequantizeLinear"
    assert dequantize.attributes.get_int("axis", -1) == (-1 if quant.axis is None else 1)
    found = constant_array(dequantize.inputs[0])
    assert found is not None
    assert found.dtype.name.replace("_", "") == quant.dtype
    assert found.astype(np.float32).tolist() == stored


@pytest.mark.parametrize("bias", ["float[2] b = {1, -2}", "float[1,2] b = {1, -2}"])
def test_a_bias_is_stored_at_the_products_scale(bias: str) -> None:
    model, writer = opened(
        f"g (float[N,2] x) => (float[N,2] y) <float[2,2] w = {{1, -1, 2, 3}}, {bias}> "
        "{ y = Gemm(x, w, b) }"
    )
    node = model.graph.node("y")
    writer.quantize_weight(node, WeightQuant(1, "int8", 1, (0.5, 0.25), bias=2), 0.1)
    dequantize = node.inputs[2].producer()  # type: ignore[union-attr]
    assert dequantize is not None
    stored, scales, _ = (constant_array(value) for value in dequantize.inputs)
    assert stored is not None
    assert stored.dtype == np.int32
    assert stored.tolist() == [20, -80]
    np.testing.assert_allclose(np.asarray(scales), [0.05, 0.025], rtol=1e-6)


def test_one_weight_read_twice_is_stored_once() -> None:
    model, writer = opened(
        "g (float[N,2] x) => (float[N,2] y) <float[2,2] w = {1, -1, 2, 3}> "
        "{ h = MatMul(x, w) y = MatMul(h, w) }"
    )
    quant = WeightQuant(1, "int8", 1, (0.5, 0.25))
    for name in ("h", "y"):
        writer.quantize_weight(model.graph.node(name), quant, 0.1)
    kinds = [node.op_type for node in model.graph]
    assert kinds == ["DequantizeLinear", "MatMul", "MatMul"]
