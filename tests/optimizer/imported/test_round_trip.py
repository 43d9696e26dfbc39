"""Q/DQ as bmopt writes it for TensorRT -> import -> plan -> Q/DQ: the same integers and scales."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from bmopt.calibration.plan import make_plan
from bmopt.core.plan import QuantPlan
from bmopt.graph.model_io import load_model
from bmopt.graph.values import constant_array
from bmopt.optimizer.imported.importing import import_quantized
from bmopt.optimizer.passes.quantize import Quantize
from tests.optimizer.imported.quantised_models import (
    NET,
    QDQ_OPTIONS,
    by_onnxruntime,
    planned_again,
    stored_weights,
)
from tests.quantizing import CONV_NET, inputs_scheme, measured, named, quantized, samples_for
from tests.rewriting import run_plain
from tests.shared_data import needs_shared, shared_dir


def stored(model: ir.Model) -> dict[str, bytes]:
    """Return the integers of every weight by the product that reads them."""
    return {name: array.tobytes() for name, array in stored_weights(model).items()}


def again(model: ir.Model, precision: str = "int8") -> tuple[ir.Model, QuantPlan]:
    stored_type = inputs_scheme(precision).weight.dtype
    return planned_again(import_quantized(model, stored_type), precision)


@pytest.mark.parametrize("precision", ["int8", "fp8"])
@pytest.mark.parametrize("text", [CONV_NET, NET], ids=["conv", "mixed"])
def test_our_own_pairs_come_back_bit_for_bit(text: str, precision: str) -> None:
    model = named(text, opset=19)
    table = measured(model, samples_for(model))
    plan = make_plan(model, table, inputs_scheme(precision), method="mse")
    written = Quantize(plan)(model.clone()).model
    written_again, second = again(written, precision)
    assert len(stored(written)) >= 3
    assert stored(written_again) == stored(written)
    assert second.weights == plan.weights
    assert second.activations == plan.activations
    assert second.reads == plan.reads
    feeds = {k: v[:2] for k, v in samples_for(model, seed=5).items()}
    for want, got in zip(run_plain(written, feeds), run_plain(written_again, feeds), strict=True):
        np.testing.assert_array_equal(got, want)


def test_our_pairs_for_onnxruntime_keep_their_weights() -> None:
    model, plan = quantized(named(CONV_NET))
    written, second = again(model)
    shared = stored(model).keys() & stored(written).keys()
    assert len(shared) >= 3
    for name in shared:
        assert stored(written)[name] == stored(model)[name]
        assert second.weights[name].scales == plan.weights[name].scales


@pytest.mark.parametrize("name", ["tensorrt", "symmetric", "uint8_int8"])
def test_models_of_onnxruntime_take_tensorrts_placement(name: str) -> None:
    written, plan = again(by_onnxruntime(**QDQ_OPTIONS[name]))
    assert set(plan.weights) >= {"c2"}
    for quant in plan.activations.values():
        assert (quant.dtype, quant.zero_point) == ("int8", 0)
    biases = [n.inputs[2] for n in written.graph if n.op_type == "Conv" and n.inputs[2:]]
    assert [v is not None and v.dtype for v in biases] == [ir.DataType.FLOAT] * 2
    assert all(constant_array(v) is not None for v in biases)


@needs_shared
@pytest.mark.zoo
def test_the_shared_model_keeps_every_weight() -> None:
    folder = shared_dir()
    assert folder is not None
    source = load_model(folder / "zoo" / "models" / "resnet8_already_int8_qdq.onnx")
    written, plan = again(source)
    assert len(plan.weights) >= 8
    assert all(stored(written)[name] == stored(source)[name] for name in plan.weights)
