from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bmopt.bench.compare import compare_latency
from bmopt.bench.far_lane import FarLane, lane_of
from bmopt.bench.schedule import Lane, timed, warm_up
from bmopt.bench.statistics import ratio, samples_ns
from bmopt.core.runner import Feeds
from tests.bench.scripted import NOWHERE, QUIET, ScriptedClock, ScriptedRunner, feeds

MS = 1_000_000
NETWORK_NS = 30 * MS


class FarRunner:
    """A machine behind a slow network, whose i-th run takes ``latency(i)`` nanoseconds there."""

    output_names = ("y",)

    def __init__(self, clock: ScriptedClock, latency: Callable[[int], int]) -> None:
        self._clock = clock
        self._latency = latency
        self._runs = 0
        self.requests: list[tuple[int, int]] = []

    def timed_runs(self, feeds: Feeds, count: int) -> Sequence[int]:
        self.requests.append((int(feeds["x"]), count))
        took = [self._latency(self._runs + i) for i in range(count)]
        self._runs += count
        self._clock.now_ns += NETWORK_NS + sum(took)
        return took

    def run(self, feeds: Feeds) -> dict[str, Any]:
        raise AssertionError("what is timed there is not run from here")

    def __enter__(self) -> FarRunner:  # noqa: PYI034
        return self

    def __exit__(self, *_: object) -> None:
        return


@given(
    st.integers(1, 50 * MS),
    st.integers(0, 100 * MS),
    st.integers(1, 5),
)
def test_it_runs_long_enough_and_not_much_longer(each: int, least: int, fewest: int) -> None:
    clock = ScriptedClock()
    lane = FarLane("far", FarRunner(clock, lambda _: each), feeds())
    timed(lane, clock, least, fewest=fewest)
    starts, latencies = timed(lane, clock, least, fewest=fewest)
    assert len(starts) == len(latencies) == max(fewest, -(-least // each))
    assert set(latencies.tolist()) == {each}


def test_the_network_is_not_timed() -> None:
    clock = ScriptedClock()
    far, farther = (FarRunner(clock, lambda _, ns=ns: ns) for ns in (2 * MS, 3 * MS))
    found = compare_latency(
        {"a": far, "b": farther}, feeds(), clock=clock, environment=NOWHERE, load=lambda: QUIET
    )
    assert set(samples_ns(found, "a").tolist()) == {2 * MS}
    assert ratio(found, "a", "b").ratio == pytest.approx(1.5)


def test_starts_are_apart_by_what_ran_between() -> None:
    clock = ScriptedClock()
    lane = FarLane("far", FarRunner(clock, lambda i: (i + 1) * MS), feeds())
    begin = clock.now_ns
    starts, latencies = lane.collect(clock, 6 * MS, 3)
    assert latencies.tolist() == [MS, 2 * MS, 3 * MS]
    assert starts.tolist() == [begin, begin + MS, begin + 3 * MS]


def test_inputs_rotate_from_request_to_request_and_few_are_sent() -> None:
    clock = ScriptedClock()
    runner = FarRunner(clock, lambda _: MS)
    lane = FarLane("far", runner, feeds(20))
    for _ in range(20):
        lane.collect(clock, MS, 1)
    fed = [place for place, _ in runner.requests]
    assert fed == [i % 8 for i in range(20)]


def test_no_request_is_without_end() -> None:
    clock = ScriptedClock()
    runner = FarRunner(clock, lambda _: 10)
    starts, _ = FarLane("far", runner, feeds()).collect(clock, MS, 1)
    assert len(starts) == MS // 10
    assert max(count for _, count in runner.requests) == 1000


def test_it_warms_up_until_the_machine_there_is_warm() -> None:
    clock = ScriptedClock()
    runner = FarRunner(clock, lambda i: max(MS, 4 * MS - i * MS // 20))
    count = warm_up(FarLane("far", runner, feeds()), clock, 10_000 * MS)
    assert 60 < count < 200


def test_only_what_times_itself_is_timed_elsewhere() -> None:
    clock = ScriptedClock()
    near = ScriptedRunner("near", clock, lambda _: MS, [])
    assert type(lane_of("near", near, feeds())) is Lane
    assert type(lane_of("far", FarRunner(clock, lambda _: MS), feeds())) is FarLane
