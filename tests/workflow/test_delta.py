from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from bmopt.workflow.delta import failing_prefix, failing_suffix, minimal

ITEMS = [f"n{index}" for index in range(64)]


class Holding:
    """Fails on parts that hold all of some items, and counts trials."""

    def __init__(self, *wanted: str) -> None:
        self.wanted = set(wanted)
        self.trials = 0

    def __call__(self, part: Sequence[str]) -> bool:
        self.trials += 1
        return self.wanted.issubset(part)


def test_prefix_and_suffix_end_at_the_item_in_log2_trials() -> None:
    fails = Holding("n41")
    assert failing_prefix(ITEMS, fails) == ITEMS[:42]
    assert fails.trials == 6
    assert failing_suffix(ITEMS, fails) == ITEMS[41:]
    assert fails.trials == 12


def test_one_item_needs_no_trial() -> None:
    fails = Holding("a")
    assert failing_prefix(["a"], fails) == failing_suffix(["a"], fails) == ["a"]
    assert fails.trials == 0


@given(st.sets(st.sampled_from(ITEMS), min_size=1, max_size=5))
def test_minimal_finds_exactly_what_is_needed(wanted: set[str]) -> None:
    assert set(minimal(ITEMS, Holding(*wanted))) == wanted


@given(seed=st.integers(0, 2**20), size=st.integers(1, 12))
def test_no_item_of_what_is_minimal_can_be_spared(seed: int, size: int) -> None:
    """For a failure without any monotony, whose whole fails."""
    items = ITEMS[:size]

    def fails(part: Sequence[str]) -> bool:
        return list(part) == items or hash((seed, *map(ITEMS.index, part))) % 3 == 0

    left = minimal(items, fails)
    assert fails(left)
    for index in range(len(left)):
        rest = left[:index] + left[index + 1 :]
        assert not rest or not fails(rest)


def test_order_stays_and_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    fails = Holding("n3", "n50")
    left = minimal(ITEMS, fails, lambda done, left: told.append((done, left)))
    assert left == ["n3", "n50"]
    assert told[0] == (0, 64)
    assert all(done < left for done, left in told)
