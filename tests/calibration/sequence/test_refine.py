"""Refinement end to end, judged on the outputs of the quantised model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
import pytest

from bmopt.calibration.collect import collect_ranges
from bmopt.calibration.plan import corrected, make_plan
from bmopt.calibration.sequence.refine import refine
from bmopt.calibration.sequence.shelf import Shelf
from bmopt.calibration.sequence.steps import RefineSteps
from bmopt.core.corrections import Corrections
from bmopt.core.plan import QuantPlan
from bmopt.core.runner import Array
from bmopt.core.scheme import Scheme
from bmopt.errors import DataError
from bmopt.graph.values import constant_array, is_op
from bmopt.optimizer.passes.correct_weights import CorrectWeights
from bmopt.optimizer.passes.quantize import Quantize
from tests.calibration.memory_dataset import MemoryDataset
from tests.engine import PlainRunner
from tests.optimizer.literals import weights
from tests.quantizing import (
    CONV_NET,
    inputs_scheme,
    measured,
    named,
    samples_for,
    scheme,
    sqnr_db,
)

SCHEMES = {"outputs": scheme(), "inputs": inputs_scheme()}
sides = pytest.mark.parametrize("side", SCHEMES)
ALL = RefineSteps()


@dataclasses.dataclass(frozen=True)
class Case:
    """A model, its plan and the samples it is refined on."""

    model: ir.Model
    plan: QuantPlan
    scheme: Scheme
    samples: Mapping[str, Array]

    @classmethod
    def of(cls, model: ir.Model, wanted: Scheme, count: int = 32) -> Case:
        samples = samples_for(model, count)
        plan = make_plan(model, measured(model, samples), wanted)
        return cls(model, plan, wanted, samples)

    def quantized(self) -> ir.Model:
        return Quantize(self.plan)(self.model.clone()).model

    def refined(
        self, steps: RefineSteps = ALL, batch_size: int = 8, **options: object
    ) -> Corrections:
        dataset = MemoryDataset(self.samples)
        return refine(
            self.model,
            self.quantized(),
            self.plan,
            dataset,
            PlainRunner,
            steps=steps,
            batch_size=batch_size,
            **options,
        )

    def applied(self, found: Corrections) -> ir.Model:
        better = CorrectWeights(found)(self.model.clone()).model
        return Quantize(corrected(self.plan, found, self.scheme))(better).model


def biased(model: ir.Model) -> ir.Model:
    """Shift weights by what rounding them then loses: 0.4 steps, the same way everywhere."""
    for name, value in model.graph.initializers.items():
        array = constant_array(value)
        assert array is not None
        if name.startswith("w") and array.dtype == np.float32:
            axes = tuple(range(1, array.ndim))
            steps = np.abs(array).max(axis=axes, keepdims=True) / 127
            off = (np.rint(array / steps) + 0.4) * steps
            largest = np.abs(array) == np.abs(array).max(axis=axes, keepdims=True)
            value.const_value = ir.tensor(np.where(largest, array, off).astype(np.float32))
    return model


def run(model: ir.Model, feeds: Mapping[str, Array]) -> Array:
    with PlainRunner(model) as runner:
        return next(iter(runner.run(feeds).values()))


def quality(case: Case, model: ir.Model) -> float:
    """Return signal to error in dB on samples that nothing was fitted to."""
    fresh = samples_for(case.model, 64, seed=9)
    return sqnr_db(run(case.model, fresh), run(model, fresh))


def corrections(found: Corrections) -> dict[tuple[str, int], Array]:
    return {(r.node, r.input): r.array for r in found.replacements}


@sides
@pytest.mark.parametrize(
    "steps",
    [
        RefineSteps(False, False, False, True, True),
        RefineSteps(False, False, True, True, True),
        RefineSteps(True, False, True, True, False),
        RefineSteps(False, True, False, True, False),
        ALL,
    ],
)
def test_a_refined_model_is_nearer_the_float_one(side: str, steps: RefineSteps) -> None:
    case = Case.of(biased(named(CONV_NET)), SCHEMES[side], 64)
    found = case.refined(steps)
    assert quality(case, case.applied(found)) > quality(case, case.quantized()) + 4
    for facts in found.layers:
        # Where the activations' error is all, there is nothing to gain.
        assert facts.after_db > facts.before_db - 0.1
        assert ("rounding" in facts.steps) == steps.rounding
        assert ("scales" in facts.steps) == steps.scales
        assert "bias" in facts.steps


@sides
def test_the_quantised_model_stores_exactly_what_was_found(side: str) -> None:
    case = Case.of(biased(named(CONV_NET)), SCHEMES[side])
    found = case.refined()
    after = corrected(case.plan, found, case.scheme)
    model = case.applied(found)
    arrays = corrections(found)
    for node in model.graph:
        if node.name not in after.weights:
            continue
        quant = after.weights[node.name]
        assert quant.scales == found.scales[node.name]
        dequantize = node.inputs[1].producer()
        stored = constant_array(dequantize.inputs[0])
        shape = [1] * stored.ndim
        shape[quant.axis] = -1
        real = stored * np.array(quant.scales, np.float32).reshape(shape)
        np.testing.assert_array_equal(real, arrays[(node.name, 1)])


@sides
def test_two_runs_are_alike_to_the_last_bit(side: str) -> None:
    case = Case.of(biased(named(CONV_NET)), SCHEMES[side])
    first, second = case.refined(), case.refined(shelf=Shelf(0))
    assert dataclasses.replace(first, replacements=()) == dataclasses.replace(
        second, replacements=()
    )
    for mine, other in zip(first.replacements, second.replacements, strict=True):
        assert (mine.node, mine.input) == (other.node, other.input)
        np.testing.assert_array_equal(mine.array, other.array)


def test_the_models_given_are_not_changed() -> None:
    case = Case.of(named(CONV_NET), SCHEMES["outputs"])
    model, quantized = case.model, case.quantized()
    texts = [ir.to_proto(m).SerializeToString() for m in (model, quantized)]
    refine(model, quantized, case.plan, MemoryDataset(case.samples), PlainRunner)
    assert [ir.to_proto(m).SerializeToString() for m in (model, quantized)] == texts


def test_what_was_found_of_every_layer() -> None:
    case = Case.of(biased(named(CONV_NET)), SCHEMES["outputs"])
    seen: list[tuple[int, int]] = []
    found = case.refined(progress=lambda done, total: seen.append((done, total)))
    assert [facts.node for facts in found.layers] == ["c1", "c2", "c3", "y"]
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert found.model == case.plan.model
    assert set(found.scales) == set(case.plan.weights)
    assert found.biases == {"c3": 2}, "the convolution that had none"


@sides
def test_a_convolution_without_bias_gets_one(side: str) -> None:
    case = Case.of(biased(named(CONV_NET)), SCHEMES[side])
    found = case.refined()
    after = corrected(case.plan, found, case.scheme)
    assert after.weights["c3"].bias == (2 if side == "outputs" else None)
    assert case.plan.weights["c3"].bias is None
    node = next(n for n in case.applied(found).graph if n.name == "c3")
    assert len(node.inputs) == 3
    producer = node.inputs[2].producer()
    assert (producer is not None and is_op(producer, "DequantizeLinear")) == (side == "outputs")


def test_the_measured_signal_to_error_is_that_of_the_layer() -> None:
    case = Case.of(biased(named(CONV_NET)), SCHEMES["inputs"])
    found = case.refined()
    first = found.layers[0]

    def layer(model: ir.Model) -> Array:
        copy = model.clone()
        copy.graph.outputs[:] = [n.outputs[0] for n in copy.graph if n.name == "c1"]
        return run(copy, case.samples)

    wanted = layer(case.model)
    for model, mine in (
        (case.quantized(), first.before_db),
        (case.applied(found), first.after_db),
    ):
        assert sqnr_db(wanted, layer(model)) == pytest.approx(mine, abs=0.3)


@sides
def test_samples_in_one_batch_and_one_by_one(side: str) -> None:
    case = Case.of(biased(named(CONV_NET)), SCHEMES[side], 64)
    plain = quality(case, case.quantized())
    for batch_size in (64, 1):
        found = case.refined(batch_size=batch_size)
        assert any("least-squares" in facts.steps for facts in found.layers)
        assert quality(case, case.applied(found)) > plain + 4


def test_a_model_of_single_samples() -> None:
    static = biased(
        named(CONV_NET.replace("[N,8,10,10]", "[1,8,10,10]").replace("[N,5]", "[1,5]"))
    )
    parts = [samples_for(static, 1, seed=seed)["x"] for seed in range(40)]
    samples = {"x": np.concatenate(parts)}
    table = collect_ranges(
        static, MemoryDataset(samples), PlainRunner, model_digest="m" * 64, batch_size=1
    )
    wanted = SCHEMES["outputs"]
    case = Case(static, make_plan(static, table, wanted), wanted, samples)
    models = (static, case.quantized(), case.applied(case.refined(batch_size=1)))
    fresh = [samples_for(static, 1, seed=seed) for seed in range(100, 120)]
    truth, plain, better = (np.stack([run(model, one) for one in fresh]) for model in models)
    assert sqnr_db(truth, better) > sqnr_db(truth, plain) + 4


def test_only_as_many_samples_as_asked_for() -> None:
    case = Case.of(biased(named(CONV_NET)), SCHEMES["outputs"])
    few = dataclasses.replace(case, samples={"x": case.samples["x"][:16]})
    mine, same = corrections(case.refined(samples=16)), corrections(few.refined())
    for place, array in mine.items():
        np.testing.assert_array_equal(array, same[place])


def test_no_samples_is_an_error() -> None:
    case = Case.of(named(CONV_NET), SCHEMES["outputs"])
    empty = dataclasses.replace(case, samples={"x": case.samples["x"][:0]})
    with pytest.raises(DataError, match="memory: has no samples"):
        empty.refined()


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


@sides
def test_stored_biases_do_not_overflow(side: str) -> None:
    model = biased(named(CONV_NET))
    tiny = constant_array(model.graph.initializers["w1"]).copy()
    tiny[3] *= 1e-12  # The channel's bias is all there is of it.
    model.graph.initializers["w1"].const_value = ir.tensor(tiny)
    case = Case.of(model, SCHEMES[side])
    found = case.refined()
    assert np.isfinite(list(found.scales["c1"])).all()
    arrays = corrections(found)
    scale = case.plan.activations["x"].scale
    steps = np.abs(arrays[("c1", 2)]) / (scale * np.array(found.scales["c1"]))
    assert steps.max() < 2**31 - 1
    assert quality(case, case.applied(found)) > quality(case, case.quantized())


@sides
def test_a_dead_channel_that_is_off_gets_a_bias_that_fits(side: str) -> None:
    model = named(CONV_NET)
    zero = constant_array(model.graph.initializers["w3"]).copy()
    zero[2] = 1e-30
    model.graph.initializers["w3"].const_value = ir.tensor(zero)
    case = Case.of(model, SCHEMES[side])
    found = case.refined()
    for array in corrections(found).values():
        assert np.isfinite(array).all()
    assert quality(case, case.applied(found)) > 20


def test_a_fixed_point_is_left_alone() -> None:
    """Weights on their grid, and activations that nothing rounds, have nothing to correct."""
    model = named(
        f"g (float[N,4] x) => (float[N,3] y) <{weights('w', (3, 4))}, float[3] b = {{1, 2, 3}}>"
        "{ y = Gemm<transB = 1>(x, w, b) }"
    )
    whole = np.random.default_rng(0).integers(-127, 128, (3, 4)).astype(np.float32)
    whole[:, 0] = 127
    model.graph.initializers["w"].const_value = ir.tensor(whole)
    case = Case.of(model, SCHEMES["inputs"])
    scale = np.float32(2.0**-6)
    plan = dataclasses.replace(
        case.plan,
        activations={
            name: dataclasses.replace(quant, scale=float(scale))
            for name, quant in case.plan.activations.items()
        },
    )
    grid = (np.rint(case.samples["x"] / scale).clip(-128, 127) * scale).astype(np.float32)
    case = dataclasses.replace(case, plan=plan, samples={"x": grid})
    found = case.refined()
    arrays = corrections(found)
    np.testing.assert_array_equal(arrays[("y", 1)], whole)
    np.testing.assert_allclose(arrays[("y", 2)], [1, 2, 3], atol=1e-5)
    assert found.layers[0].before_db > 100


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


def test_nothing_to_do_leaves_rounding_to_nearest() -> None:
    case = Case.of(biased(named(CONV_NET)), SCHEMES["outputs"])
    found = case.refined(RefineSteps(False, False, False, False, False))
    assert all(facts.steps == () for facts in found.layers)
    assert {place[1] for place in corrections(found)} == {1}
    x = case.samples
    np.testing.assert_array_equal(run(case.applied(found), x), run(case.quantized(), x))


def test_one_scale_per_weight() -> None:
    wanted = dataclasses.replace(
        scheme(), weight=dataclasses.replace(scheme().weight, per_channel=False)
    )
    case = Case.of(biased(named(CONV_NET)), wanted, 64)
    found = case.refined()
    assert {len(scales) for scales in found.scales.values()} == {1}
    assert not any("gain" in facts.steps for facts in found.layers)
    assert quality(case, case.applied(found)) > quality(case, case.quantized())
