from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmopt.bench.mcnemar import mcnemar


def tail(total: int, successes: int) -> Fraction:
    return sum((Fraction(math.comb(total, k), 2**total) for k in range(successes)), Fraction(0))


@given(gained=st.integers(0, 300), lost=st.integers(0, 300))
def test_is_the_binomial_test(gained: int, lost: int) -> None:
    found = mcnemar(gained, lost)
    total, fewer = gained + lost, min(gained, lost)
    here = Fraction(math.comb(total, fewer), 2**total)
    below = tail(total, fewer)
    assert found.p == pytest.approx(float(min(Fraction(1), 2 * (below + here))), rel=1e-9)
    if gained != lost:
        assert found.mid_p == pytest.approx(float(2 * below + here), rel=1e-9)
    assert (found.gained, found.lost) == (gained, lost)


def test_published_example() -> None:
    # Fagerland, Lydersen and Laake 2013, airway hyper-responsiveness: 1 and 7 discordant pairs.
    found = mcnemar(1, 7)
    assert found.p == pytest.approx(0.0703, abs=5e-5)
    assert found.mid_p == pytest.approx(0.0391, abs=5e-5)


@given(gained=st.integers(0, 50), lost=st.integers(0, 50))
def test_is_symmetric_and_a_probability(gained: int, lost: int) -> None:
    found, mirrored = mcnemar(gained, lost), mcnemar(lost, gained)
    assert (found.p, found.mid_p) == (mirrored.p, mirrored.mid_p)
    assert 0.0 < found.mid_p <= found.p <= 1.0


def test_many_discordant_samples_continue_the_exact_values() -> None:
    exact, normal = mcnemar(49_600, 50_400), mcnemar(49_601, 50_401)
    assert exact.mid_p == pytest.approx(normal.mid_p, rel=0.01)


def test_no_discordant_samples_and_nonsense() -> None:
    assert mcnemar(0, 0).p == 1.0
    with pytest.raises(ValueError, match="negative"):
        mcnemar(-1, 2)
