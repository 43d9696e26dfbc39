from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir
import pytest

from bmopt.calibration import equalize
from bmopt.calibration.collect import collect_ranges
from bmopt.calibration.equalize import channels_to_watch, plan_cross_layer, plan_smoothing
from bmopt.calibration.equalize_rows import MOST_ROWS, sample_rows
from bmopt.core.equalization import EqualizationPlan
from bmopt.core.ranges import RangeTable
from bmopt.core.runner import Array
from bmopt.core.scheme import Scheme
from bmopt.errors import CalibrationError, DataError
from bmopt.graph.model_digest import model_digest
from bmopt.optimizer.passes.equalize import Equalize
from tests.calibration.memory_dataset import MemoryDataset
from tests.engine import PlainRunner
from tests.graph.chain_models import SCALABLE, chained
from tests.optimizer.literals import weights
from tests.quantizing import inputs_scheme, measured, quantized, samples_for, scheme, sqnr_db
from tests.rewriting import run_plain

SCHEMES = {"outputs": scheme(), "inputs": inputs_scheme()}

MOBILE = f"""g (float[N,3,8,8] x) => (float[N,5,A,B] y)
  <{weights("w", (8, 3, 3, 3))}, {weights("b", (8,))}, {weights("d", (8, 1, 3, 3))},
   {weights("e", (8,))}, {weights("v", (5, 8, 1, 1))}, float l = {{0}}, float h = {{6}}>
{{ c = Conv<pads=[1,1,1,1]>(x, w, b)  r = Clip(c, l, h)
   p = Conv<group=8, pads=[1,1,1,1]>(r, d, e)  s = Clip(p, l, h)  y = Conv(s, v) }}"""


def uneven(model: ir.Model, **scales: list[float]) -> ir.Model:
    """Multiply initialisers along their first axis."""
    for name, factors in scales.items():
        tensor = model.graph.initializers[name].const_value
        assert tensor is not None
        array = tensor.numpy()
        along = np.array(factors, np.float32).reshape(-1, *[1] * (array.ndim - 1))
        model.graph.initializers[name].const_value = ir.tensor(array * along, name=name)
    return model


def mobile() -> ir.Model:
    """Channels of very different ranges, of similar weight later; some reach a Clip's bound."""
    spread = [4.0, 3.0, 0.5, 0.1, 0.05, 0.02, 0.3, 0.01]
    later = [4.0, 0.1, 2.0, 0.05, 1.0, 0.2, 0.5, 1.0]
    back = [second / first for first, second in zip(spread, later, strict=True)]
    return uneven(chained(MOBILE), w=spread, b=spread, d=back)


def smoothed(model: ir.Model, wanted: Scheme, samples: dict[str, Array]) -> EqualizationPlan:
    dataset = MemoryDataset(samples)
    digest = model_digest(model)
    return plan_smoothing(model, wanted, dataset, PlainRunner, batch_size=8, model_digest=digest)


def watched(model: ir.Model, samples: dict[str, Array]) -> RangeTable:
    return collect_ranges(
        model,
        MemoryDataset(samples),
        PlainRunner,
        model_digest=model_digest(model),
        batch_size=8,
        channels=channels_to_watch(model.graph),
    )


def applied(model: ir.Model, plan: EqualizationPlan) -> ir.Model:
    copy = model.clone()
    Equalize(plan)(copy)
    return copy


def quality(model: ir.Model, plan: EqualizationPlan, wanted: Scheme) -> tuple[float, float]:
    """Return the output SQNR in dB of the quantised model without and with the plan."""
    feeds = samples_for(model, seed=0)
    (want,) = run_plain(model, feeds)
    plain, _ = quantized(model, wanted=wanted)
    better, _ = quantized(applied(model, plan), wanted=wanted)
    (before,), (after,) = run_plain(plain, feeds), run_plain(better, feeds)
    return sqnr_db(want, before), sqnr_db(want, after)


@pytest.mark.parametrize("side", SCHEMES)
@pytest.mark.parametrize("how", ["samples", "table"])
def test_results_on_the_samples_stay_through_clips(how: str, side: str) -> None:
    model = mobile()
    samples = samples_for(model)
    if how == "samples":
        plan = smoothed(model, SCHEMES[side], samples)
    else:
        plan = plan_cross_layer(model, SCHEMES[side], watched(model, samples), model_digest(model))
    assert {scaling.tensor for scaling in plan.scalings} == {"r", "s"}
    (want,), (got,) = run_plain(model, samples), run_plain(applied(model, plan), samples)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_channels_that_reach_a_bound_keep_their_size() -> None:
    model = mobile()
    samples = samples_for(model)
    plan = smoothed(model, scheme(), samples)
    highs = {n: r.high for n, r in _rows(model, samples).items()}
    for scaling in plan.scalings:
        high, factors = highs[scaling.tensor], np.array(scaling.factors)
        assert (high == 6.0).any()
        np.testing.assert_array_equal(factors[high == 6.0], 1.0)
        assert (high * factors <= 6.0 + 1e-5).all()
        assert factors.max() > 2.0


def _rows(model: ir.Model, samples: dict[str, Array]) -> dict[str, equalize.ChannelRows]:
    axes = channels_to_watch(model.graph)
    return sample_rows(model, axes, MemoryDataset(samples), PlainRunner, batch_size=4)


@pytest.mark.parametrize("side", SCHEMES)
def test_depthwise_chains_gain(side: str) -> None:
    model = mobile()
    plan = smoothed(model, SCHEMES[side], samples_for(model, count=64, seed=5))
    before, after = quality(model, plan, SCHEMES[side])
    assert after > before + 1.0


