from __future__ import annotations

import numpy as np
import pytest

from bmopt.calibration.pruning import elimination
from bmopt.calibration.pruning.elimination import Part, eliminate, refit


def part(seed: int, channels: int = 5, taps: int = 3, groups: int = 1) -> Part:
    """A reader of channels that depend on each other."""
    rng = np.random.default_rng(seed)
    size = channels * taps
    x = rng.standard_normal((groups, 400, size)) @ rng.standard_normal((groups, size, size))
    weight = rng.standard_normal((groups, 4, size))
    return Part(weight, x.swapaxes(1, 2) @ x / 400, np.repeat(np.arange(channels), taps))


def error(one: Part, kept: np.ndarray) -> float:
    """What is left of the output if the reader is fitted to the channels that are kept."""
    off = one.weight - refit(one, kept)
    return float(np.einsum("gok,gok->", off @ one.form, off)) / one.signal


def all_but(size: int, gone: list[int]) -> np.ndarray:
    kept = np.ones(size, np.bool_)
    kept[gone] = False
    return kept


@pytest.mark.parametrize("groups", [1, 3])
def test_the_first_to_go_costs_least_and_errors_are_those_of_fits(groups: int) -> None:
    parts = [part(1, groups=groups), part(2, groups=groups)]
    found = eliminate(parts, 5)
    assert sorted(found.order) == list(range(5))
    alone = [sum(error(one, all_but(5, [gone])) for one in parts) for gone in range(5)]
    assert found.order[0] == int(np.argmin(alone))
    for count in range(1, 5):
        exact = sum(error(one, all_but(5, list(found.order[:count]))) for one in parts)
        assert found.errors[count] == pytest.approx(exact, rel=0.02)


def test_each_next_is_the_best_of_those_left() -> None:
    one = part(3, channels=6)
    order = list(eliminate([one], 6).order)
    for count in range(5):
        costs = {c: error(one, all_but(6, [*order[:count], c])) for c in order[count:]}
        assert costs[order[count]] <= min(costs.values()) * 1.001


def test_a_copy_of_a_channel_goes_first_and_costs_nothing() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 300, 4))
    x[:, :, 2] = 2 * x[:, :, 0]
    one = Part(rng.standard_normal((1, 3, 4)) + 5, x.swapaxes(1, 2) @ x / 300, np.arange(4))
    found = eliminate([one], 4)
    assert found.order[0] in (0, 2)
    assert found.errors[1] < 1e-3 < found.errors[2]


def test_inputs_of_other_groups_stay() -> None:
    one = part(4)
    mixed = Part(one.weight, one.form, np.where(one.columns >= 3, -1, one.columns))
    assert sorted(eliminate([mixed], 3).order) == [0, 1, 2]
    found = refit(mixed, np.zeros(3, np.bool_))
    assert not found[..., :9].any()
    assert found[..., 9:].all()


def test_a_channel_that_nobody_reads_goes_first() -> None:
    one = part(5)
    assert eliminate([Part(one.weight, one.form, one.columns + 1)], 6).order[0] == 0


def test_many_go_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elimination, "_AT_ONCE", 2)
    found = eliminate([part(6, channels=9)], 9)
    assert sorted(found.order) == list(range(9))
    assert list(found.errors) == sorted(found.errors)
    assert len(found.errors) == 9


def test_refit_is_least_squares() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((500, 6)) @ rng.standard_normal((6, 6))
    weight = rng.standard_normal((1, 2, 6))
    found = refit(Part(weight, (x.T @ x / 500)[None], np.arange(6)), all_but(6, [1, 4]))
    stays = [0, 2, 3, 5]
    wanted = np.linalg.lstsq(x[:, stays], x @ weight[0].T, rcond=None)[0].T
    np.testing.assert_allclose(found[0][:, stays], wanted, rtol=0.02, atol=0.02)
    assert not found[0][:, [1, 4]].any()
