from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from bmopt.bench.compare import (
    SAME,
    Interleaved,
    LatencyInterrupted,
    compare_latency,
    compare_variants,
    ratio,
)
from bmopt.bench.environment import HostLoad
from bmopt.bench.noise import floor_of, parted
from bmopt.bench.schedule import Lane, LocalVariant, Stamps
from bmopt.core.measurement import Measurement, Settings
from bmopt.core.runner import Array, Feeds, Runner
from bmopt.errors import BmoptError, BoardError, DataError, UsageError
from tests.bench.scripted import NOWHERE, QUIET, ScriptedClock, ScriptedRunner, feeds, noisy

MS = 1e6


def compare(
    latencies: dict[str, Callable[[int], float]],
    *,
    duration_s: float = 10.0,
    precision: float = 0.01,
    progress: Callable[[float], None] | None = None,
    drift: float = 0.0,
) -> Measurement:
    clock = ScriptedClock(tick_ns=30)
    origin = clock.now_ns

    def drifting(latency: Callable[[int], float]) -> Callable[[int], float]:
        return lambda i: latency(i) * (1 + drift * (clock.now_ns - origin) / 1e10)

    runners: dict[str, Runner] = {
        name: ScriptedRunner(name, clock, drifting(latency), [])
        for name, latency in latencies.items()
    }
    return compare_latency(
        runners,
        feeds(),
        clock=clock,
        duration_s=duration_s,
        precision=precision,
        environment=NOWHERE,
        load=lambda: QUIET,
        progress=progress,
    )


def test_a_against_itself_is_equivalent() -> None:
    found = ratio(compare({"a": noisy(5 * MS, 0.01, 1), "b": noisy(5 * MS, 0.01, 2)}), "a", "b")
    assert found.verdict == "equivalent"
    assert found.relative_width <= 0.01


def test_two_percent_more_is_slower() -> None:
    one = compare({"a": noisy(5 * MS, 0.01, 1), "b": noisy(5.1 * MS, 0.01, 2)})
    found = ratio(one, "a", "b")
    assert found.verdict == "slower"
    assert found.low < 1.02 < found.high
    assert ratio(one, "b", "a").verdict == "faster"


def test_two_percent_is_found_under_a_drift_of_half() -> None:
    one = compare({"a": noisy(5 * MS, 0.01, 1), "b": noisy(5.1 * MS, 0.01, 2)}, drift=0.5)
    found = ratio(one, "a", "b")
    assert found.verdict == "slower"
    assert found.low < 1.02 < found.high


def test_noise_and_little_time_stay_undecided() -> None:
    one = compare({"a": noisy(5 * MS, 0.5, 1), "b": noisy(5 * MS, 0.5, 2)}, duration_s=1.0)
    assert ratio(one, "a", "b").verdict == "undecided"


def test_stops_when_precise_and_not_before_eight_turns() -> None:
    fractions: list[float] = []
    one = compare({"a": lambda _: MS, "b": lambda _: 2 * MS}, progress=fractions.append)
    assert len(one.blocks) == 8 * 4
    assert len(fractions) == 7, "nobody needs to be told after the last turn"
    assert fractions == sorted(fractions)
    assert 0.0 < fractions[-1] < 0.2


def test_budget_is_kept_when_precision_is_out_of_reach() -> None:
    fractions: list[float] = []
    one = compare(
        {"a": noisy(MS, 0.5, 1), "b": noisy(MS, 0.5, 2)},
        duration_s=2.0,
        precision=1e-6,
        progress=fractions.append,
    )
    last = one.blocks[-1]
    # Whether a turn still fits is judged by the one before, here within a hundredth of all.
    assert 1.85e9 < last.start_ns[-1] + last.latency_ns[-1] <= 2.02e9
    assert fractions[-1] <= 1.0


def test_a_model_slower_than_the_budget_still_gets_one_turn() -> None:
    one = compare({"a": lambda _: 900 * MS, "b": lambda _: 500 * MS}, duration_s=0.5)
    assert len(one.blocks) == 4
    assert ratio(one, "a", "b").verdict == "undecided"
    assert ratio(one, "a", "b").ratio == pytest.approx(5 / 9, rel=1e-3)


