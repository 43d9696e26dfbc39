from __future__ import annotations

import gc
import itertools

import numpy as np
import pytest

from bmopt.bench.environment import HostLoad
from bmopt.bench.schedule import Lane, LocalVariant, orders, timed, turns, warm_up
from bmopt.core.measurement import Settings
from bmopt.core.runner import Array, Feeds
from tests.bench.scripted import QUIET, ScriptedClock, ScriptedRunner, feeds

MS = 1_000_000


def lanes_of(
    clock: ScriptedClock, latencies: dict[str, float], log: list[str]
) -> tuple[list[Lane], dict[str, ScriptedRunner]]:
    runners = {
        name: ScriptedRunner(name, clock, lambda _, ns=ns: ns, log)  # type: ignore[misc]
        for name, ns in latencies.items()
    }
    pool = feeds()
    return [Lane(n, r.run, pool) for n, r in runners.items()], runners


def variants(lanes: list[Lane], clock: ScriptedClock) -> list[LocalVariant]:
    return [LocalVariant(lane, clock) for lane in lanes]


@pytest.mark.parametrize("count", [2, 3, 5])
def test_every_order_is_followed_by_its_reverse(count: int) -> None:
    items = list("abcde"[:count])
    drawn = list(itertools.islice(orders(items, seed=4), 40))
    assert all(sorted(order) == items for order in drawn)
    assert all(drawn[i + 1] == drawn[i][::-1] for i in range(0, 40, 2))
    assert len({drawn[i] for i in range(0, 40, 2)}) > 1, "the first of a pair must be random"
    assert drawn == list(itertools.islice(orders(items, seed=4), 40))


def test_two_variants_run_abba_in_blocks() -> None:
    clock, log = ScriptedClock(), list[str]()
    lanes, _ = lanes_of(clock, {"a": 10 * MS, "b": 20 * MS}, log)
    turn = next(turns(variants(lanes, clock), Settings(block_ms=50, seed=0), 0, lambda: QUIET))
    names = "".join(block.variant for block in turn)
    assert names in ("abba", "baab")
    assert [block.index for block in turn] == [0, 1, 2, 3]
    # Five timed inferences of 10 ms or three of 20 ms fill 50 ms; one more each is dropped.
    assert {block.variant: len(block.latency_ns) for block in turn} == {"a": 5, "b": 3}
    assert "".join(key for key, _ in itertools.groupby(log)) == names.replace("bb", "b").replace(
        "aa", "a"
    )
    assert log.count("a") == 12
    assert log.count("b") == 8


def test_first_inference_of_a_block_is_dropped() -> None:
    clock = ScriptedClock()
    runner = ScriptedRunner("a", clock, lambda i: 9 * MS if i == 0 else MS, [])
    starts, latencies = timed(Lane("a", runner.run, feeds()), clock, 3 * MS)
    assert latencies.tolist() == [MS, MS, MS]
    assert starts.tolist() == [1_000 + 9 * MS, 1_000 + 10 * MS, 1_000 + 11 * MS]


def test_a_slow_variant_still_has_two_samples() -> None:
    clock = ScriptedClock()
    lanes, _ = lanes_of(clock, {"a": 900 * MS}, [])
    assert timed(lanes[0], clock, 50 * MS)[1].tolist() == [900 * MS, 900 * MS]


def test_feeds_rotate_across_blocks() -> None:
    clock = ScriptedClock()
    lanes, runners = lanes_of(clock, {"a": 10 * MS}, [])
    timed(lanes[0], clock, 30 * MS)
    timed(lanes[0], clock, 30 * MS)
    assert runners["a"].fed == [0, 1, 2, 0, 1, 2, 0, 1]


def test_reading_the_clock_is_all_that_is_timed_besides_the_call() -> None:
    clock = ScriptedClock(tick_ns=7)
    lanes, _ = lanes_of(clock, {"a": 1000}, [])
    _, latencies = timed(lanes[0], clock, 20_000)
    assert set(latencies) == {1007}


def test_buffers_grow_and_no_sample_or_feed_is_lost() -> None:
    clock = ScriptedClock()
    lanes, runners = lanes_of(clock, {"a": 1000}, [])
    starts, latencies = timed(lanes[0], clock, 9_000_000)
    assert latencies.tolist() == [1000] * 9000, "one call right after another, buffers or not"
    assert np.diff(starts).tolist() == [1000] * 8999
    assert runners["a"].fed == [i % 3 for i in range(9001)]
    again, _ = timed(lanes[0], clock, 2_000)
    assert again.tolist() == [int(starts[-1]) + 2000, int(starts[-1]) + 3000]
    assert starts.size == 9000, "what was returned does not share the buffers"


def test_load_is_read_around_every_block() -> None:
    clock, log = ScriptedClock(), list[str]()
    lanes, _ = lanes_of(clock, {"a": 10 * MS, "b": 10 * MS}, log)
    readings = itertools.count()

    def load() -> HostLoad:
        log.append("load")
        number = next(readings)
        return HostLoad(0.5, 3 * number, 10 * number, 2000.0 + number, {"gpu.0.sm_mhz": 1.0})

    turn = next(turns(variants(lanes, clock), Settings(block_ms=10, seed=0), 0, load))
    runs = [key for key, _ in itertools.groupby(log)]
    assert [name == "load" for name in runs] == [True, False] * 4 + [True]
    assert turn[1].readings == {
        "cpu.frequency_mhz": 2003.0,
        "cpu.steal_ticks": 3,
        "cpu.total_ticks": 10,
        "load.average": 0.5,
        "gpu.0.sm_mhz": 1.0,
    }


def test_garbage_collector_is_off_while_timing_and_restored_on_an_error() -> None:
    seen: list[bool] = []

    def run(_: Feeds) -> dict[str, Array]:
        seen.append(gc.isenabled())
        if len(seen) == 3:
            raise RuntimeError("engine died")
        return {}

    clock = ScriptedClock(tick_ns=1)
    with pytest.raises(RuntimeError, match="engine died"):
        timed(Lane("a", run, feeds()), clock, MS)
    assert seen == [False] * 3
    assert gc.isenabled()


def test_warm_up_ends_when_latency_stops_falling() -> None:
    clock = ScriptedClock()
    falling = ScriptedRunner("a", clock, lambda i: MS * (1 + 20 * np.exp(-i / 20)), [])
    lane = Lane("a", falling.run, feeds())
    count = warm_up(lane, clock, limit_ns=10**12)
    assert count == len(falling.fed)
    assert MS * 20 * np.exp(-count / 20) < 0.1 * MS


def test_warm_up_is_short_for_a_steady_variant_and_bounded_for_a_restless_one() -> None:
    clock = ScriptedClock()
    steady = lanes_of(clock, {"a": MS}, [])[0][0]
    assert warm_up(steady, clock, limit_ns=10**12) == 3 * 26
    runner = ScriptedRunner("b", clock, lambda i: 100 * MS * 0.9**i, [])
    before = clock.now_ns
    warm_up(Lane("b", runner.run, feeds()), clock, limit_ns=400 * MS)
    assert clock.now_ns - before < 600 * MS
