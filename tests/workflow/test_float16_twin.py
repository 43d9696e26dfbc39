"""The float16 network that an 8-bit artifact's engine is timed against."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from bmopt.calibration.casting import make_cast_plan
from bmopt.core.runner import Array
from bmopt.graph.model_io import save_model
from bmopt.optimizer.passes.cast_float import CastFloat
from bmopt.workflow.building import float16_twin
from tests.engine import PlainRunner
from tests.quantizing import sqnr_db
from tests.workflow.demo_runs import DEMO, compile_demo, images

SAMPLES = images(16)


def assert_is_twin(twin: ir.Model, feed: Array, decibels: float) -> None:
    """Check that ``twin`` is the demo's model in float16, but for the rounding of weights."""
    types = {node.op_type for node in twin.graph}
    assert not {"QuantizeLinear", "DequantizeLinear"} & types
    convolutions = [node for node in twin.graph if node.op_type == "Conv"]
    assert convolutions
    assert {node.outputs[0].dtype for node in convolutions} == {ir.DataType.FLOAT16}
    (want,) = PlainRunner(ir.load(DEMO.model)).run({"image": SAMPLES}).values()
    (got,) = PlainRunner(twin).run({"image": feed}).values()
    assert got.dtype == feed.dtype
    assert sqnr_db(want, got.astype(np.float32)) > decibels


@pytest.mark.parametrize("float_type", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize(("target", "decibels"), [("trt-int8", 25.0), ("trt-fp8", 20.0)])
def test_the_twin_computes_what_the_source_does(
    tmp_path: Path, target: str, decibels: float, float_type: str
) -> None:
    out = tmp_path / "out"
    compile_demo(out, target=target, float_type=float_type, metric="none")
    assert_is_twin(float16_twin(out), SAMPLES, decibels)


def test_the_twin_keeps_half_precision_inputs(tmp_path: Path) -> None:
    compile_demo(tmp_path / "out", target="trt-int8", metric="none")
    model = ir.load(tmp_path / "out" / "model.onnx")
    cast = make_cast_plan(model, "float16", table=None, keep_io=False, model_digest="m" * 64)
    half = CastFloat(cast)(model)
    (tmp_path / "half").mkdir()
    save_model(half.model, tmp_path / "half" / "model.onnx")
    assert_is_twin(float16_twin(tmp_path / "half"), SAMPLES.astype(np.float16), 25.0)
