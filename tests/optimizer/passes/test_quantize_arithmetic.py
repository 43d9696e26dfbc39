"""What the quantised graph computes, against integer arithmetic written out in NumPy."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from bmopt.core.plan import QuantPlan
from bmopt.core.runner import Array
from bmopt.graph.values import constant_array
from tests.optimizer.literals import weights
from tests.quantizing import named, quantized, run_optimised, samples_for
from tests.rewriting import run_plain


def integer_convolution(x: Array, model: ir.Model, plan: QuantPlan) -> Array:
    """Compute a 1x1 convolution the way an integer kernel does, from the plan's numbers."""
    source, result, quant = plan.activations["x"], plan.activations["y"], plan.weights["y"]
    found = [constant_array(model.graph.initializers[name]) for name in ("w", "b")]
    weight, bias = (np.asarray(array, np.float64) for array in found)
    scales = np.array(quant.scales, np.float32).astype(np.float64)
    qx = np.clip(np.rint(x / np.float32(source.scale)) + source.zero_point, 0, 255)
    qw = np.clip(np.rint(weight.reshape(scales.size, -1) / scales[:, None]), -127, 127)
    qb = np.rint(bias / (source.scale * scales))
    sums = np.einsum("oc,nchw->nohw", qw, qx - source.zero_point) + qb[:, None, None]
    ratio = (source.scale * scales / result.scale)[:, None, None]
    qy = np.clip(np.rint(sums * ratio) + result.zero_point, 0, 255)
    return np.asarray((qy - result.zero_point) * result.scale)


def test_the_graph_means_the_integer_arithmetic() -> None:
    inits = f"{weights('w', (6, 8, 1, 1))}, {weights('b', (6,))}"
    model = named(f"g (float[N,8,4,4] x) => (float[N,6,4,4] y) <{inits}> {{ y = Conv(x, w, b) }}")
    copy, plan = quantized(model)
    x = samples_for(model, count=16, seed=3)["x"]
    want = integer_convolution(x, model, plan)
    step = plan.activations["y"].scale
    for got in (run_plain(copy, {"x": x})[0], run_optimised(copy, {"x": x})[0]):
        off = np.rint(np.abs(got - want) / step)
        assert off.max() <= 1, "at most one step, where a value lies between two"
        assert (off > 0).mean() < 0.01


def saturating_pair_sums(activations: Array, weight: Array) -> Array:
    """Emulate vpmaddubsw: sums of two products of uint8 by int8, saturated to int16."""
    products = activations.astype(np.int32) * weight.astype(np.int32)
    sums = products[..., 0::2] + products[..., 1::2]
    return np.asarray(np.clip(sums, -32768, 32767))


@pytest.mark.parametrize(
    ("device", "saturates"), [("x86-vnni", True), ("x86-avx512", False), ("x86-avx2", False)]
)
def test_seven_bit_weights_never_saturate_16_bit_sums(device: str, saturates: bool) -> None:
    inits = "float[4,2] w = {1, -1, 1, -1, 0.5, 1, -1, 1}"
    model = named(f"g (float[N,4] x) => (float[N,2] y) <{inits}> {{ y = MatMul(x, w) }}")
    copy, _ = quantized(model, device=device)
    stored = next(
        array
        for value in copy.graph.initializers.values()
        if (array := constant_array(value)) is not None and array.shape == (4, 2)
    )
    brightest = np.full((1, 4), 255, np.uint8)
    exact = (brightest.astype(np.int32) @ stored.astype(np.int32))[0]
    emulated = saturating_pair_sums(brightest, stored.T).sum(axis=-1)
    assert (emulated != exact).any() == saturates