def test_three_variants_are_each_compared_with_the_first() -> None:
    one = compare({"a": lambda _: 4 * MS, "b": lambda _: 2 * MS, "c": lambda _: 4 * MS})
    assert one.variants == ("a", "b", "c")
    assert len(one.blocks) % 6 == 0
    assert ratio(one, "a", "b").verdict == "faster"
    assert ratio(one, "a", "c").verdict == "equivalent"


def test_repeats_exactly_and_survives_json() -> None:
    one, two = (
        compare({"a": noisy(MS, 0.1, 1), "b": noisy(MS, 0.1, 2)}, duration_s=1) for _ in "ab"
    )
    assert one == two
    again = Measurement.from_json(one.to_json())
    assert again == one
    assert ratio(again, "a", "b") == ratio(one, "a", "b")


def test_environment_keeps_load_and_warm_up_and_blocks_keep_readings() -> None:
    clock = ScriptedClock(tick_ns=30)
    ticks = itertools.count()
    runners: dict[str, Runner] = {
        name: ScriptedRunner(name, clock, lambda _: MS, []) for name in "ab"
    }

    def load() -> HostLoad:
        number = next(ticks)
        return HostLoad(0.5 + number, 5 * number, 100 * number, 2000.0 - number)

    one = compare_latency(runners, feeds(), clock=clock, environment=NOWHERE, load=load)
    facts = one.environment.facts
    assert facts["cpu.model"] == "scripted"
    assert facts["load.steal_percent"] == 5.0
    # Once before all, twice a block, once after all.
    assert (facts["load.average_before"], facts["load.average_after"]) == (0.5, 65.5)
    assert facts["warm_up.a.inferences"] == facts["warm_up.b.inferences"] == 3 * 26
    assert [block.readings["cpu.frequency_mhz"] for block in one.blocks] == [
        2000.0 - 2 * (i + 1) for i in range(32)
    ]
    assert {block.readings["cpu.steal_ticks"] for block in one.blocks} == {5}


class ScriptedVariant:
    """Takes turns on a scripted clock, until its ``last`` block."""

    def __init__(
        self,
        name: str,
        clock: ScriptedClock,
        ns: float,
        last: int | None = None,
        kind: type[BmoptError] = DataError,
    ) -> None:
        self.name = name
        self._kind = kind
        self._local = LocalVariant(
            Lane(name, ScriptedRunner(name, clock, lambda _: ns, []).run, feeds()), clock
        )
        self._left = last

    def warm_up(self, limit_ns: int) -> int:
        if self._left == 0:
            raise self._kind(f"{self.name} does not start")
        return self._local.warm_up(limit_ns)

    def block(self, least_ns: int) -> tuple[Stamps, Stamps]:
        if self._left == 0:
            raise self._kind(f"{self.name} gave up")
        self._left = None if self._left is None else self._left - 1
        return self._local.block(least_ns)


def race(clock: ScriptedClock, *variants: ScriptedVariant, **options: Any) -> Interleaved:
    return compare_variants(
        variants,
        Settings(),
        clock=clock,
        environment=NOWHERE,
        load=lambda: QUIET,
        **options,
    )


def test_a_variant_that_fails_is_left_out_with_all_its_blocks() -> None:
    clock = ScriptedClock()
    found = race(
        clock,
        ScriptedVariant("a", clock, 2 * MS),
        ScriptedVariant("b", clock, 3 * MS, last=5),
        ScriptedVariant("c", clock, 4 * MS, last=0),
        ScriptedVariant("d", clock, 2 * MS),
    )
    assert {name: str(error) for name, error in found.failures.items()} == {
        "b": "b gave up",
        "c": "c does not start",
    }
    assert found.measurement is not None
    assert found.measurement.variants == ("a", "d")
    assert [block.index for block in found.measurement.blocks] == list(range(32))
    assert ratio(found.measurement, "a", "d").verdict == "equivalent"
    assert "warm_up.c.inferences" not in found.measurement.environment.facts


