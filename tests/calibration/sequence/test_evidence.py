from __future__ import annotations

import numpy as np
import pytest

from bmopt.calibration.sequence import evidence
from bmopt.calibration.sequence.evidence import RowEvidence
from bmopt.calibration.sequence.likeness import ChannelFit
from bmopt.core.runner import Array
from tests.calibration.sequence.test_rows import computed, numbers, product

CONV = {"group": 2, "pads": [1, 1, 1, 1]}


def read(rng: np.random.Generator, count: int = 4) -> list[tuple[Array, Array]]:
    """Return batches of what the quantised convolution reads and what the float one reads."""
    found = []
    for _ in range(3):
        wanted = numbers(rng, (count, 4, 5, 5)) + np.float32(2)
        found.append((wanted + 0.1 * numbers(rng, wanted.shape), wanted))
    return found


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("pending", [0, 64 << 20])
def test_a_fit_from_moments_is_the_outputs_fit(
    with_bias: bool, pending: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "_PENDING_BYTES", pending)
    rng = np.random.default_rng(0)
    weight = numbers(rng, (6, 2, 3, 3))
    bias = numbers(rng, (6,)) if with_bias else None
    other = weight + 0.05 * numbers(rng, weight.shape)
    data = read(rng)
    mine = product("Conv", data[0][0], other, bias, **CONV)
    theirs = product("Conv", data[0][0], weight, bias, **CONV)
    rows, outputs = RowEvidence(theirs, weight, 3), ChannelFit(1, 6)
    for found, wanted in data:
        rows.observe(found, wanted, rng)
        outputs.add(computed(theirs, wanted), computed(mine, found))
    fit = rows.fit(other, None if bias is None else bias.astype(np.float64))
    gain = outputs.gain()
    np.testing.assert_allclose(fit.gain(), gain, rtol=1e-4)
    np.testing.assert_allclose(fit.offset(gain), outputs.offset(gain), atol=1e-4)
    assert fit.sqnr_db() == pytest.approx(outputs.sqnr_db(), abs=1e-2)
    assert fit.sqnr_db(gain, 0.3) == pytest.approx(outputs.sqnr_db(gain, 0.3), abs=1e-2)


def test_halves_are_of_different_samples() -> None:
    rng = np.random.default_rng(0)
    weight = numbers(rng, (6, 2, 3, 3))
    data = read(rng)
    theirs = product("Conv", data[0][0], weight, None, **CONV)
    rows, first, second = (RowEvidence(theirs, weight, 3) for _ in range(3))
    for found, wanted in data:
        rows.observe(found, wanted, rng)
        first.observe(found[:2], wanted[:2], rng)
        second.observe(found[2:], wanted[2:], rng)
    halves = rows.halves(centred=True)
    for mine, whole in zip(halves, (first, second), strict=True):
        for one, other in zip(mine, whole.moments().covariances(centred=True), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4)
    assert rows.moments().count == 3 * 4 * 25


def test_a_single_row_makes_one_half() -> None:
    rng = np.random.default_rng(0)
    x, weight = numbers(rng, (1, 4)), numbers(rng, (4, 3))
    theirs = product("MatMul", x, weight, None)
    rows = RowEvidence(theirs, weight, 1)
    rows.observe(x, x, rng)
    assert len(rows.halves(centred=True)) == 1
    assert rows.moments().count == 1


def test_rows_are_shared_out_among_batches() -> None:
    rng = np.random.default_rng(0)
    x, weight = numbers(rng, (4, 4000, 4)), numbers(rng, (4, 3))
    theirs = product("MatMul", x, weight, None)
    rows = RowEvidence(theirs, weight, 10)
    rows.observe(x, x, rng)
    assert rows.moments().count == 410


@pytest.mark.parametrize(
    ("groups", "size", "rows"),
    [(1, 9, 4096), (1, 576, 4608), (1, 1024, 8192), (1, 4608, 15360), (32, 9, 2048)],
)
def test_rows_grow_with_the_inputs_slower_in_the_end(groups: int, size: int, rows: int) -> None:
    assert evidence._rows_wanted(groups, size) == rows
