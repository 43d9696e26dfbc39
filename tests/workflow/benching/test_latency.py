from __future__ import annotations

from typing import Any

import pytest

from bmopt.workflow.benching.latency import Stirring
from bmopt.workflow.benching.options import BenchOptions

MS = 1_000_000


class Asked:
    """A variant that writes down what it is asked, and takes time to open again."""

    def __init__(self, clock: list[int], opening_ms: float = 0.0) -> None:
        self._clock = clock
        self._opening_ns = round(opening_ms * MS)
        self.cpus: list[tuple[int, ...]] = []
        self.seeds: list[int] = []

    def prepare(self, command: str, **given: Any) -> None:
        if command == "move":
            self.cpus.append(tuple(given["cpus"]))
        else:
            assert command == "reopen"
            self.seeds.append(given["seed"])
            self._clock[0] += self._opening_ns


def stir(
    turns: int, *, cpus: tuple[int, ...] = (), threads: int = 1, opening_ms: float = 0.0
) -> tuple[Stirring, list[Asked]]:
    """Run turns of 80 ms with two variants."""
    clock = [0]
    variants = [Asked(clock, opening_ms), Asked(clock, opening_ms)]
    options = BenchOptions(threads=threads, block_ms=20.0)
    stirring = Stirring(variants, options, cpus, clock=lambda: clock[0])  # type: ignore[arg-type]
    for _ in range(turns):
        stirring.turn()
        clock[0] += 80 * MS
    return stirring, variants


def test_all_move_to_the_same_next_cpu_before_every_turn() -> None:
    stirring, (one, other) = stir(5, cpus=(2, 3, 7))
    assert one.cpus == other.cpus == [(2,), (3,), (7,), (2,), (3,)]
    assert stirring.cpus == "1 of 3, others every turn"
    stirring.settle()
    assert one.cpus[-1] == other.cpus[-1] == (2, 3, 7)


def test_several_threads_have_as_many_cpus() -> None:
    _, (one, _) = stir(4, cpus=(0, 1, 2, 3, 4), threads=2)
    assert one.cpus == [(0, 1), (2, 3), (0, 1), (2, 3)]


@pytest.mark.parametrize(("cpus", "threads"), [((0, 1), 2), ((), 1), ((0, 1), 0)])
def test_nobody_moves_where_there_is_no_choice(cpus: tuple[int, ...], threads: int) -> None:
    stirring, (one, _) = stir(3, cpus=cpus, threads=threads)
    stirring.settle()
    assert one.cpus == []
    assert stirring.cpus == "any"


def test_models_are_opened_again_before_every_turn_where_that_is_quick() -> None:
    stirring, (one, other) = stir(6, opening_ms=10)
    assert stirring.openings == 6
    seeds = [*one.seeds, *other.seeds]
    assert len(set(seeds)) == len(seeds), "everything lies elsewhere every time"
    _, (again, _) = stir(6, opening_ms=10)
    assert again.seeds == one.seeds, "a benchmark can be repeated"


@pytest.mark.parametrize(("opening_ms", "openings"), [(30, 5), (40, 5), (90, 2), (900, 1)])
def test_models_that_open_slowly_are_opened_again_now_and_then(
    opening_ms: float, openings: int
) -> None:
    # Two models; half of a turn's 80 ms may go into opening them.
    stirring, _ = stir(10, opening_ms=opening_ms)
    assert stirring.openings == openings
