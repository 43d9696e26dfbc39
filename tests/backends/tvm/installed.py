"""Skips tests where TVM is not installed, and compiles small models where it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from bmopt.backends.tvm import probe
from bmopt.backends.tvm.backend import TvmBackend
from bmopt.core.engine import BuildOptions, EngineBuild
from bmopt.core.target import Target

needs_tvm = pytest.mark.skipif(bool(probe.why_not()), reason=probe.why_not() or "TVM is there")

_HEADER = '<ir_version: 8, opset_import: ["" : {opset}, "com.microsoft" : 1]>\n'

RESIDUAL = """
block (float[N, 4, 8, 8] image) => (float[N, 3] logits, float[N, 4, 8, 8] features)
<float[4, 4, 3, 3] w1, float[4] b1, float[4, 4, 1, 1] w2, float[4, 3] w3> {
    [first] c1 = Conv<pads = [1, 1, 1, 1]>(image, w1, b1)
    [second] r1 = Relu(c1)
    [third] c2 = Conv(r1, w2)
    [fourth] a = Add(c2, image)
    [fifth] features = Relu(a)
    [sixth] p = GlobalAveragePool(features)
    [seventh] f = Flatten(p)
    [eighth] logits = MatMul(f, w3)
}
"""


def model_of(text: str, opset: int = 17) -> onnx.ModelProto:
    """Return the model of a graph's text; its weights, if it declares any, are random."""
    model = onnx.parser.parse_model(_HEADER.format(opset=opset) + text)
    random = np.random.default_rng(0)
    declared = list(model.graph.initializer)
    for value in list(model.graph.value_info):
        shape = [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        array = random.standard_normal(shape).astype(np.float32) / 4
        declared.append(onnx.numpy_helper.from_array(array, value.name))
    del model.graph.initializer[:], model.graph.value_info[:]
    model.graph.initializer.extend(declared)
    return model


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    """Write a model into ``folder`` and return its file."""
    path = folder / "model.onnx"
    onnx.save(model, str(path))
    return path


def compiled(path: Path, out: Path, target: str = "tvm-fp32", **options: Any) -> EngineBuild:
    """Compile an ``.onnx`` file into the library ``out``."""
    backend = TvmBackend()
    resolved = backend.resolve(Target.parse(target))
    return backend.builder.build(path, out, resolved, BuildOptions(**options))


def expected(path: Path, feeds: dict[str, Any]) -> dict[str, Any]:
    """Return ONNX Runtime's answer, nothing in the graph rewritten."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(path), options)
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


def distance(answers: dict[str, Any], wanted: dict[str, Any]) -> float:
    """Return the largest difference, as a part of the largest value of its output."""
    assert list(answers) == list(wanted)
    found = [0.0]
    for name, array in wanted.items():
        assert answers[name].shape == array.shape
        assert answers[name].dtype == array.dtype
        scale = np.abs(array).max() or 1.0
        found.append(float(np.abs(answers[name] - array).max() / scale))
    return max(found)
