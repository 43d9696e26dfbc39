from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmopt.calibration.pruning import readers
from bmopt.calibration.pruning.reconstruction import ReconstructOptions, reconstruct
from bmopt.core.corrections import Corrections
from bmopt.core.prune_plan import PrunePlan
from bmopt.errors import DataError, PruningError
from bmopt.graph.channels.groups import channels_of
from bmopt.graph.model_digest import model_digest
from bmopt.optimizer.passes.correct_weights import CorrectWeights
from tests.calibration.memory_dataset import MemoryDataset
from tests.calibration.pruning.nets import (
    answers,
    distance,
    net,
    pruned,
    samples,
    set_weight,
    weight,
)
from tests.engine import PlainRunner
from tests.graph.channels.random_graphs import BLOCKS, picture_net
from tests.optimizer.literals import batch_norm, weights

EVERY = ReconstructOptions(batch_size=8)


def plan_of(model: ir.Model, **removed: tuple[int, ...]) -> PrunePlan:
    return PrunePlan(model_digest(model), removed)


def found_for(
    model: ir.Model, plan: PrunePlan, options: ReconstructOptions = EVERY
) -> tuple[ir.Model, Corrections]:
    small = pruned(model, plan)
    found = reconstruct(model, small, plan, samples(model), PlainRunner, options=options)
    return small, found


def losses(
    model: ir.Model, plan: PrunePlan, options: ReconstructOptions = EVERY
) -> tuple[float, float]:
    """Return what the model loses by the cut, and what is left of that, on new samples."""
    small, found = found_for(model, plan, options)
    fresh = samples(model, seed=1)
    wanted = answers(model, fresh)
    fitted = CorrectWeights(found)(small.clone()).model
    onnx.checker.check_model(ir.to_proto(fitted), full_check=True)
    return distance(answers(small, fresh), wanted), distance(answers(fitted, fresh), wanted)


def copied() -> ir.Model:
    """Channel 3 of c1 is three times channel 6."""
    model = net()
    array, bias = weight(model, "w1"), weight(model, "b1")
    array[3], bias[3] = 3 * array[6], 3 * bias[6]
    set_weight(model, "w1", array)
    set_weight(model, "b1", bias)
    return model


def test_what_others_can_make_up_for_comes_back() -> None:
    model = copied()
    cut, fitted = losses(model, plan_of(model, c1=(3,)))
    assert cut > 0.01
    assert fitted < 1e-6


def test_what_reads_a_sum_makes_up_for_a_branch_that_went() -> None:
    """The pruned model has no sum any more: its readers read what is left of it."""
    model = net()
    cut, fitted = losses(model, plan_of(model, c1=tuple(range(8))))
    assert fitted < 0.5 * cut


SHORTCUT = f"""
g (float[N,3,6,6] x) => (float[N,5] y)
  <{weights("w1", (8, 3, 3, 3))}, {weights("b1", (8,))},
   {weights("w2", (6, 8, 1, 1))}, {weights("b2", (6,))},
   {weights("w3", (6, 3, 3, 3))}, {weights("b3", (6,))},
   {weights("w4", (5, 6))}, {weights("b4", (5,))}>
{{
  c1 = Conv<pads=[1,1,1,1]>(x, w1, b1)
  c2 = Conv(c1, w2, b2)
  c3 = Conv<pads=[1,1,1,1]>(x, w3, b3)
  sum = Add(c2, c3)
  p = GlobalAveragePool(sum)
  f = Flatten(p)
  y = Gemm<transB=1>(f, w4, b4)
}}
"""


def test_a_shortcut_takes_over_what_its_branch_computed() -> None:
    """Both sides are linear here, so that one convolution can do all."""
    model = net(SHORTCUT)
    cut, fitted = losses(model, plan_of(model, c1=tuple(range(8))))
    assert cut > 0.1
    assert fitted < 1e-6


@pytest.mark.parametrize("every", [True, False])
@pytest.mark.parametrize("sums", [True, False])
def test_a_cut_model_comes_nearer_to_the_original(every: bool, sums: bool) -> None:
    model = net()
    plan = plan_of(model, c0=(2,), c1=(0, 3, 6), c3=(1, 5))
    cut, fitted = losses(model, plan, ReconstructOptions(batch_size=8, every=every, sums=sums))
    assert fitted < 0.5 * cut