@pytest.mark.parametrize("side", SCHEMES)
def test_an_outlier_of_a_normalisation_is_tamed(side: str) -> None:
    model = uneven(
        chained(SCALABLE["layer-norm"][0]), s=[1, 1, 40, 1, 1, 1], t=[1, 1, 40, 1, 1, 1]
    )
    plan = smoothed(model, SCHEMES[side], samples_for(model, count=64, seed=5))
    (scaling,) = plan.scalings
    assert (scaling.tensor, scaling.axis, scaling.readers) == ("l", 2, ("a", "c"))
    assert min(scaling.factors) == scaling.factors[2]


@pytest.mark.parametrize("name", SCALABLE)
def test_every_kind_of_chain_can_be_planned(name: str) -> None:
    model = chained(SCALABLE[name][0])
    samples = samples_for(model)
    table = watched(model, samples)
    digest = model_digest(model)
    for plan in (
        smoothed(model, scheme(), samples),
        plan_cross_layer(model, scheme(), table, digest),
        plan_cross_layer(model, scheme(), None, digest),
    ):
        known = {s.tensor for s in plan.scalings} | set(plan.refused)
        assert set(SCALABLE[name][1]) <= known
        want, got = run_plain(model, samples), run_plain(applied(model, plan), samples)
        for left, right in zip(want, got, strict=True):
            np.testing.assert_allclose(right, left, rtol=2e-4, atol=2e-4)


def test_a_plan_is_the_same_every_time() -> None:
    model = mobile()
    samples = samples_for(model)
    assert smoothed(model, scheme(), samples) == smoothed(model, scheme(), samples)


def test_small_groups_give_the_same_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    model = mobile()
    samples = samples_for(model)
    want = smoothed(model, scheme(), samples)
    monkeypatch.setattr(equalize, "_ROWS_BYTES", 1)
    assert smoothed(model, scheme(), samples) == want


def test_progress_and_strengths() -> None:
    model, seen = mobile(), list[tuple[int, int]]()
    plan = plan_smoothing(
        model,
        scheme(),
        MemoryDataset(samples_for(model)),
        PlainRunner,
        batch_size=8,
        model_digest="d" * 64,
        strengths=(0.0,),
        progress=lambda *done: seen.append(done),
    )
    assert seen == [(1, 2), (2, 2)]
    assert plan.model == "d" * 64
    assert plan.scalings == ()
    assert plan.refused["r"] == "no scaling gives a smaller error"


def test_reasons() -> None:
    model = mobile()
    samples = samples_for(model)
    one_scale = dataclasses.replace(
        scheme(), weight=dataclasses.replace(scheme().weight, per_channel=False)
    )
    no_convs = dataclasses.replace(scheme(), products=frozenset({"Gemm"}))
    plain = measured(model, samples)
    digest = model_digest(model)
    assert "share one scale" in smoothed(model, one_scale, samples).refused["r"]
    assert smoothed(model, no_convs, samples).refused["s"] == "no reader of it runs in 8 bits"
    for table in (plain, None):
        refused = plan_cross_layer(model, scheme(), table, digest).refused
        assert refused["r"] == "the range table has no ranges of its channels"


def test_one_scale_per_tensor_equalises_weights_within_the_bounds() -> None:
    model = mobile()
    samples = samples_for(model)
    one_scale = dataclasses.replace(
        scheme(), weight=dataclasses.replace(scheme().weight, per_channel=False)
    )
    plan = plan_cross_layer(model, one_scale, watched(model, samples), model_digest(model))
    before, after = quality(model, plan, one_scale)
    assert after > before + 3.0


def test_a_table_of_another_model() -> None:
    model = mobile()
    table = measured(model, samples_for(model))
    with pytest.raises(CalibrationError, match="was measured on model"):
        plan_cross_layer(model, scheme(), table, "x" * 64)


def test_rows_are_bounded_and_spread() -> None:
    model = chained(SCALABLE["relu"][0])
    samples = samples_for(model, count=100)
    found = sample_rows(model, {"r": 1}, MemoryDataset(samples), PlainRunner, batch_size=8)["r"]
    assert len(found.folds) == 4
    assert sum(len(part.rows) for part in found.folds) == MOST_ROWS
    assert {part.rows.shape[1] for part in found.folds} == {4}
    for part in found.folds:
        assert (part.high <= found.high).all()
    assert (np.max([part.high for part in found.folds], axis=0) == found.high).all()
    again = sample_rows(model, {"r": 1}, MemoryDataset(samples), PlainRunner, batch_size=8)["r"]
    np.testing.assert_array_equal(again.folds[3].rows, found.folds[3].rows)


def test_one_sample_is_enough_and_none_is_not() -> None:
    model = chained(SCALABLE["relu"][0])
    one = MemoryDataset(samples_for(model, count=1))
    found = sample_rows(model, {"r": 1}, one, PlainRunner, batch_size=8)["r"]
    assert len(found.folds) == 1
    np.testing.assert_array_equal(found.folds[0].high, found.high)
    none = MemoryDataset(samples_for(model, count=0))
    with pytest.raises(DataError, match="has no samples"):
        sample_rows(model, {"r": 1}, none, PlainRunner, batch_size=8)


def test_nan_is_an_error() -> None:
    model = chained(SCALABLE["relu"][0])
    samples = samples_for(model)
    samples["x"][3] = np.nan
    with pytest.raises(CalibrationError, match="'r': has NaN or infinities"):
        smoothed(model, scheme(), samples)