def test_turns_before_a_machine_dropped_off_are_kept() -> None:
    clock = ScriptedClock()
    found = race(
        clock,
        ScriptedVariant("a", clock, 2 * MS),
        ScriptedVariant("b", clock, 3 * MS, last=5, kind=BoardError),
        ScriptedVariant("c", clock, 3 * MS, last=5, kind=BoardError),
    )
    assert list(found.failures) in (["b"], ["c"])
    assert found.measurement is not None
    assert found.measurement.variants == ("a", "b", "c")
    assert len(found.measurement.blocks) == 2 * 2 * 3
    assert ratio(found.measurement, "a", "b").ratio == pytest.approx(1.5)


def test_a_machine_that_was_never_there_is_left_out() -> None:
    clock = ScriptedClock()
    found = race(
        clock,
        ScriptedVariant("a", clock, 2 * MS),
        ScriptedVariant("b", clock, 3 * MS, last=0, kind=BoardError),
    )
    assert list(found.failures) == ["b"]
    assert found.measurement is not None
    assert found.measurement.variants == ("a",)


def test_nothing_is_measured_where_all_fail() -> None:
    clock = ScriptedClock()
    found = race(clock, ScriptedVariant("a", clock, MS, last=1))
    assert found.measurement is None
    assert list(found.failures) == ["a"]


def test_one_variant_alone_is_measured_too() -> None:
    clock = ScriptedClock()
    found = race(clock, ScriptedVariant("a", clock, MS)).measurement
    assert found is not None
    assert len(found.blocks) == 8 * 2


def test_an_interruption_keeps_the_whole_turns() -> None:
    clock, turns = ScriptedClock(), itertools.count()

    def before_turn() -> None:
        if next(turns) == 3:
            raise KeyboardInterrupt

    with pytest.raises(LatencyInterrupted) as caught:
        race(
            clock,
            ScriptedVariant("a", clock, MS),
            ScriptedVariant("b", clock, MS),
            before_turn=before_turn,
        )
    assert caught.value.compared.measurement is not None
    assert len(caught.value.compared.measurement.blocks) == 3 * 4


def test_the_second_instance_becomes_the_noise_floor() -> None:
    clock = ScriptedClock()
    found = race(
        clock,
        ScriptedVariant("a", clock, 2 * MS),
        ScriptedVariant("b", clock, 3 * MS),
        ScriptedVariant("a again", clock, 2.1 * MS),
    ).measurement
    assert found is not None
    rest, noise = parted(found, "a again", SAME)
    assert rest.variants == ("a", "b")
    assert ratio(rest, "a", "b").ratio == pytest.approx(1.5)
    assert noise is not None
    assert noise.variants == SAME
    assert len(noise.blocks) == len(rest.blocks)
    assert floor_of(noise).estimate.ratio == pytest.approx(1.05)
    assert Measurement.from_json(noise.to_json()) == noise
    assert parted(rest, "a again", SAME) == (rest, None)


def test_bad_requests_are_refused() -> None:
    with pytest.raises(UsageError, match="1 variants to compare; give two or more"):
        compare({"a": lambda _: MS})
    with pytest.raises(UsageError, match=r"precision=0\.0: give a number above 0"):
        compare({"a": lambda _: MS, "b": lambda _: MS}, precision=0.0)
    runner = ScriptedRunner("a", ScriptedClock(), lambda _: MS, [])
    with pytest.raises(DataError, match="no inputs to measure latency with"):
        compare_latency({"a": runner, "b": runner}, [], environment=NOWHERE)


def test_on_the_real_clock_a_busy_wait_is_slower() -> None:
    clock = ScriptedClock()

    class Busy(ScriptedRunner):
        def run(self, feeds: Feeds) -> dict[str, Array]:
            sum(range(round(self._latency(0))))
            return {}

    runners: dict[str, Runner] = {
        "a": Busy("a", clock, lambda _: 20_000, []),
        "b": Busy("b", clock, lambda _: 40_000, []),
    }
    one = compare_latency(
        runners, feeds(), duration_s=3.0, precision=0.05, block_ms=5, environment=NOWHERE
    )
    assert ratio(one, "a", "b").verdict == "slower"
    starts = [start for block in one.blocks for start in block.start_ns]
    assert starts == sorted(starts)