BRANCHES = f"""
g (float[N,3,6,6] x) => (float[N,6,6,6] y)
  <{weights("w1", (8, 3, 1, 1))}, {weights("w2", (8, 6, 1, 1))}, {weights("w3", (6, 8, 1, 1))}>
{{
  c1 = Conv(x, w1)
  r1 = Relu(c1)
  c2 = ConvTranspose(r1, w2)
  c3 = Conv(r1, w3)
  y = Add(c2, c3)
}}
"""


def test_a_product_makes_up_for_the_branch_that_it_is_added_to() -> None:
    """Nothing fits c2, which loses a channel that c3 reads a copy of."""
    model = net(BRANCHES)
    array = weight(model, "w1")
    array[3] = 3 * array[6]
    set_weight(model, "w1", array)
    plan = plan_of(model, c1=(3,))
    sums, without = (
        losses(model, plan, ReconstructOptions(batch_size=8, sums=sums))[1]
        for sums in (True, False)
    )
    assert sums < 1e-6 < 0.01 < without


def test_what_lost_nothing_is_fitted_on_demand() -> None:
    model = net()
    plan = plan_of(model, c1=(0, 3))
    every = found_for(model, plan)[1]
    assert [facts.node for facts in every.layers] == ["c2", "c3", "y"]
    assert all("bias" in facts.steps for facts in every.layers)
    assert every.layers[0].after_db > every.layers[0].before_db
    few = found_for(model, plan, ReconstructOptions(batch_size=8, every=False))[1]
    assert [facts.node for facts in few.layers] == ["c2"]
    assert {one.node for one in few.replacements} == {"c2"}


def test_what_computes_the_same_stays_as_it_is() -> None:
    """Channels that are always zero go: the products behind them have nothing to make up for."""
    model = net()
    bias = weight(model, "b1")
    bias[[1, 5]] = -100
    set_weight(model, "b1", bias)
    found = found_for(model, plan_of(model, c1=(1, 5)))[1]
    assert len(found.layers) == 3
    assert not found.replacements


def test_nothing_cut_nothing_done() -> None:
    model = net()
    found = found_for(model, plan_of(model))[1]
    assert not found.replacements
    assert not found.layers


def test_the_same_again_and_no_model_is_changed() -> None:
    model = net()
    plan = plan_of(model, c1=(0, 3))
    small = pruned(model, plan)
    before = [ir.to_proto(one).SerializeToString() for one in (model, small)]
    done: list[tuple[int, int]] = []
    found = [
        reconstruct(
            model, small, plan, samples(model), PlainRunner, options=EVERY,
            progress=lambda *at: done.append(at),
        )
        for _ in range(2)
    ]  # fmt: skip
    assert done == [(1, 3), (2, 3), (3, 3)] * 2
    for one, other in zip(found[0].replacements, found[1].replacements, strict=True):
        assert (one.node, one.input) == (other.node, other.input)
        np.testing.assert_array_equal(one.array, other.array)
    assert found[0].model == model_digest(small)
    assert [ir.to_proto(one).SerializeToString() for one in (model, small)] == before


def test_a_product_of_too_many_inputs_gets_its_bias_right(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "MOST_INPUTS", 4)
    model = net()
    plan = plan_of(model, c1=(0, 3, 6))
    cut, fitted = losses(model, plan)
    assert fitted < cut
    found = found_for(model, plan)[1]
    assert all(facts.steps == ("bias",) for facts in found.layers)
    assert {one.input for one in found.replacements} == {2}


def test_another_model_is_refused() -> None:
    model = net()
    plan = plan_of(model, c1=(0,))
    other = pruned(model, plan)
    next(node for node in other.graph if node.name == "r1").op_type = "Sigmoid"
    with pytest.raises(PruningError, match="'r1' is a Sigmoid in the pruned model"):
        reconstruct(model, other, plan, samples(model), PlainRunner)


def test_no_samples() -> None:
    model = net()
    plan = plan_of(model, c1=(0,))
    with pytest.raises(DataError, match="no samples"):
        reconstruct(model, pruned(model, plan), plan, samples(model, 0), PlainRunner)


