from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmopt.calibration.pruning.importance import IMPORTANCES
from bmopt.calibration.pruning.ranking import RankOptions, rank_channels
from bmopt.errors import DataError, PruningError
from bmopt.graph.channels.groups import channels_of
from tests.calibration.memory_dataset import MemoryDataset
from tests.calibration.pruning.nets import (
    answers,
    distance,
    net,
    pruned,
    ranked,
    samples,
    set_weight,
    weight,
)
from tests.engine import PlainRunner
from tests.graph.channels.random_graphs import BLOCKS, attention_net, picture_net


def with_dead_channels() -> ir.Model:
    """Channels 1 and 5 of c1 are zero behind the Relu; no other weight looks unusual."""
    model = net()
    array, bias = weight(model, "w1"), weight(model, "b1")
    bias[[1, 5]] = -100
    set_weight(model, "w1", array)
    set_weight(model, "b1", bias)
    return model


@pytest.mark.parametrize("importance", ["activation", "second-order"])
def test_channels_that_are_always_zero_go_first_and_cost_nothing(importance: str) -> None:
    model = with_dead_channels()
    group = next(g for g in ranked(model, importance=importance).groups if g.name == "c1")
    assert set(group.order[:2]) == {1, 5}
    losses = {level.kept: level.loss for level in group.losses}
    assert losses[8] == 0.0
    assert losses[6] < 1e-9
    assert losses[4] > 1e-6
    plan = ranked(model, importance=importance).plan({"c1": 6})
    assert plan.removed == {"c1": (1, 5)}
    data = samples(model)
    assert distance(answers(pruned(model, plan), data), answers(model, data)) < 1e-9


def test_what_other_channels_can_make_up_for_goes_first() -> None:
    """Channel 3 of c1 is another's copy: a fit of what reads it loses nothing, its norm does."""
    model = net()
    array, bias = weight(model, "w1"), weight(model, "b1")
    array[3], bias[3] = 3 * array[6], 3 * bias[6]
    set_weight(model, "w1", array)
    set_weight(model, "b1", bias)
    second = next(g for g in ranked(model).groups if g.name == "c1")
    assert second.order[0] in (3, 6)
    assert second.losses[1].loss < 1e-4
    norm = next(g for g in ranked(model, importance="l1").groups if g.name == "c1")
    assert norm.order[0] not in (3, 6)


@pytest.mark.parametrize("importance", IMPORTANCES)
def test_losses_are_measured_at_every_group_that_can_be_cut(importance: str) -> None:
    model = net()
    found = {group.name: group for group in ranked(model, importance=importance, widths=4).groups}
    assert [name for name, group in found.items() if group.losses] == ["c0", "c1", "c3"]
    for name in ("c0", "c1", "c3"):
        group = found[name]
        assert sorted(group.order) == list(range(group.size))
        assert [level.kept for level in group.losses][:1] == [group.size]
        assert group.losses[-1].kept == (0 if group.is_branch else 1)
        assert all(level.loss >= 0 and np.isfinite(level.loss) for level in group.losses)
        assert group.losses[-1].loss > group.losses[1].loss
    assert [name for name, group in found.items() if group.is_branch] == ["c1"]
    assert "in the output" in found["y"].reason
    assert not found["y"].order


def test_a_loss_is_that_of_the_fitted_model() -> None:
    """Nothing lies behind the readers of c3 but the output, so its loss can be computed."""
    model = net()
    group = next(g for g in ranked(model, samples=40, probes=8).groups if g.name == "c3")
    data = samples(model)
    tapped = model.clone()
    tapped.graph.outputs.append(next(v for n in tapped.graph for v in n.outputs if v.name == "f"))
    found = answers(tapped, data)
    kept = sorted(group.order[-group.losses[3].kept :])
    x, y = found["f"][:, kept], found["y"]
    fit = np.linalg.lstsq(np.c_[x[:40], np.ones(40)], y[:40], rcond=None)[0]
    error = np.c_[x[40:], np.ones(8)] @ fit - y[40:]
    wanted = np.square(error).sum() / np.square(y[40:] - y[40:].mean()).sum()
    assert group.losses[3].loss == pytest.approx(wanted, rel=0.05)


