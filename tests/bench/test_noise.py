from __future__ import annotations

import json

import pytest

from bmopt.bench.noise import floor_of
from bmopt.core.measurement import Block, Environment, Measurement, Settings
from bmopt.errors import UsageError


def measured(*rounds: tuple[int, int], names: tuple[str, ...] = ("a", "b")) -> Measurement:
    blocks = [
        Block(name, 2 * i + k, (0,), (rounds[i][k],))
        for i in range(len(rounds))
        for k, name in enumerate(names)
    ]
    return Measurement(names, tuple(blocks), Environment({}), Settings(precision=0.02))


def test_half_width_is_half_of_the_interval() -> None:
    one = measured(*[(1000, 1010), (1010, 1000)] * 2, *[(1000, 1004), (1000, 1000)] * 8)
    floor = floor_of(one)
    estimate = floor.estimate
    assert floor.half_width == pytest.approx((estimate.high - estimate.low) / estimate.ratio / 2)
    assert 0.0 < floor.half_width < 0.01
    assert json.loads(json.dumps(floor.to_dict()))["half_width"] == floor.half_width


@pytest.mark.parametrize(("again", "different"), [(1000, False), (1030, True), (970, True)])
def test_a_difference_between_the_same_is_told(again: int, different: bool) -> None:
    assert floor_of(measured(*[(1000, again)] * 16)).is_different is different


def test_too_few_turns_have_no_floor() -> None:
    floor = floor_of(measured((1000, 1000), (1000, 1000)))
    assert not floor.is_different
    assert floor.half_width == float("inf")
    assert json.loads(json.dumps(floor.to_dict()))["half_width"] is None


def test_instances_can_be_named_among_others() -> None:
    blocks = [
        Block(name, i, (0,), (latency,))
        for i in range(20)
        for name, latency in (("a", 100), ("b", 50), ("a again", 100))
    ]
    one = Measurement(("a", "b", "a again"), tuple(blocks), Environment({}), Settings())
    assert floor_of(one, "a", "a again").estimate.ratio == 1.0
    assert floor_of(one).is_different
    with pytest.raises(UsageError, match="'c' was not measured"):
        floor_of(one, "a", "c")