NORMS = f"""
g (float[N,3,6,6] x) => (float[N,5,6,6] y)
  <{weights("w0", (8, 3, 3, 3))}, {weights("w1", (8, 4, 3, 3))}, {batch_norm(4)},
   {weights("w2", (5, 4, 1, 1))}>
{{
  c0 = Conv<pads=[1,1,1,1]>(x, w0)
  r0 = Relu(c0)
  t1 = ConvTranspose<pads=[1,1,1,1]>(r0, w1)
  n1 = BatchNormalization(t1, g, b, m, v)
  r1 = Relu(n1)
  y = Conv(r1, w2)
}}
"""


def test_statistics_behind_what_is_not_fitted_are_estimated_anew() -> None:
    """Mean and variance behind the BatchNormalization become those of the original."""
    model = net(NORMS)
    plan = plan_of(model, c0=(0, 4))
    small, found = found_for(model, plan)
    norm = [one for one in found.replacements if one.node == "n1"]
    assert [one.input for one in norm] == [3, 4]
    only = Corrections(found.model, tuple(norm), {}, {}, ())
    moments = []
    for one in (model, CorrectWeights(only)(small.clone()).model):
        tapped = one.clone()
        value = next(v for node in tapped.graph for v in node.outputs if v.name == "n1")
        tapped.graph.outputs.append(value)
        array = answers(tapped, samples(model))["n1"]
        moments.append((array.mean((0, 2, 3)), array.std((0, 2, 3))))
    bias = [one for one in found.replacements if one.node == "t1"]
    assert not bias or bias[0].input == 2
    cut, fitted = losses(model, plan)
    assert fitted < cut
    np.testing.assert_allclose(moments[1][1], moments[0][1], rtol=1e-3)


FOLDED = f"""
g (float[N,3,6,6] x) => (float[N,5,6,6] y)
  <{weights("w0", (8, 3, 3, 3))}, {weights("d", (8, 1, 3, 3))}, {batch_norm(8)},
   {weights("w2", (5, 8, 1, 1))}>
{{
  c0 = Conv<pads=[1,1,1,1]>(x, w0)
  r0 = Relu(c0)
  d1 = Conv<group=8, pads=[1,1,1,1]>(r0, d)
  n1 = BatchNormalization(d1, g, b, m, v)
  r1 = Relu(n1)
  y = Conv(r1, w2)
}}
"""


def test_through_depthwise_convolutions_and_normalisation() -> None:
    model = net(FOLDED)
    (name,) = [group.name for group in channels_of(model).groups if not group.reason]
    cut, fitted = losses(model, plan_of(model, **{name: (1, 2, 6)}))
    assert fitted < 0.6 * cut


MATRICES = f"""
g (float[N,7,6] x) => (float[N,7,5] y)
  <{weights("w0", (6, 12))}, {weights("b0", (12,))}, {weights("w1", (12, 6))},
   {weights("b1", (6,))}, {weights("w2", (6, 5))}>
{{
  m0 = MatMul(x, w0)
  a0 = Add(m0, b0)
  r0 = Relu(a0)
  m1 = MatMul(r0, w1)
  a1 = Add(m1, b1)
  s1 = Add(a1, x)
  y = MatMul(s1, w2)
}}
"""


def test_through_matrices_whose_biases_are_added_behind() -> None:
    model = net(MATRICES)
    plan = plan_of(model, m0=(0, 5, 7, 11))
    cut, fitted = losses(model, plan)
    assert fitted < 0.5 * cut
    found = found_for(model, plan)[1]
    assert ("a1", 1) in {(one.node, one.input) for one in found.replacements}


@given(st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=3), st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_random_networks_are_valid_and_hardly_worse(blocks: list[str], seed: int) -> None:
    model = picture_net(blocks, seed)
    groups = [group for group in channels_of(model).groups if not group.reason and group.size > 2]
    plan = PrunePlan(model_digest(model), {group.name: (0,) for group in groups})
    small = pruned(model, plan)
    rng = np.random.default_rng(seed)
    data = MemoryDataset({"x": rng.standard_normal((64, 3, 6, 6), np.float32)})
    options = ReconstructOptions(batch_size=2)
    found = reconstruct(model, small, plan, data, PlainRunner, options=options)
    fitted = CorrectWeights(found)(small.clone()).model
    onnx.checker.check_model(ir.to_proto(fitted), full_check=True)
    wanted = answers(model, data, 2)
    before, after = (distance(answers(one, data, 2), wanted) for one in (small, fitted))
    assert after <= before * 1.1 + 1e-6
