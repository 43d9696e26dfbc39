"""Refinement end to end, judged on the outputs of the quantised model."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir
import pytest

from bmopt.calibration.collect import collect_ranges
from bmopt.calibration.plan import corrected, make_plan
from bmopt.calibration.sequence import layer
from bmopt.calibration.sequence.refine import refine
from bmopt.calibration.sequence.shelf import Shelf
from bmopt.calibration.sequence.steps import RefineSteps
from bmopt.core.runner import Array
from bmopt.errors import DataError
from bmopt.graph.values import constant_array, is_op
from tests.calibration.memory_dataset import MemoryDataset
from tests.calibration.sequence.cases import (
    ALL,
    SCHEMES,
    Case,
    biased,
    corrections,
    quality,
    run,
    sides,
)
from tests.engine import PlainRunner
from tests.optimizer.literals import weights
from tests.quantizing import CONV_NET, named, samples_for, scheme, sqnr_db


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


def test_a_product_of_many_inputs_takes_no_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layer, "_MOST_INPUTS", 0)
    monkeypatch.setattr(layer, "RowEvidence", None)
    case = Case.of(biased(named(CONV_NET)), SCHEMES["outputs"], 64)
    found = case.refined(ALL)
    assert {step for facts in found.layers for step in facts.steps} <= {"bias", "gain"}
    assert quality(case, case.applied(found)) > quality(case, case.quantized()) + 4
