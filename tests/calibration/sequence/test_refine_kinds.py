"""Refinement of every kind of product, and of products that share what they read."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir
import pytest

from bmopt.calibration.plan import corrected
from bmopt.calibration.sequence.steps import RefineSteps
from bmopt.graph.values import constant_array
from bmopt.optimizer.passes.correct_weights import CorrectWeights
from tests.calibration.sequence.cases import (
    SCHEMES,
    Case,
    biased,
    corrections,
    quality,
    run,
    sides,
)
from tests.optimizer.literals import weights
from tests.quantizing import CONV_NET, inputs_scheme, named

MATRICES = f"""
g (float[N,6,8] x) => (float[N,6,8] y)
  <{weights("w1", (8, 16))}, {weights("b1", (16,))}, {weights("w2", (16, 8))}>
{{ m = MatMul(x, w1) a = Add(m, b1) r = Relu(a) k = MatMul(r, w2) y = Add(k, x) }}
"""


@sides
def test_a_matmul_has_its_correction_in_the_add_behind_it(side: str) -> None:
    case = Case.of(biased(named(MATRICES)), SCHEMES[side], 64)
    found = case.refined()
    assert set(corrections(found)) == {("m", 1), ("a", 1), ("k", 1)}
    assert found.biases == {}
    assert [facts.steps[-1] for facts in found.layers if facts.node == "k"] == ["rounding"]
    assert quality(case, case.applied(found)) > quality(case, case.quantized())


SHARED = f"""
g (float[N,4,6,6] x) => (float[N,4,6,6] y)
  <{weights("w", (4, 4, 1, 1))}, {weights("b", (4,))}>
{{ p = Conv(x, w, b) q = Conv(p, w, b) r = Mul(q, b4) y = Add(r, x) }}
""".replace("b4", "x")


@sides
def test_each_reader_of_a_shared_weight_gets_its_own(side: str) -> None:
    case = Case.of(biased(named(SHARED)), SCHEMES[side], 64)
    found = case.refined()
    arrays = corrections(found)
    assert not np.array_equal(arrays[("p", 1)], arrays[("q", 1)])
    only_first = dataclasses.replace(
        found, replacements=tuple(r for r in found.replacements if r.node == "p")
    )
    model = CorrectWeights(only_first)(case.model.clone()).model
    nodes = {node.name: node for node in model.graph}
    np.testing.assert_array_equal(constant_array(nodes["p"].inputs[1]), arrays[("p", 1)])
    untouched = constant_array(case.model.graph.initializers["w"])
    np.testing.assert_array_equal(constant_array(nodes["q"].inputs[1]), untouched)
    assert quality(case, case.applied(found)) > quality(case, case.quantized())


BRANCHES = f"""
g (float[N,4,6,6] x) => (float[N,4,6,6] y, float[N,4,6,6] p)
  <{weights("w1", (4, 4, 3, 3))}, {weights("w2", (4, 4, 1, 1))}, {weights("w3", (4, 4, 1, 1))}>
{{
  p = Conv<pads = [1,1,1,1]>(x, w1)
  a = Conv(p, w2)
  b = Conv(p, w3)
  y = Add(a, b)
}}
"""


@sides
def test_products_that_read_one_tensor_which_is_an_output_too(side: str) -> None:
    case = Case.of(biased(named(BRANCHES)), SCHEMES[side], 64)
    found = case.refined()
    assert [facts.node for facts in found.layers] == ["p", "a", "b"]
    assert quality(case, case.applied(found)) > quality(case, case.quantized())


TRANSPOSED = f"""
g (float[N,4,6,6] x) => (float y)
  <{weights("w1", (4, 6, 2, 2))}, {weights("w2", (6, 2, 2, 2))}, {weights("b2", (4,))}>
{{
  p = ConvTranspose<strides = [2,2]>(x, w1)
  y = ConvTranspose<group = 2>(p, w2, b2)
}}
"""


def test_transposed_convolutions_only_have_their_biases_put_right() -> None:
    case = Case.of(biased(named(TRANSPOSED)), SCHEMES["inputs"])
    found = case.refined()
    first, second = found.layers
    assert first.steps in (("bias",), ("bias", "gain"))
    assert second.steps == (), "the scales of one in groups are shared"
    assert first.after_db > first.before_db
    assert set(corrections(found)) == {("p", 1), ("p", 2), ("y", 1)}
    assert quality(case, case.applied(found)) > quality(case, case.quantized())


def test_float8_weights_only_have_their_biases_put_right() -> None:
    model = named(CONV_NET, opset=19)
    case = Case.of(model, inputs_scheme("fp8"))
    found = case.refined()
    for facts in found.layers:
        assert set(facts.steps) <= {"bias", "gain"}
    applied = case.applied(found)
    assert quality(case, applied) > quality(case, case.quantized()) - 0.1
    arrays = corrections(found)
    stored = {n.name: n.inputs[1].producer() for n in applied.graph if n.name in found.scales}
    for name, dequantize in stored.items():
        with_scales = constant_array(dequantize.inputs[0]).astype(np.float32)
        scales = np.array(found.scales[name], np.float32)
        axis = corrected(case.plan, found, case.scheme).weights[name].axis
        shape = [1] * with_scales.ndim
        if axis is not None:
            shape[axis] = -1
        np.testing.assert_allclose(
            with_scales * scales.reshape(shape), arrays[(name, 1)], rtol=1e-6
        )


def test_a_bias_that_is_computed_stays_as_it_is() -> None:
    model = named(
        f"g (float[N,4] x) => (float[N,3] y) <{weights('w', (3, 4))}, {weights('v', (4, 3))}>"
        "{ z = MatMul(x, v) y = Gemm<transB = 1>(x, w, z) }"
    )
    case = Case.of(biased(model), SCHEMES["inputs"])
    found = case.refined()
    assert set(found.scales) == set(case.plan.weights)
    assert all(place[0] != "y" or place[1] == 1 for place in corrections(found))
    assert np.isfinite(quality(case, case.applied(found)))


SHRINKING = f"""
g (float[N,8] x) => (float[N,6] y) <{weights("w", (8, 6))}, float[6] b = {{9, 8, 7, -7, -8, -9}}>
{{ BODY }}
"""


@pytest.mark.parametrize(
    "body", ["y = Gemm(x, w, b)", "m = MatMul(x, w) y = Add(m, b)"], ids=["own", "add"]
)
@sides
def test_a_gain_does_not_scale_what_is_added_behind(side: str, body: str) -> None:
    model = named(SHRINKING.replace("BODY", body))
    name = "y" if "Gemm" in body else "m"
    steps = np.sign(constant_array(model.graph.initializers["w"])) * 2.45  # Stored as 2.
    steps[0] = 127 * np.sign(steps[0])
    model.graph.initializers["w"].const_value = ir.tensor((steps / 127).astype(np.float32))
    case = Case.of(model, SCHEMES[side], 256)
    case.samples["x"][:, 0] *= 0.001  # It fills the scale, and is of no weight.
    found = case.refined(RefineSteps(False, False, False, True, True))
    (facts,) = found.layers
    assert facts.steps == ("bias", "gain")
    assert facts.after_db > facts.before_db + 6
    old = np.abs(steps).max() / 127 / 127
    assert np.median(np.array(found.scales[name])) == pytest.approx(old * 2.45 / 2, rel=0.05)
    off = run(case.model, case.samples) - run(case.applied(found), case.samples)
    assert np.abs(off.mean(axis=0)).max() < 0.02
