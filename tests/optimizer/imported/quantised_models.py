"""Models quantised by ONNX Runtime, and what importing one must give back."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnxruntime.quantization import (
    QuantFormat,
    QuantType,
    quantize_static,
)

from bmopt.calibration.plan import make_plan
from bmopt.core.imported import Imported, to_range_table
from bmopt.core.plan import ActivationQuant, QuantPlan
from bmopt.core.ranges import Method
from bmopt.core.runner import Array
from bmopt.graph.model_digest import model_digest
from bmopt.graph.model_io import load_model
from bmopt.graph.products import product_of
from bmopt.graph.values import constant_array
from bmopt.optimizer.passes.quantize import Quantize
from bmopt.optimizer.qdq import QdqWriter
from bmopt.optimizer.rewrite import share_names
from tests.optimizer.literals import weights
from tests.quantizing import inputs_scheme, named, samples_for, sqnr_db
from tests.rewriting import random_feeds, run_plain

NET = f"""
g (float[N,3,12,12] x) => (float[N,5] y, float[N,8,6,6] side)
  <{weights("w1", (8, 3, 3, 3))}, {weights("b1", (8,))},
   {weights("w2", (8, 8, 1, 1))}, {weights("b2", (8,))},
   {weights("w3", (8, 1, 3, 3))}, {weights("wm", (16, 6))}, float zero = {{0}}, float six = {{6}},
   {weights("wf", (5, 6))}, {weights("bf", (5,))}, int64[2] flat = {{-1, 16}}>
{{
  c1 = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(x, w1, b1)
  r1 = Relu(c1)
  m1 = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r1)
  c2 = Conv<kernel_shape=[1,1]>(m1, w2, b2)
  k2 = Clip(c2, zero, six)
  c3 = Conv<kernel_shape=[3,3], pads=[1,1,1,1], group=8>(k2, w3)
  side = Add(m1, c3)
  r2 = Relu(side)
  s = Sigmoid(r2)
  j = Concat<axis=1>(r2, s)
  p = GlobalAveragePool(j)
  f = Reshape(p, flat)
  mm = MatMul(f, wm)
  y = Gemm<transB=1>(mm, wf, bf)
}}
"""
"""What a quantiser meets: Relu and Clip it may remove, a residual, movers, a Concat, products."""


class _Samples:
    def __init__(self, model: ir.Model) -> None:
        samples = samples_for(model, count=8)
        self._feeds = iter([{k: v[i : i + 1] for k, v in samples.items()} for i in range(8)])

    def get_next(self) -> dict[str, Array] | None:
        return next(self._feeds, None)


def by_onnxruntime(text: str = NET, *, opset: int = 17, **options: Any) -> ir.Model:
    """Return the model of ``text`` as ``quantize_static`` quantises it with ``options``."""
    model = named(text, opset)
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "quantised.onnx"
        ir.save(model, source)
        quantize_static(source, target, _Samples(model), **options)
        return load_model(target)


QDQ_OPTIONS: dict[str, dict[str, Any]] = {
    "default": {},
    "per_channel": {"per_channel": True},
    "uint8_int8": {
        "activation_type": QuantType.QUInt8,
        "weight_type": QuantType.QInt8,
        "per_channel": True,
    },
    "uint8_uint8": {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QUInt8},
    "symmetric": {"extra_options": {"ActivationSymmetric": True}},
    "dedicated": {"extra_options": {"DedicatedQDQPair": True}, "per_channel": True},
    "weight_pairs": {"extra_options": {"AddQDQPairToWeight": True}, "per_channel": True},
    "tensorrt": {
        "activation_type": QuantType.QInt8,
        "per_channel": True,
        "op_types_to_quantize": ["Conv", "MatMul", "Gemm"],
        "extra_options": {
            "ActivationSymmetric": True,
            "AddQDQPairToWeight": True,
            "QuantizeBias": False,
            "OpTypesToExcludeOutputQuantization": ["Conv", "MatMul", "Gemm"],
        },
    },
}
QOPERATOR_OPTIONS: dict[str, dict[str, Any]] = {
    "uint8_uint8": {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QUInt8},
    "uint8_int8": {
        "activation_type": QuantType.QUInt8,
        "weight_type": QuantType.QInt8,
        "per_channel": True,
    },
    "int8": {"activation_type": QuantType.QInt8, "weight_type": QuantType.QInt8},
}
QOPERATOR = QuantFormat.QOperator


def fake_quantised(imported: Imported) -> ir.Model:
    """Return the float model with the source's encodings around its activations again."""
    model = imported.model.clone()
    share_names(model)
    writer = QdqWriter(model.graph)
    values = {v.name or "": v for v in model.graph.inputs}
    values |= {out.name or "": out for node in model.graph for out in node.outputs}
    for name, entry in imported.tensors.items():
        quant = ActivationQuant(entry.dtype, entry.scale, entry.zero_point)
        producer = values[name].producer()
        if producer is None:
            writer.pair_for(values[name], quant, [(u.node, u.idx) for u in values[name].uses()])
        else:
            writer.pair_behind(values[name], quant, producer)
    return model


def assert_same_arithmetic(
    source: ir.Model, imported: Imported, feeds: dict[str, Array] | None = None
) -> None:
    """Check that the import, fake-quantised as it says, is the source; and nearly so in float."""
    onnx.checker.check_model(ir.to_proto(imported.model), full_check=True)
    feeds = feeds or random_feeds(source, seed=1)
    expected = run_plain(source, feeds)
    for want, got in zip(expected, run_plain(fake_quantised(imported), feeds), strict=True):
        np.testing.assert_allclose(got, want, atol=1e-4, rtol=1e-4)
    for want, got in zip(expected, run_plain(imported.model, feeds), strict=True):
        assert sqnr_db(want, got) > 20.0


def planned_again(
    imported: Imported, precision: str = "int8", method: Method = "entropy"
) -> tuple[ir.Model, QuantPlan]:
    """Return the import quantised for TensorRT, and the plan for it."""
    plan = make_plan(
        imported.model,
        to_range_table(imported, model_digest(imported.model)),
        inputs_scheme(precision),
        method=method,
        keep_float=imported.keep_float,
        weight_scales=imported.weight_scales,
    )
    return Quantize(plan)(imported.model.clone()).model, plan


def stored_weights(source: ir.Model | Imported) -> dict[str, Array]:
    """Return what is stored of every weight by the product that reads it."""
    model = planned_again(source)[0] if isinstance(source, Imported) else source
    found = {}
    for node in model.graph:
        for value in node.inputs[1:2]:
            dequantize = None if value is None else value.producer()
            if dequantize is not None and dequantize.op_type == "DequantizeLinear":
                array = constant_array(dequantize.inputs[0])
                if array is not None:
                    found[node.name or ""] = array
    return found


def float32(*numbers: float) -> tuple[float, ...]:
    """Return the numbers as they are once stored in float32."""
    return tuple(float(number) for number in np.array(numbers, np.float32))


def integers_of(imported: Imported, node: str) -> Array:
    """Return round(weight / scale) of a product."""
    product = next(
        p for n in imported.model.graph if n.name == node and (p := product_of(n)) is not None
    )
    scales = np.array(imported.weight_scales[node], np.float32)
    shape = [1] * len(product.shape)
    if scales.size > 1:
        shape[product.axis] = -1
    rounded: Array = np.rint(product.weight() / scales.reshape(shape))
    return rounded
