"""The interleaved schedule: which variant runs when, and the timed loop itself.

Running A and then B lets drift and bursts of load pass for a difference. Here variants take turns
in short blocks, and every order is followed by its reverse (A B B A), so that a linear drift
cancels within a turn.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import itertools
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np

from bmopt.bench.clock import Clock
from bmopt.core.measurement import Block, Settings
from bmopt.core.runner import Array, Feeds

ROUNDS_PER_TURN = 2
MIN_SAMPLES = 2
"""Fewest timed inferences in a block, however slow the variant."""

_PLATEAU = 0.02
_CALM_WINDOWS = 2
_WINDOWS_PER_BLOCK = 2

_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Lane:
    """A variant on its way through the schedule.

    Attributes:
        name: The variant.
        run: Runs one inference.
        feeds: Endless; goes on where the last block stopped, so that all are used alike.
    """

    name: str
    run: Callable[[Feeds], dict[str, Array]]
    feeds: Iterator[Feeds]


def orders(items: Sequence[_T], seed: int) -> Iterator[tuple[_T, ...]]:
    """Yield orders without end: a random one, its reverse, another random one, its reverse..."""
    generator = np.random.default_rng(seed)
    while True:
        order = tuple(items[i] for i in generator.permutation(len(items)))
        yield order
        yield order[::-1]


def turns(lanes: Sequence[Lane], settings: Settings, clock: Clock) -> Iterator[tuple[Block, ...]]:
    """Run and yield turns without end; a turn is a round of all lanes and the reversed round."""
    origin = clock()
    index = itertools.count()
    order = orders(lanes, settings.seed)
    while True:
        rounds = (next(order) for _ in range(ROUNDS_PER_TURN))
        yield tuple(
            _block(lane, next(index), round(settings.block_ms * 1e6), origin, clock)
            for lane in itertools.chain.from_iterable(rounds)
        )


def warm_up(lane: Lane, settings: Settings, clock: Clock, limit_ns: int) -> int:
    """Run a lane until its latency stops falling; return how many inferences that took.

    Latency has stopped falling when two windows in a row have a median no more than 2 % below
    the best one before. Ends at the first window after ``limit_ns`` in any case.
    """
    window_ns = round(settings.block_ms * 1e6 / _WINDOWS_PER_BLOCK)
    deadline = clock() + limit_ns
    best, calm, inferences = float("inf"), 0, 0
    while calm < _CALM_WINDOWS:
        _, latencies = timed(lane, clock, window_ns, fewest=1)
        inferences += len(latencies) + 1
        median = statistics.median(latencies)
        calm = calm + 1 if median >= best * (1.0 - _PLATEAU) else 0
        best = min(best, median)
        if clock() >= deadline:
            break
    return inferences


def timed(
    lane: Lane, clock: Clock, least_ns: int, *, fewest: int = MIN_SAMPLES
) -> tuple[list[int], list[int]]:
    """Run one dropped inference, then timed ones for ``least_ns``; return starts and latencies.

    Between the two readings of the clock there is nothing but the call: the outputs are freed
    and the samples stored after the second one, and the garbage collector is off.
    """
    run, feeds = lane.run, lane.feeds
    starts: list[int] = []
    latencies: list[int] = []
    with _garbage_collector_off():
        run(next(feeds))
        deadline = clock() + least_ns
        while True:
            feed = next(feeds)
            start = clock()
            outputs = run(feed)
            end = clock()
            del outputs
            starts.append(start)
            latencies.append(end - start)
            if end >= deadline and len(starts) >= fewest:
                return starts, latencies


def _block(lane: Lane, index: int, least_ns: int, origin: int, clock: Clock) -> Block:
    starts, latencies = timed(lane, clock, least_ns)
    return Block(lane.name, index, tuple(start - origin for start in starts), tuple(latencies))


@contextlib.contextmanager
def _garbage_collector_off() -> Iterator[None]:
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
