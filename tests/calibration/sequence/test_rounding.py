from __future__ import annotations

import itertools
import math

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from bmopt.calibration.sequence import rounding
from bmopt.calibration.sequence.fitting import choose_damping, damped, least_squares
from bmopt.calibration.sequence.rounding import round_compensated

seeds = st.integers(0, 1 << 16)


def problem(
    seed: int, groups: int = 1, outputs: int = 2, size: int = 5, rank: int = 7
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return weights, scales that make them a few steps, and the form of correlated inputs."""
    rng = np.random.default_rng(seed)
    mixed = rng.standard_normal((groups, rank, size)) @ rng.standard_normal((groups, size, size))
    form = mixed.swapaxes(1, 2) @ mixed / rank
    weight = rng.standard_normal((groups, outputs, size))
    scales = rng.uniform(0.2, 0.6, (groups, outputs))
    return weight, scales, form


def error(
    weight: np.ndarray, scales: np.ndarray, stored: np.ndarray, form: np.ndarray
) -> np.ndarray:
    off = weight - stored * scales[:, :, None]
    return np.einsum("gok,gkl,gol->go", off, form, off)


def nearest(weight: np.ndarray, scales: np.ndarray, limit: int = 127) -> np.ndarray:
    return np.rint(weight / scales[:, :, None]).clip(-limit, limit)


@given(seeds, st.integers(1, 12), st.integers(1, 20))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_rounding_never_errs_more_than_the_nearest_numbers(
    seed: int, size: int, rank: int
) -> None:
    weight, scales, form = problem(seed, 2, 3, size, rank)
    stored = round_compensated(weight, scales, form, 127)
    assert np.array_equal(stored, np.rint(stored))
    own = damped(form)
    mine = error(weight, scales, stored, own)
    plain = error(weight, scales, nearest(weight, scales), own)
    assert (mine <= plain * (1 + 1e-9) + 1e-12).all()


def test_rounding_is_better_than_the_nearest_numbers() -> None:
    weight, scales, form = problem(0, 2, 40, 24, 30)
    stored = round_compensated(weight, scales, form, 127)
    own = damped(form)
    mine = error(weight, scales, stored, own)
    plain = error(weight, scales, nearest(weight, scales), own)
    assert mine.sum() < 0.5 * plain.sum()


def test_sweeps_only_lower_the_error() -> None:
    weight, scales, form = problem(1, 2, 20, 24, 30)
    sums = [
        error(weight, scales, round_compensated(weight, scales, form, 127, sweeps=n), damped(form))
        for n in range(4)
    ]
    for before, after in itertools.pairwise(sums):
        assert (after <= before + 1e-9).all()
    assert sums[1].sum() < sums[0].sum()


@pytest.mark.parametrize("seed", range(8))
def test_rounding_comes_near_the_best_of_all_numbers(seed: int) -> None:
    weight, scales, form = problem(seed, 1, 1, 4)
    stored, own = round_compensated(weight, scales, form, 127), damped(form)
    start = np.floor(weight / scales[:, :, None])
    best = min(
        float(error(weight, scales, start + np.array(move), own)[0, 0])
        for move in itertools.product(range(-1, 3), repeat=4)
    )
    assert error(weight, scales, stored, own)[0, 0] <= 2 * best + 1e-9


@given(seeds)
@settings(max_examples=20, deadline=None, derandomize=True)
def test_a_diagonal_form_asks_for_the_nearest_numbers(seed: int) -> None:
    weight, scales, form = problem(seed, 2, 3, 9)
    diagonal = form * np.eye(9)
    stored = round_compensated(weight, scales, diagonal, 127)
    np.testing.assert_array_equal(stored, nearest(weight, scales))


def test_numbers_keep_to_the_limit() -> None:
    weight, scales, form = problem(3, 2, 6, 10)
    stored = round_compensated(10 * weight, scales, form, 7)
    assert np.abs(stored).max() == 7


def test_groups_are_rounded_as_if_alone() -> None:
    weight, scales, form = problem(4, 5, 3, 9)
    together = round_compensated(weight, scales, form, 31)
    alone = [
        round_compensated(weight[i : i + 1], scales[i : i + 1], form[i : i + 1], 31)
        for i in range(5)
    ]
    np.testing.assert_array_equal(together, np.concatenate(alone))


@pytest.mark.parametrize("size", [63, 64, 65, 130])
def test_blocks_change_nothing(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    weight, scales, form = problem(5, 1, 4, size, 2 * size)
    blocked = round_compensated(weight, scales, form, 127)
    monkeypatch.setattr(rounding, "_BLOCK", 10_000)
    np.testing.assert_array_equal(round_compensated(weight, scales, form, 127), blocked)


def test_inputs_that_never_vary_are_rounded_to_nearest() -> None:
    weight, scales, form = problem(6, 1, 3, 6)
    form[:, 2] = form[:, :, 2] = 0.0
    stored = round_compensated(weight, scales, form, 127)
    np.testing.assert_array_equal(stored[:, :, 2], nearest(weight, scales)[:, :, 2])
    nothing = round_compensated(weight, scales, np.zeros_like(form), 127)
    np.testing.assert_array_equal(nothing, nearest(weight, scales))


def samples(seed: int, noise: float, count: int = 400) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    t = rng.standard_normal((2, count, 6))
    return t + noise * rng.standard_normal(t.shape) * np.arange(6), t


def forms(x: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    count = x.shape[1]
    return x.swapaxes(1, 2) @ x / count, t.swapaxes(1, 2) @ x / count


def test_least_squares_is_the_usual_one_with_hardly_any_damping() -> None:
    x, t = samples(0, 0.4)
    weight = np.random.default_rng(1).standard_normal((2, 3, 6))
    found = least_squares(weight, *forms(x, t), damping=1e-12)
    for group in range(2):
        wanted, *_ = np.linalg.lstsq(x[group], t[group] @ weight[group].T, rcond=None)
        np.testing.assert_allclose(found[group], wanted.T, rtol=1e-6, atol=1e-9)


def test_much_damping_keeps_the_weight() -> None:
    x, t = samples(0, 0.4)
    weight = np.random.default_rng(1).standard_normal((2, 3, 6))
    np.testing.assert_allclose(least_squares(weight, *forms(x, t), damping=1e9), weight, rtol=1e-6)


def test_no_damping_is_chosen_where_both_models_read_the_same() -> None:
    x, _ = samples(0, 0.4)
    weight = np.ones((2, 3, 6))
    assert choose_damping(weight, [forms(x[:, :200], x[:, :200])] * 2) == math.inf


def test_no_damping_is_chosen_on_one_half() -> None:
    assert choose_damping(np.ones((2, 3, 6)), [forms(*samples(0, 0.4))]) == math.inf


def test_no_damping_is_chosen_where_a_fit_does_not_hold_on_the_other_half() -> None:
    rng = np.random.default_rng(0)
    weight, halves = rng.standard_normal((2, 3, 6)), []
    for sign in (1, -1):
        t = rng.standard_normal((2, 50, 6))
        halves.append(forms(t * (1 + 0.3 * sign), t))
    assert choose_damping(weight, halves) == math.inf


def test_a_fit_that_holds_lowers_the_error_on_new_samples() -> None:
    weight = np.random.default_rng(1).standard_normal((2, 3, 6))
    x, t = samples(0, 0.4)
    halves = [forms(x[:, :200], t[:, :200]), forms(x[:, 200:], t[:, 200:])]
    damping = choose_damping(weight, halves)
    assert damping < 1
    fitted = least_squares(weight, *forms(x, t), damping=damping)
    x, t = samples(9, 0.4)
    wanted = t @ weight.swapaxes(1, 2)
    plain, mine = (np.square(x @ w.swapaxes(1, 2) - wanted).sum() for w in (weight, fitted))
    assert mine < 0.8 * plain


@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
def test_damping_does_not_depend_on_the_inputs_scale(scale: float) -> None:
    weight = np.random.default_rng(1).standard_normal((2, 3, 6))
    x, t = samples(0, 0.4)
    halves = [forms(x[:, :200], t[:, :200]), forms(x[:, 200:], t[:, 200:])]
    scaled = [(scale * xx, scale * tx) for xx, tx in halves]
    assert choose_damping(weight, scaled) == choose_damping(weight, halves)


def test_a_group_that_reads_only_zeros_keeps_its_weight() -> None:
    weight = np.random.default_rng(1).standard_normal((2, 3, 6))
    x, t = samples(0, 0.4)
    x[0] = t[0] = 0.0
    halves = [forms(x[:, :200], t[:, :200]), forms(x[:, 200:], t[:, 200:])]
    damping = choose_damping(weight, halves)
    assert damping < math.inf
    fitted = least_squares(weight, *forms(x, t), damping=damping)
    np.testing.assert_allclose(fitted[0], weight[0])


@pytest.mark.parametrize("seed", range(5))
def test_a_pass_without_sweeps_keeps_the_nearest_plane_bound(seed: int) -> None:
    """Every input adds at most half a step along what of it the later ones cannot make up."""
    weight, scales, form = problem(seed, 1, 30, 40, 20)
    own = damped(form)
    stored = round_compensated(weight, scales, form, 10_000, sweeps=0)
    order = np.argsort(-np.diagonal(own[0]), kind="stable")[::-1]
    heights = np.diagonal(np.linalg.cholesky(own[0][np.ix_(order, order)]))
    bound = np.square(scales) * np.square(heights).sum() / 4
    assert (error(weight, scales, stored, own) <= bound * (1 + 1e-9)).all()


@given(seeds, st.integers(2, 12))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_zeros_that_are_to_stay_do(seed: int, size: int) -> None:
    weight, scales, form = problem(seed, 2, 3, size, 20)
    kept = np.random.default_rng(seed).random(weight.shape) < 0.5
    weight = np.where(kept, weight, 0.0)
    stored = round_compensated(weight, scales, form, 127, kept=kept)
    assert not stored[~kept].any()
    own = damped(form)
    mine = error(weight, scales, stored, own)
    assert (mine <= error(weight, scales, nearest(weight, scales), own) * (1 + 1e-9) + 1e-12).all()
