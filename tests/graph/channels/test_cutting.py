"""A model without channels answers what the model answers whose channels are masked."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmopt.errors import PruningError
from bmopt.graph.channels.cutting import Removed, cut, mask
from bmopt.graph.channels.groups import Group, channels_of
from bmopt.graph.channels.selecting import least
from bmopt.optimizer.passes.infer_shapes import InferShapes
from bmopt.optimizer.passes.merge_splits import MergeSplits
from tests.graph.channels.random_graphs import (
    ATTENTIONS,
    BLOCKS,
    answers,
    attention_net,
    picture_net,
)


def chosen(groups: tuple[Group, ...], ratio: float, seed: int, whole: float = 0.0) -> Removed:
    """Return a part of every group, and of branches with the probability ``whole`` all."""
    rng = np.random.default_rng(seed)
    found = {
        group.name: least(group, rng.random(group.size), round(ratio * group.size))
        for group in groups
        if not group.reason
    }
    gone = [group for group in groups if group.exits and rng.random() < whole]
    return found | {group.name: tuple(range(group.size)) for group in gone}


def parameters(model: ir.Model) -> int:
    return sum(value.const_value.size for value in model.graph.initializers.values())  # type: ignore[union-attr]


def require_same_as_masked(make: object, ratio: float, seed: int, whole: float = 0.0) -> int:
    """Compare; return how many channels went."""
    assert callable(make)
    small, masked = make(), make()
    found = channels_of(small)
    removed = chosen(found.groups, ratio, seed, whole)
    before = parameters(small)
    mask(masked, channels_of(masked), removed)
    cut(small, found, removed)
    InferShapes()(small)
    onnx.checker.check_model(ir.to_proto(small), full_check=True)
    count = sum(map(len, removed.values()))
    assert parameters(small) < before or not count
    np.testing.assert_allclose(answers(small), answers(masked), rtol=2e-4, atol=2e-5)
    return count


@given(
    blocks=st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=5),
    ratio=st.sampled_from((0.25, 0.5, 0.95)),
    seed=st.integers(0, 99),
    whole=st.sampled_from((0.0, 0.5, 1.0)),
    batch=st.sampled_from((2, "N")),
)
@settings(max_examples=80, deadline=None)
def test_random_networks(
    blocks: list[str], ratio: float, seed: int, whole: float, batch: int | str
) -> None:
    require_same_as_masked(lambda: picture_net(blocks, seed, batch), ratio, seed, whole)


@pytest.mark.parametrize("block", BLOCKS)
def test_each_block_loses_channels(block: str) -> None:
    assert require_same_as_masked(lambda: picture_net([block, "conv"], 1), 0.5, 2) > 0


@pytest.mark.parametrize(("heads", "size"), [(2, 4), (4, 3), (3, 1)])
@pytest.mark.parametrize("kind", ATTENTIONS)
@pytest.mark.parametrize("batch", [2, "N"])
def test_attention_loses_heads_and_its_mlp_width(
    heads: int, size: int, kind: str, batch: int | str
) -> None:
    def make() -> ir.Model:
        model = attention_net(heads, size, 0, kind, batch)
        MergeSplits()(model)
        return model

    found = channels_of(make()).groups
    free = [group.size for group in found if not group.reason]
    assert free == [heads, 20]
    assert require_same_as_masked(make, 0.5, 1) > 0


@pytest.mark.parametrize("blocks", [["residual"], ["residual", "pad-channels"] * 2])
def test_a_branch_goes_whole(blocks: list[str]) -> None:
    small = picture_net(blocks, 3)
    found = channels_of(small)
    branches = [group for group in found.groups if group.exits]
    assert len(branches) == blocks.count("residual")
    nodes = len(list(small.graph))
    cut(small, found, {group.name: tuple(range(group.size)) for group in branches})
    assert len(list(small.graph)) == nodes - 4 * len(branches)  # two Convs, a Relu and the Add
    assert require_same_as_masked(lambda: picture_net(blocks, 3), 0.0, 1, whole=1.0) > 0


def test_heads_of_grouped_queries_go_with_their_key() -> None:
    found = channels_of(attention_net(4, 3, 0, "grouped")).groups
    assert [group.size for group in found if not group.reason] == [2, 20]
    assert require_same_as_masked(lambda: attention_net(4, 3, 0, "grouped", "N"), 0.5, 1) > 0


@pytest.mark.parametrize("whole", [0.0, 1.0])
def test_all_heads_of_attention_go_with_its_branch(whole: float) -> None:
    heads = channels_of(attention_net(2, 4, 0)).groups[0]
    assert heads.exits
    assert require_same_as_masked(lambda: attention_net(2, 4, 0), 0.5, 1, whole) > 0


def test_what_cannot_be_cut_is_refused() -> None:
    model = picture_net(["residual"], 0)
    found = channels_of(model)
    free = next(group for group in found.groups if not group.reason and not group.exits)
    fixed = next(group for group in found.groups if group.reason)
    for removed, message in (
        ({"nothing": (0,)}, "there is no group 'nothing'"),
        ({fixed.name: (0,)}, "it is in the output"),
        ({free.name: (free.size,)}, f"has {free.size} channels"),
        ({free.name: tuple(range(free.size))}, "left without channels"),
    ):
        with pytest.raises(PruningError, match=message):
            cut(model, found, removed)
