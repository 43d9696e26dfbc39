"""The timed loop of the compiled extension, by itself."""

from __future__ import annotations

import gc
import signal
import time
import weakref
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from bmopt._ext import monotonic_ns, time_block
from bmopt.core.runner import Feeds

FEEDS: tuple[Feeds, ...] = tuple({"x": np.array(i)} for i in range(3))


def buffers(size: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    return np.full(size, -1, np.int64), np.full(size, -1, np.int64)


def stepping(*moments: int) -> Callable[[], int]:
    remaining = iter(moments)
    return lambda: next(remaining)


def test_the_clock_is_the_systems_monotonic_one() -> None:
    before, now, after = time.monotonic_ns(), monotonic_ns(), time.monotonic_ns()
    assert before <= now <= after


def test_starts_and_latencies_are_the_readings_around_each_call() -> None:
    fed: list[int] = []
    starts, latencies = buffers(5)
    clock = stepping(10, 13, 20, 27, 30, 41)
    count = time_block(
        lambda feed: fed.append(int(feed["x"])), FEEDS, 5, 0, 31, 1, starts, latencies, clock
    )
    assert count == 3
    assert fed == [2, 0, 1], "the fifth of three, and round again"
    assert starts.tolist() == [10, 20, 30, -1, -1]
    assert latencies.tolist() == [3, 7, 11, -1, -1]


@pytest.mark.parametrize(("least_ns", "fewest", "expected"), [(0, 1, 1), (0, 4, 4), (9, 1, 3)])
def test_a_block_ends_when_both_the_time_and_the_samples_are_enough(
    least_ns: int, fewest: int, expected: int
) -> None:
    starts, latencies = buffers(8)
    clock = stepping(*(2 * i for i in range(40)))
    assert expected == time_block(
        lambda _: None, FEEDS, 0, 0, least_ns, fewest, starts, latencies, clock
    )


def test_full_buffers_end_it_and_held_samples_are_kept() -> None:
    starts, latencies = buffers(4)
    starts[:2], latencies[:2] = (100, 200), (1, 2)
    clock = stepping(300, 301, 400, 402)
    assert time_block(lambda _: None, FEEDS, 0, 2, 10**9, 1, starts, latencies, clock) == 4
    assert starts.tolist() == [100, 200, 300, 400]
    assert latencies.tolist() == [1, 2, 1, 2]
    assert time_block(lambda _: None, FEEDS, 0, 4, 10**9, 1, starts, latencies) == 4


def test_outputs_are_freed_after_the_second_reading() -> None:
    events: list[str] = []

    class Output:
        pass

    def run(_: Feeds) -> Output:
        output = Output()
        weakref.finalize(output, events.append, "freed")
        return output

    def clock() -> int:
        events.append("read")
        return 0

    starts, latencies = buffers(2)
    gc.disable()
    try:
        time_block(run, FEEDS, 0, 0, 0, 2, starts, latencies, clock)
    finally:
        gc.enable()
    assert events == ["read", "read", "freed"] * 2


def test_an_exception_passes_at_once() -> None:
    calls: list[int] = []

    def run(feed: Feeds) -> None:
        calls.append(int(feed["x"]))
        if len(calls) == 2:
            raise RuntimeError("engine died")

    starts, latencies = buffers(9)
    with pytest.raises(RuntimeError, match="engine died"):
        time_block(run, FEEDS, 0, 0, 10**12, 1, starts, latencies)
    assert calls == [0, 1]
    assert latencies[1:].tolist() == [-1] * 8


def test_a_clock_that_fails_is_reported() -> None:
    starts, latencies = buffers(9)
    with pytest.raises(ZeroDivisionError):
        time_block(lambda _: None, FEEDS, 0, 0, 1, 1, starts, latencies, lambda: 1 // 0)
    with pytest.raises(TypeError):
        time_block(lambda _: None, FEEDS, 0, 0, 1, 1, starts, latencies, lambda: "now")  # type: ignore[arg-type,return-value]


def test_a_signal_ends_a_loop_that_runs_no_python() -> None:
    starts, latencies = np.full(1 << 24, -1, np.int64), np.full(1 << 24, -1, np.int64)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(KeyboardInterrupt):
            time_block(len, FEEDS, 0, 0, 10**12, 1, starts, latencies)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert 0 < int((starts >= 0).sum()) < starts.size


@pytest.mark.parametrize(
    ("feeds", "sizes", "match"),
    [((), (3, 3), "needs a feed"), (FEEDS, (3, 4), "two buffers of one size")],
)
def test_arguments_that_cannot_be(
    feeds: tuple[Feeds, ...], sizes: tuple[int, int], match: str
) -> None:
    starts, latencies = buffers(sizes[0])[0], buffers(sizes[1])[1]
    with pytest.raises(ValueError, match=match):
        time_block(lambda _: None, feeds, 0, 0, 1, 1, starts, latencies)


def test_buffers_of_another_type_are_refused_not_copied() -> None:
    starts, latencies = buffers(3)
    with pytest.raises(TypeError):
        time_block(lambda _: None, FEEDS, 0, 0, 1, 1, starts.astype(np.int32), latencies)
