from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bmopt.calibration.learned.descent import Deadline
from bmopt.calibration.learned.options import LearnOptions
from bmopt.calibration.learned.weight import RoundingProblem, is_held_out, learned_weight

pytest.importorskip("torch")

QUICK = LearnOptions(iterations=200)


def problem(seed: int, limit: int = 7, **changes: Any) -> RoundingProblem:
    """Return correlated rows and a weight rounded to nearest in few steps."""
    rng = np.random.default_rng(seed)
    groups, rows, size, outputs = 2, 400, 12, 5
    mix = rng.standard_normal((size, size)) * 0.6 + 1
    x = (rng.standard_normal((groups, rows, size)) @ mix).astype(np.float32)
    weight = rng.standard_normal((groups, outputs, size))
    bias = rng.standard_normal((groups, outputs)).astype(np.float32)
    scales = np.abs(weight).max(axis=2) / limit
    found = RoundingProblem(
        rows=x,
        wanted=(x @ weight.swapaxes(1, 2) + bias[:, None]).astype(np.float32),
        bounds=None,
        weight=weight,
        scales=scales,
        start=np.rint(weight / scales[:, :, None]),
        bias=bias,
        limit=limit,
    )
    return dataclasses.replace(found, **changes)


def error(of: RoundingProblem, stored: np.ndarray, bias: np.ndarray) -> float:
    held = is_held_out(of.rows.shape[1], QUICK.held_out)
    weight = (stored * of.scales[:, :, None]).swapaxes(1, 2)
    found, wanted = of.rows[:, held] @ weight + bias[:, None], of.wanted[:, held]
    if of.bounds is not None:
        found, wanted = found.clip(*of.bounds), wanted.clip(*of.bounds)
    return float(np.square(found - wanted).mean())


@pytest.mark.parametrize(
    ("bounds", "left"), [(None, 0.5), ((0.0, float("inf")), 0.5), ((0.0, 6.0), 0.9)]
)
def test_it_is_better_than_nearest(bounds: tuple[float, float] | None, left: float) -> None:
    of = problem(0, bounds=bounds)
    found = learned_weight(of, QUICK)
    assert found.is_new
    assert found.after < left * found.before
    assert found.before == pytest.approx(error(of, of.start, of.bias), rel=1e-3)
    assert found.after == pytest.approx(error(of, found.stored, found.bias), rel=1e-3)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([3, 7, 127]), st.sampled_from([1, 30]))
def test_it_is_never_worse_than_the_start(seed: int, limit: int, iterations: int) -> None:
    of = problem(seed, limit)
    rng = np.random.default_rng(seed)
    start = np.clip(of.start + rng.integers(-1, 2, of.start.shape), -limit, limit)
    of = dataclasses.replace(of, start=start)
    found = learned_weight(of, LearnOptions(iterations=iterations))
    assert error(of, found.stored, found.bias) <= error(of, start, of.bias) * (1 + 1e-5)
    assert np.array_equal(found.stored, np.rint(found.stored))
    assert np.abs(found.stored).max() <= limit
    assert np.abs(found.stored - start).max() <= 1
    if not found.is_new:
        assert np.array_equal(found.stored, start)


def test_the_rows_that_decide_can_be_given() -> None:
    of = problem(6)
    held = np.arange(of.rows.shape[1]) < 40
    found = learned_weight(dataclasses.replace(of, held_out=held), QUICK)
    weight = (of.start * of.scales[:, :, None]).swapaxes(1, 2)
    off = of.rows[:, held] @ weight + of.bias[:, None] - of.wanted[:, held]
    assert found.before == pytest.approx(float(np.square(off).mean()), rel=1e-3)
    assert found.is_new
    none = dataclasses.replace(of, held_out=np.zeros_like(held))
    assert not learned_weight(none, QUICK).is_new


def test_a_perfect_start_stays() -> None:
    of = problem(1)
    exact = of.start * of.scales[:, :, None]
    wanted = of.rows @ exact.swapaxes(1, 2) + of.bias[:, None]
    found = learned_weight(dataclasses.replace(of, wanted=wanted), QUICK)
    assert np.array_equal(found.stored, of.start)


def test_the_same_seed_gives_the_same_bits() -> None:
    first, second = (learned_weight(problem(2), QUICK) for _ in range(2))
    assert np.array_equal(first.stored, second.stored)
    assert np.array_equal(first.bias, second.bias)
    other = learned_weight(problem(2), dataclasses.replace(QUICK, seed=1))
    assert not np.array_equal(first.bias, other.bias)


def test_a_wrong_bias_is_learned_unless_it_is_to_be_kept() -> None:
    of = problem(3, 127)
    off = dataclasses.replace(of, bias=of.bias + 1)
    assert learned_weight(off, dataclasses.replace(QUICK, bias_rate=0.02)).after < 0.1
    kept = learned_weight(dataclasses.replace(off, keeps_bias=True), QUICK)
    assert np.array_equal(kept.bias, off.bias)


def test_nothing_is_learned_when_time_is_over() -> None:
    of = problem(4)
    found = learned_weight(of, QUICK, deadline=Deadline(0))
    assert found.after <= found.before
    assert np.abs(found.stored - of.weight / of.scales[:, :, None]).max() < 1


def test_too_few_rows_to_hold_one_out_keep_the_start() -> None:
    of = problem(5)
    few = dataclasses.replace(of, rows=of.rows[:, :3], wanted=of.wanted[:, :3])
    assert not learned_weight(few, QUICK).is_new


@pytest.mark.parametrize(("count", "held"), [(0, 0), (4, 0), (5, 1), (10, 2), (101, 20)])
def test_rows_are_held_out_evenly(count: int, held: int) -> None:
    found = is_held_out(count, 0.2)
    assert len(found) == count
    assert found.sum() == held
    assert np.array_equal(np.flatnonzero(found), np.arange(held) * 5 + 4)
