"""Range tables, schemes and plans for tests: nodes are named after their first output."""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort

from bmopt.backends.nvinfer.schemes import scheme_for
from bmopt.backends.onnxruntime.schemes import SCHEMES
from bmopt.calibration.collect import collect_ranges
from bmopt.calibration.plan import make_plan
from bmopt.core.plan import QuantPlan
from bmopt.core.ranges import METHODS, Interval, RangeTable, TensorRange
from bmopt.core.runner import Array
from bmopt.core.scheme import FloatRules, Scheme
from bmopt.graph.model_digest import model_digest
from bmopt.optimizer.passes.quantize import Quantize
from tests.calibration.memory_dataset import MemoryDataset
from tests.engine import PlainRunner
from tests.optimizer.literals import weights
from tests.rewriting import parse

CONV_NET = f"""
g (float[N,8,10,10] x) => (float[N,5] y)
  <{weights("w1", (16, 8, 3, 3))}, {weights("b1", (16,))},
   {weights("w2", (16, 16, 1, 1))}, {weights("b2", (16,))},
   {weights("w3", (16, 1, 3, 3))},
   {weights("wf", (5, 16))}, {weights("bf", (5,))}>
{{
  c1 = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(x, w1, b1)
  r1 = Relu(c1)
  m1 = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r1)
  c2 = Conv<kernel_shape=[1,1]>(m1, w2, b2)
  c3 = Conv<kernel_shape=[3,3], pads=[1,1,1,1], group=16>(c2, w3)
  a = Add(c2, c3)
  r2 = Relu(a)
  p = GlobalAveragePool(r2)
  f = Flatten(p)
  y = Gemm<transB=1>(f, wf, bf)
}}
"""
"""Conv+Relu, MaxPool, pointwise, depthwise, residual Add+Relu, pool, Gemm."""


def named(text: str, opset: int = 17) -> ir.Model:
    """Parse ``text``; every node is named after its first output and originates from itself."""
    model = parse(text, opset)
    for node in model.graph.all_nodes():
        node.name = node.outputs[0].name
        node.metadata_props.clear()
    return parse_again(model)


def parse_again(model: ir.Model) -> ir.Model:
    """Stamp origins by the nodes' present names."""
    from bmopt.graph.origin import stamp_origins

    stamp_origins(model)
    return model


def scheme(device: str = "x86-vnni", rules: FloatRules | None = None) -> Scheme:
    """Return a device's scheme with its rules off, or others."""
    return dataclasses.replace(SCHEMES[device], rules=rules or FloatRules())


def inputs_scheme(
    precision: str = "int8", rules: FloatRules | None = None, engine: str = "trt"
) -> Scheme:
    """Return a scheme with Q/DQ before inputs, its rules off, or others."""
    return dataclasses.replace(scheme_for(engine, precision), rules=rules or FloatRules())


def entry(low: float, high: float, infinities: int = 0) -> TensorRange:
    bound = max(-low, high)
    return TensorRange(
        low=low,
        high=high,
        count=10,
        affine=dict.fromkeys(METHODS, Interval(low, high)),
        symmetric=dict.fromkeys(METHODS, Interval(-bound, bound)),
        infinities=infinities,
    )


def table_of(
    model: ir.Model,
    ranges: Mapping[str, TensorRange | None] | None = None,
    digest: str = "m" * 64,
) -> RangeTable:
    """Return [-1, 1] for every tensor (a Relu's output: [0, 1]) but for those in ``ranges``."""
    tensors = {value.name or "": entry(-1.0, 1.0) for value in model.graph.inputs}
    for node in model.graph:
        low = 0.0 if node.op_type == "Relu" else -1.0
        tensors |= {out.name or "": entry(low, 1.0) for out in node.outputs}
    for name, found in (ranges or {}).items():
        if found is None:
            del tensors[name]
        else:
            tensors[name] = found
    return RangeTable(digest, "d" * 64, 10, tensors)


def samples_for(model: ir.Model, count: int = 32, seed: int = 0) -> dict[str, Array]:
    """Return normally distributed samples for inputs with a leading sample axis."""
    rng = np.random.default_rng(seed)
    shapes = {
        v.name or "": [d if isinstance(d, int) else 3 for d in list(v.shape or [])[1:]]
        for v in model.graph.inputs
        if not v.is_initializer()
    }
    return {n: rng.standard_normal([count, *s]).astype(np.float32) for n, s in shapes.items()}


def measured(model: ir.Model, samples: Mapping[str, Array]) -> RangeTable:
    """Calibrate on ``samples``."""
    return collect_ranges(
        model,
        MemoryDataset(samples),
        PlainRunner,
        model_digest=model_digest(model),
        batch_size=8,
    )


def quantized(
    model: ir.Model,
    *,
    device: str = "x86-vnni",
    rules: FloatRules | None = None,
    keep_float: Sequence[str] = (),
    seed: int = 0,
    wanted: Scheme | None = None,
) -> tuple[ir.Model, QuantPlan]:
    """Return a quantised copy, calibrated on seeded samples, and its plan."""
    table = measured(model, samples_for(model, seed=seed))
    plan = make_plan(model, table, wanted or scheme(device, rules), keep_float=keep_float)
    copy = model.clone()
    Quantize(plan)(copy)
    onnx.checker.check_model(ir.to_proto(copy), full_check=True)
    return copy, plan


def sqnr_db(reference: Array, candidate: Array) -> float:
    """Return 10 log10 of signal power over error power."""
    noise = float(np.square(reference - candidate, dtype=np.float64).sum())
    signal = float(np.square(reference, dtype=np.float64).sum())
    return math.inf if noise == 0 else 10 * math.log10(signal / noise)


def as_bytes(model: ir.Model) -> bytes:
    """Return the file that the model would be."""
    stream = io.BytesIO()
    stream.write(ir.to_proto(model).SerializeToString())
    return stream.getvalue()


def run_optimised(model: ir.Model, feeds: dict[str, Array]) -> list[Array]:
    """Run on ONNX Runtime as it is deployed."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(as_bytes(model), options, ["CPUExecutionProvider"])
    return list(session.run(None, feeds))
