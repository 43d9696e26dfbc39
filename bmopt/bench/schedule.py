"""The interleaved schedule: which variant runs when, and the timed loop itself.

Running A and then B lets drift and bursts of load pass for a difference. Here variants take turns
in short blocks, and every order is followed by its reverse (A B B A), so that a linear drift
cancels within a turn.
"""

from __future__ import annotations

import contextlib
import gc
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from bmopt._ext import time_block
from bmopt.bench.clock import MONOTONIC, Clock
from bmopt.bench.environment import HostLoad, block_readings, host_load
from bmopt.core.measurement import Block, Settings
from bmopt.core.runner import Array, Feeds
from bmopt.errors import BmoptError

ROUNDS_PER_TURN = 2
MIN_SAMPLES = 2
"""Fewest timed inferences in a block, however slow the variant."""

_PLATEAU = 0.02
_CALM_WINDOWS = 2
_WINDOW_NS = 25_000_000

_FIRST_CAPACITY = 1024
_GROWTH = 4

Stamps = npt.NDArray[np.int64]
"""Nanoseconds, one per inference."""

Load = Callable[[], HostLoad]
"""Reads what the host is busy with."""

_T = TypeVar("_T")


class Variant(Protocol):
    """What takes turns with others: in this process or in one of its own."""

    @property
    def name(self) -> str:
        """What its blocks are called."""

    def warm_up(self, limit_ns: int) -> int:
        """Run until the latency stops falling; return how many inferences that took."""

    def block(self, least_ns: int) -> tuple[Stamps, Stamps]:
        """Run a block of ``least_ns``; return starts by the monotonic clock, and latencies.

        Raises:
            BmoptError: The engine failed.
        """


class VariantFailedError(Exception):
    """A variant failed in its turn; never leaves ``bmopt.bench``.

    Attributes:
        name: Which one.
        error: What it failed with.
    """

    def __init__(self, name: str, error: BmoptError) -> None:
        super().__init__(name)
        self.name = name
        self.error = error


class Lane:
    """A variant in this process, with the buffers that its samples go to.

    The feeds rotate: a block goes on with the one after the last block's, so that all are used
    alike.
    """

    def __init__(
        self, name: str, run: Callable[[Feeds], dict[str, Array]], feeds: Sequence[Feeds]
    ) -> None:
        self.name = name
        self._run = run
        self._feeds = tuple(feeds)
        self._next = 0
        self._starts, self._latencies = _buffer(_FIRST_CAPACITY), _buffer(_FIRST_CAPACITY)

    def drop_one(self) -> None:
        """Run one inference that is not timed."""
        feed = self._feeds[self._next % len(self._feeds)]
        self._next += 1
        self._run(feed)

    def collect(self, clock: Clock, least_ns: int, fewest: int) -> tuple[Stamps, Stamps]:
        """Time inferences for ``least_ns``, ``fewest`` at least; return starts and latencies.

        Full buffers grow between two inferences, outside of what is timed.
        """
        count = 0
        while True:
            before = count
            count = time_block(
                self._run,
                self._feeds,
                self._next,
                before,
                least_ns,
                fewest,
                self._starts,
                self._latencies,
                None if clock is MONOTONIC else clock,
            )
            self._next += count - before
            last = int(self._starts[count - 1] + self._latencies[count - 1])
            if count >= fewest and last - int(self._starts[0]) >= least_ns:
                return self._starts[:count].copy(), self._latencies[:count].copy()
            self._starts, self._latencies = _grown(self._starts), _grown(self._latencies)


class LocalVariant:
    """A runner that takes turns in this process."""

    def __init__(self, lane: Lane, clock: Clock) -> None:
        self._lane = lane
        self._clock = clock

    @property
    def name(self) -> str:
        """The lane's name."""
        return self._lane.name

    def warm_up(self, limit_ns: int) -> int:
        """Run until the latency stops falling; see ``warm_up``."""
        return warm_up(self._lane, self._clock, limit_ns)

    def block(self, least_ns: int) -> tuple[Stamps, Stamps]:
        """Run a block; see ``timed``."""
        return timed(self._lane, self._clock, least_ns)


def orders(items: Sequence[_T], seed: int) -> Iterator[tuple[_T, ...]]:
    """Yield orders without end: a random one, its reverse, another random one, its reverse..."""
    generator = np.random.default_rng(seed)
    while True:
        order = tuple(items[i] for i in generator.permutation(len(items)))
        yield order
        yield order[::-1]


def turns(
    variants: Sequence[Variant], settings: Settings, origin_ns: int, load: Load = host_load
) -> Iterator[tuple[Block, ...]]:
    """Run and yield turns without end; a turn is a round of all variants and the reversed round.

    The host's load is read right before and right after every block; starts are counted from
    ``origin_ns``.

    Raises:
        VariantFailedError: One of them failed; its turn is lost.
    """
    index = itertools.count()
    order = orders(variants, settings.seed)
    while True:
        rounds = (next(order) for _ in range(ROUNDS_PER_TURN))
        yield tuple(
            _block(variant, next(index), round(settings.block_ms * 1e6), origin_ns, load)
            for variant in itertools.chain.from_iterable(rounds)
        )


def warm_up(lane: Lane, clock: Clock, limit_ns: int) -> int:
    """Run a lane until its latency stops falling; return how many inferences that took.

    Latency has stopped falling when two windows of 25 ms in a row have a median no more than 2 %
    below the best one before. Ends at the first window after ``limit_ns`` in any case.
    """
    deadline = clock() + limit_ns
    best, calm, inferences = float("inf"), 0, 0
    while calm < _CALM_WINDOWS:
        _, latencies = timed(lane, clock, _WINDOW_NS, fewest=1)
        inferences += latencies.size + 1
        median = float(np.median(latencies))
        calm = calm + 1 if median >= best * (1.0 - _PLATEAU) else 0
        best = min(best, median)
        if clock() >= deadline:
            break
    return inferences


def timed(
    lane: Lane, clock: Clock, least_ns: int, *, fewest: int = MIN_SAMPLES
) -> tuple[Stamps, Stamps]:
    """Run one dropped inference, then timed ones for ``least_ns``; return starts and latencies.

    Between the two readings of the clock there is nothing but the call: the outputs are freed
    and the samples stored after the second one, and the garbage collector is off. The loop is
    compiled (``cpp_ext/kernels/timing.hpp``); an exception of the engine passes through at once.
    """
    with garbage_collector_off():
        lane.drop_one()
        return lane.collect(clock, least_ns, fewest)


def _block(variant: Variant, index: int, least_ns: int, origin_ns: int, load: Load) -> Block:
    before = load()
    try:
        starts, latencies = variant.block(least_ns)
    except BmoptError as error:
        raise VariantFailedError(variant.name, error) from error
    readings = block_readings(before, load())
    since = tuple((starts - origin_ns).tolist())
    return Block(variant.name, index, since, tuple(latencies.tolist()), readings)


def _buffer(capacity: int) -> Stamps:
    """Return memory that is there already: the first write to a page would cost time."""
    return np.full(capacity, -1, dtype=np.int64)


def _grown(stamps: Stamps) -> Stamps:
    return np.concatenate((stamps, _buffer((_GROWTH - 1) * stamps.size)))


@contextlib.contextmanager
def garbage_collector_off() -> Iterator[None]:
    """Keep Python's collector from running between two readings of the clock."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
