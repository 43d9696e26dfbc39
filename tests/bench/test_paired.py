from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmopt.bench.paired import Paired


@given(seed=st.integers(0, 2**31), count=st.integers(1, 40))
def test_packing_loses_nothing(seed: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    reference, candidate = generator.random(count) < 0.8, generator.random(count) < 0.7
    paired = Paired.of(reference, candidate)
    assert paired.flags()[0].tolist() == reference.tolist()
    assert paired.flags()[1].tolist() == candidate.tolist()
    gained, lost = paired.discordant()
    assert gained - lost == int(candidate.sum()) - int(reference.sum())
    json.dumps(paired.to_dict())


def test_interval_agrees_with_the_normal_approximation() -> None:
    reference = np.ones(10_000, bool)
    candidate = reference.copy()
    reference[:200] = False
    candidate[200:700] = False
    interval = Paired.of(reference, candidate).difference()
    half = 2.576 * np.sqrt(0.07 - 0.03**2) / 100
    assert interval.low == pytest.approx(-0.03 - half, abs=5e-4)
    assert interval.high == pytest.approx(-0.03 + half, abs=5e-4)


def test_few_samples_without_disagreement_do_not_prove_equality() -> None:
    few = Paired.of(np.ones(20, bool), np.ones(20, bool)).difference()
    many = Paired.of(np.ones(5000, bool), np.ones(5000, bool)).difference()
    assert few.low <= -0.05
    assert few.high >= 0.05
    assert 0.001 < many.high < 0.0011


@pytest.mark.parametrize(("gain", "loss"), [(0.02, 0.02), (0.0, 0.01), (0.02, 0.08)])
def test_interval_covers(gain: float, loss: float) -> None:
    generator = np.random.default_rng(7)
    missed = 0
    for seed in range(100):
        drawn = generator.random(300)
        reference, candidate = drawn >= gain, (drawn < gain) | (drawn >= gain + loss)
        interval = Paired.of(reference, candidate).difference(seed=seed)
        missed += not interval.low <= gain - loss <= interval.high
    assert missed <= 5


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(1, 200))
def test_swapping_the_models_mirrors_the_interval(seed: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    left, right = generator.random(count) < 0.8, generator.random(count) < 0.7
    there, back = Paired.of(left, right).difference(), Paired.of(right, left).difference()
    assert there.low == pytest.approx(-back.high, abs=0.05 + 1 / count)
    assert there.high == pytest.approx(-back.low, abs=0.05 + 1 / count)
    change = float(right.mean() - left.mean())
    assert there.low <= change <= there.high


def test_is_repeatable_and_needs_like_arrays() -> None:
    paired = Paired.of(np.array([True, False, True]), np.array([True, True, False]))
    assert paired.difference(seed=3) == paired.difference(seed=3)
    with pytest.raises(ValueError, match="same samples"):
        Paired.of(np.ones(3, bool), np.ones(4, bool))
