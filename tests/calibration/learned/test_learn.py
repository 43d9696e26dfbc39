"""Learning end to end, judged on what the quantised model computes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
import pytest

from bmopt.calibration.learned.block import Block
from bmopt.calibration.learned.learn import learn_blocks
from bmopt.calibration.learned.learnable import Learned
from bmopt.calibration.learned.options import LearnOptions
from bmopt.calibration.learned.weight import is_held_out
from bmopt.calibration.plan import corrected, make_plan
from bmopt.calibration.sequence.refine import refine
from bmopt.calibration.sequence.steps import RefineSteps
from bmopt.core.corrections import Corrections
from bmopt.core.plan import QuantPlan
from bmopt.core.runner import Array
from bmopt.core.scheme import Scheme
from bmopt.errors import DataError
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

pytest.importorskip("torch")

QUICK = LearnOptions(iterations=200)
NEAREST = RefineSteps(least_squares=False, scales=False, rounding=False, bias=True, gain=False)


def in_few_bits(wanted: Scheme) -> Scheme:
    """Return a scheme whose weights are so coarse that rounding is what matters."""
    return dataclasses.replace(wanted, weight=dataclasses.replace(wanted.weight, low=-7, high=7))


SCHEMES = {"outputs": in_few_bits(scheme()), "inputs": in_few_bits(inputs_scheme())}
sides = pytest.mark.parametrize("side", SCHEMES)

MATRICES = f"""
g (float[N,6,8] x) => (float[N,6,4] y)
  <{weights("w1", (8, 12))}, {weights("b1", (12,))}, {weights("w2", (12, 8))},
   {weights("b2", (8,))}, {weights("s", (8,))}, {weights("w3", (8, 4))}, {weights("b3", (4,))}>
{{
  n = LayerNormalization(x, s, s)
  m1 = MatMul(n, w1)
  a1 = Add(m1, b1)
  r1 = Relu(a1)
  m2 = MatMul(r1, w2)
  a2 = Add(b2, m2)
  k = Add(a2, x)
  m3 = MatMul(k, w3)
  y = Add(m3, b3)
}}
"""

MOVED = f"""
g (float[N,8,6,6] x) => (float[N,6] y)
  <{weights("w1", (16, 8, 3, 3))}, {weights("b1", (16,))}, {weights("w2", (24, 16, 1, 1))},
   {weights("w3", (6, 24, 1, 1))}, {weights("b3", (6,))}>
{{
  c1 = Conv<kernel_shape=[3,3]>(x, w1, b1)
  r1 = Relu(c1)
  c2 = Conv<kernel_shape=[1,1]>(r1, w2)
  r2 = Relu(c2)
  m = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r2)
  p = GlobalAveragePool(m)
  c3 = Conv<kernel_shape=[1,1]>(p, w3, b3)
  y = Flatten(c3)
}}
"""
"""Blocks that end before nodes that only move integers where Q/DQ pairs stand behind nodes."""

UNKNOWN = CONV_NET.replace("r1 = Relu(c1)", "r1 = Atan(c1)")


def alike_samples(model: ir.Model, count: int, seed: int = 0) -> dict[str, Array]:
    """Return samples whose channels are much alike, as those of images are.

    Of independent inputs, nearest is the best rounding.
    """
    rng = np.random.default_rng(99)
    found = {}
    for name, noise in samples_for(model, count, seed).items():
        axis = 1 if noise.ndim == 4 else -1
        last = np.moveaxis(noise, axis, -1)
        size = last.shape[-1]
        mix = rng.standard_normal((size, 2)) @ rng.standard_normal((2, size)) / 2
        mixed = last @ (mix + 0.2 * np.eye(size)) + 0.5
        found[name] = np.ascontiguousarray(np.moveaxis(mixed, -1, axis), np.float32)
    return found


@dataclasses.dataclass(frozen=True)
class Case:
    model: ir.Model
    plan: QuantPlan
    scheme: Scheme
    start: Corrections
    samples: Mapping[str, Array]

    @classmethod
    def of(cls, text: str, wanted: Scheme, steps: RefineSteps = NEAREST, count: int = 160) -> Case:
        model = named(text)
        samples = alike_samples(model, count)
        plan = make_plan(model, measured(model, samples), wanted)
        quantized = Quantize(plan)(model.clone()).model
        data = MemoryDataset(samples)
        start = refine(model, quantized, plan, data, PlainRunner, steps=steps)
        return cls(model, corrected(plan, start, wanted), wanted, start, samples)

    def with_constants(self, corrections: Corrections) -> ir.Model:
        replaced = CorrectWeights(corrections)(self.model.clone()).model
        return Quantize(self.plan)(replaced).model

    def learned(self, options: LearnOptions = QUICK) -> Corrections:
        return learn_blocks(
            self.model,
            self.with_constants(self.start),
            self.plan,
            self.start,
            MemoryDataset(self.samples),
            PlainRunner,
            options,
        )

    def sqnr(self, corrections: Corrections) -> float:
        """Return signal to error on samples that nothing was learned on."""
        fresh = alike_samples(self.model, 64, seed=5)
        found = [
            PlainRunner(model).run(fresh)["y"]
            for model in (self.model, self.with_constants(corrections))
        ]
        return sqnr_db(*found)


@sides
@pytest.mark.parametrize("text", [CONV_NET, MATRICES, MOVED], ids=["convs", "matrices", "moved"])
def test_what_is_learned_is_better_than_nearest(side: str, text: str) -> None:
    case = Case.of(text, SCHEMES[side])
    found = case.learned()
    assert case.sqnr(found) > case.sqnr(case.start) + 0.3
    assert {facts.steps[-1] for facts in found.layers} <= {"learned", "bias"}
    assert found.layers[0].steps == (*case.start.layers[0].steps, "learned")
    before = {facts.node: facts for facts in case.start.layers}
    assert all(facts.before_db == before[facts.node].before_db for facts in found.layers)


@sides
def test_weights_lie_on_the_grid_of_their_scales(side: str) -> None:
    case = Case.of(CONV_NET, SCHEMES[side])
    found = case.learned()
    assert found.scales == case.start.scales
    assert found.biases == case.start.biases
    for replacement in found.replacements:
        quant = case.plan.weights.get(replacement.node)
        if quant is None or quant.input != replacement.input:
            continue
        shape = [1] * replacement.array.ndim
        if quant.axis is not None:
            shape[quant.axis] = -1
        whole = replacement.array / np.array(quant.scales, np.float32).reshape(shape)
        np.testing.assert_allclose(whole, np.rint(whole), atol=1e-5)
        assert np.abs(np.rint(whole)).max() <= 7
    assert {r.array.dtype for r in found.replacements} == {np.dtype(np.float32)}
    assert len({(r.node, r.input) for r in found.replacements}) == len(found.replacements)


def test_the_facts_are_those_of_the_model_with_what_was_learned() -> None:
    case = Case.of(CONV_NET, SCHEMES["inputs"])
    found = case.learned()
    last = {facts.node: facts for facts in found.layers}["y"]
    outputs = [
        PlainRunner(model).run(case.samples)["y"]
        for model in (case.model, case.with_constants(found))
    ]
    assert last.after_db == pytest.approx(sqnr_db(*outputs), abs=0.01)


def test_the_same_samples_give_the_same_bits() -> None:
    case = Case.of(CONV_NET, SCHEMES["outputs"])
    quick = dataclasses.replace(QUICK, iterations=40)
    first, second = case.learned(quick), case.learned(quick)
    for a, b in zip(first.replacements, second.replacements, strict=True):
        assert (a.node, a.input) == (b.node, b.input)
        assert a.array.tobytes() == b.array.tobytes()
    assert first.layers == second.layers


@sides
def test_a_block_with_an_op_that_torch_is_not_given_is_learned_alone(side: str) -> None:
    case = Case.of(UNKNOWN, SCHEMES[side])
    found = case.learned()
    steps = {facts.node: facts.steps[-1] for facts in found.layers}
    assert steps["c1"] == steps["c2"] == "learned alone (no torch for Atan)"
    assert steps["y"] in ("learned", "bias")
    assert case.sqnr(found) > case.sqnr(case.start) + 0.3


@sides
@pytest.mark.parametrize("text", [CONV_NET, MOVED], ids=["convs", "moved"])
@pytest.mark.parametrize("steps", [NEAREST, RefineSteps()], ids=["nearest", "refined"])
def test_what_is_held_out_is_never_computed_worse(
    side: str, text: str, steps: RefineSteps
) -> None:
    case = Case.of(text, SCHEMES[side], steps)
    held = is_held_out(len(case.samples["x"]), QUICK.held_out)
    feeds = {name: array[held] for name, array in case.samples.items()}
    wanted, start, found = (
        PlainRunner(model).run(feeds)["y"]
        for model in (
            case.model,
            case.with_constants(case.start),
            case.with_constants(case.learned(dataclasses.replace(QUICK, iterations=20))),
        )
    )
    assert sqnr_db(wanted, found) >= sqnr_db(wanted, start) - 1e-4


def test_what_is_better_by_block_but_not_in_the_end_is_not_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    case = Case.of(CONV_NET, SCHEMES["outputs"])

    def spoilt(self: Block, seed: int, deadline: object) -> list[Learned]:
        return [Learned(-item.weight.whole(), None) for item in self._learnables]

    monkeypatch.setattr(Block, "learn", spoilt)
    assert case.learned() is case.start


def test_no_time_is_no_change() -> None:
    case = Case.of(CONV_NET, SCHEMES["outputs"])
    found = case.learned(dataclasses.replace(QUICK, seconds=0.0))
    assert [f.steps for f in found.layers] == [f.steps for f in case.start.layers]
    for a, b in zip(found.replacements, case.start.replacements, strict=True):
        assert np.array_equal(a.array, b.array)


def test_progress_counts_blocks() -> None:
    case = Case.of(CONV_NET, SCHEMES["outputs"])
    seen: list[tuple[int, int]] = []
    learn_blocks(
        case.model,
        case.with_constants(case.start),
        case.plan,
        case.start,
        MemoryDataset(case.samples),
        PlainRunner,
        dataclasses.replace(QUICK, seconds=0.0),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_no_samples_are_refused() -> None:
    case = Case.of(CONV_NET, SCHEMES["outputs"])
    empty = {name: array[:0] for name, array in case.samples.items()}
    with pytest.raises(DataError, match="has no samples"):
        dataclasses.replace(case, samples=empty).learned()
