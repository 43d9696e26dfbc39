"""Inferences without a profiler and with it, in turns, so that the host's moods hit both alike."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence

from bmopt.core.runner import Feeds, Runner

FEWEST = 5
"""Inferences that a profile comes from at least, however slow the model."""

_TURNS = 4

Clock = Callable[[], int]


def in_turns(
    plain: Runner,
    watched: Runner,
    feeds: Sequence[Feeds],
    count: int,
    seconds: float,
    clock: Clock,
) -> tuple[list[int], list[int]]:
    """Return the latencies without and with the profiler, in nanoseconds.

    Args:
        plain: Runs without the profiler.
        watched: Runs with it.
        feeds: Inputs, used in rotation.
        count: How many inferences of each, at most.
        seconds: Time for all of them; five of each run in any case.
        clock: Nanoseconds.
    """
    rotation = itertools.cycle(feeds)
    found: tuple[list[int], list[int]] = ([], [])
    turn_ns = round(seconds * 1e9 / (2 * _TURNS))
    deadline = clock() + round(seconds * 1e9)
    while len(found[1]) < count:
        length = max(1, min(max(FEWEST, count // _TURNS), count - len(found[1])))
        for runner, latencies in zip((plain, watched), found, strict=True):
            latencies.extend(turn(runner, rotation, length, clock, turn_ns))
        if clock() >= deadline:
            break
    return found


def turn(
    runner: Runner, rotation: Iterator[Feeds], count: int, clock: Clock, limit_ns: int
) -> Iterator[int]:
    """Yield latencies until there are ``count``, or five and the time is up."""
    deadline = clock() + limit_ns
    for index in range(count):
        feed = next(rotation)
        start = clock()
        runner.run(feed)
        end = clock()
        yield end - start
        if end >= deadline and index + 1 >= FEWEST:
            break