def test_what_lies_behind_the_readers_makes_up_for_some_of_a_loss() -> None:
    near = {group.name: group.losses for group in ranked(net(), settle=0).groups}
    far = {group.name: group.losses for group in ranked(net(), settle=8).groups}
    for name in ("c0", "c1"):
        pairs = list(zip(near[name], far[name], strict=True))
        assert all(less.loss <= more.loss for more, less in pairs)
        assert pairs[-1][1].loss < 0.9 * pairs[-1][0].loss
    assert near["c3"] == far["c3"]  # nothing that could be fitted lies behind its reader


def test_a_plan_may_take_all_of_a_branch_only() -> None:
    found = ranked(net())
    assert len(found.plan({"c1": 0}).removed["c1"]) == 8
    with pytest.raises(PruningError, match="'c3' cannot lose 8"):
        found.plan({"c3": 0})


def test_groups_that_are_to_stay_do() -> None:
    model = net()
    found = {group.name: group for group in ranked(model, keep=("c1", "c3")).groups}
    assert found["c1"].reason == "it is to stay whole"
    assert found["c0"].losses
    with pytest.raises(PruningError, match="no group 'c9'"):
        ranked(model, keep=("c9",))
    with pytest.raises(PruningError, match="no group of this model can lose channels"):
        ranked(model, keep=("c0", "c1", "c3"))


def test_no_group_at_all() -> None:
    model = net("g (float[N,3] x) => (float[N,3] y) { y = Relu(x) }")
    with pytest.raises(PruningError, match=r"can lose channels$"):
        ranked(model)


def test_no_samples() -> None:
    model = net()
    with pytest.raises(DataError, match="no samples"):
        rank_channels(model, channels_of(model), samples(model, 0), PlainRunner)


def test_one_sample_is_enough() -> None:
    model = net()
    found = rank_channels(model, channels_of(model), samples(model, 1), PlainRunner)
    assert any(group.losses for group in found.groups)


def test_the_model_stays_and_the_result_is_the_same_again() -> None:
    model = net()
    before = ir.to_proto(model).SerializeToString()
    done: list[tuple[int, int]] = []
    options = RankOptions(batch_size=8)
    args = (model, channels_of(model), samples(model), PlainRunner)
    first = rank_channels(*args, options=options, progress=lambda *at: done.append(at))
    assert done == [(1, 3), (2, 3), (3, 3)]
    assert rank_channels(*args, options=options) == first
    assert ir.to_proto(model).SerializeToString() == before


@given(st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=3), st.integers(0, 99))
@settings(max_examples=12, deadline=None)
def test_random_networks(blocks: list[str], seed: int) -> None:
    model = picture_net(blocks, seed)
    require_ranked(model, batch=2)


def test_attention() -> None:
    require_ranked(attention_net(3, 4, 0), batch=None)


def require_ranked(model: ir.Model, batch: int | None) -> None:
    """Rank, and cut every group by half."""
    value = model.graph.inputs[0]
    assert value.shape is not None
    shape = [size if isinstance(size, int) else 2 for size in value.shape]
    rng = np.random.default_rng(0)
    feeds = rng.standard_normal((4 * shape[0], *shape[1:]), np.float32)
    data = MemoryDataset({value.name or "": feeds})
    options = RankOptions(batch_size=batch or shape[0], widths=2, samples=2 * shape[0])
    try:
        found = rank_channels(model, channels_of(model), data, PlainRunner, options=options)
    except PruningError:
        return
    for group in found.groups:
        assert bool(group.reason) != bool(group.losses) or group.size == 1
        assert all(np.isfinite(level.loss) for level in group.losses)
    small = pruned(model, found.plan({g.name: -(-g.size // 2) for g in found.groups if g.losses}))
    with PlainRunner(small) as runner:
        assert runner.run({value.name or "": feeds[: shape[0]]})


def test_fewer_batches_are_asked_for_than_there_are() -> None:
    @dataclasses.dataclass(frozen=True)
    class Endless(MemoryDataset):
        def batches(self, batch_size: int) -> itertools.islice:  # type: ignore[type-arg,override]
            return itertools.islice(itertools.cycle(super().batches(batch_size)), 10**9)

    model = net()
    data = Endless(samples(model).arrays)
    found = rank_channels(model, channels_of(model), data, PlainRunner)
    assert any(group.losses for group in found.groups)
