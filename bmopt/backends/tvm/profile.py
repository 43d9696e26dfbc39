"""Profiles of compiled libraries: how long each of their functions takes.

The virtual machine tells before and after every call of a function. What passes between the two in
a call that does nothing, of which every model has some, is what the telling takes, and is taken
off every function's time.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from bmopt.backends.profiled_turns import Clock, in_turns
from bmopt.backends.tvm.kernels import executed_dtype
from bmopt.backends.tvm.runtime import TvmRunner, open_library
from bmopt.core.engine import Kernel
from bmopt.core.profile import LayerProfile, LayerTime
from bmopt.core.runner import Array, Feeds
from bmopt.errors import DataError

_WARM_UP = 3
_OWN = "vm.builtin."
_IDLE = "vm.builtin.null_value"
"""Calls of the virtual machine's own, and one that does nothing."""

Calls = list[tuple[str, int]]
"""Names of called functions in order, and the nanoseconds that each call took."""


class WatchedRunner:
    """A library that is told of every call in; a runner.

    Attributes:
        runs: The calls of every run so far.
    """

    def __init__(self, runner: TvmRunner, clock: Clock) -> None:
        self.runs: list[Calls] = []
        self._runner = runner
        self._clock = clock
        self._events: list[tuple[str, bool, int]] = []
        runner.watch(self._told)

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in the model's order."""
        return self._runner.output_names

    def run(self, feeds: Feeds) -> dict[str, Array]:
        """Run one inference, and keep how long its calls took."""
        self._events.clear()
        outputs = self._runner.run(feeds)
        self.runs.append(list(_calls(self._events)))
        return outputs

    def _told(self, name: str, is_before: bool) -> None:
        self._events.append((name, is_before, self._clock()))

    def __enter__(self) -> WatchedRunner:  # noqa: PYI034 - Self needs Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the library open."""


def profile_library(
    path: Path,
    kernels: Sequence[Kernel],
    feeds: Sequence[Feeds],
    *,
    threads: int = 0,
    inferences: int = 200,
    seconds: float = 5.0,
    clock: Clock = time.perf_counter_ns,
) -> LayerProfile:
    """Return where the time goes when a library runs as ``open_library`` opens it.

    Args:
        path: The library.
        kernels: Its functions in the order of their calls, as the build told them.
        feeds: Inputs, used in rotation.
        threads: Threads of an inference; 0 for all cores.
        inferences: How many inferences are watched, at most.
        seconds: Time that these and as many unwatched ones may take; five run in any case.
        clock: Nanoseconds.

    Raises:
        ArtifactError: The file is damaged.
        DataError: No feeds, or feeds that do not fit the model.
        HostError: TVM is not installed, or the library is for another processor.
    """
    if not feeds:
        raise DataError("no inputs to profile with; give at least one sample")
    with (
        open_library(path, threads=threads) as plain,
        open_library(path, threads=threads) as other,
        WatchedRunner(other, clock) as watched,
    ):
        for feed in itertools.islice(itertools.cycle(feeds), _WARM_UP):
            plain.run(feed)
            watched.run(feed)
        watched.runs.clear()
        plain_ns, watched_ns = in_turns(plain, watched, feeds, inferences, seconds, clock)
        calls = _medians(watched.runs)
    event = statistics.median([ns for name, ns in calls if name == _IDLE] or [0.0])
    own = [(name, ns) for name, ns in calls if not name.startswith(_OWN)]
    wall, profiled_wall = statistics.median(plain_ns), statistics.median(watched_ns)
    return LayerProfile(
        engine="tvm",
        threads=threads,
        inferences=len(watched_ns),
        layers=tuple(_layers(own, kernels, event)),
        wall_ns=wall,
        profiled_wall_ns=profiled_wall,
        event_ns=event,
        call_ns=max(0.0, profiled_wall - sum(ns for _, ns in calls)),
    )


def _calls(events: Sequence[tuple[str, bool, int]]) -> Iterator[tuple[str, int]]:
    """Yield the calls that events begin and end; one that calls others encloses them."""
    begun: list[tuple[str, int]] = []
    for name, is_before, now in events:
        if is_before:
            begun.append((name, now))
        elif begun:
            name, since = begun.pop()
            yield name, now - since


def _medians(runs: Sequence[Calls]) -> list[tuple[str, float]]:
    """Return every call's median over the runs that went the most usual way."""
    ways = Counter(tuple(name for name, _ in run) for run in runs)
    way = ways.most_common(1)[0][0]
    usual = [run for run in runs if tuple(name for name, _ in run) == way]
    return [
        (name, float(statistics.median(run[index][1] for run in usual)))
        for index, name in enumerate(way)
    ]


def _layers(
    calls: Sequence[tuple[str, float]], kernels: Sequence[Kernel], event: float
) -> Iterator[LayerTime]:
    """Yield the calls of the model's functions, with what the build told of them."""
    names = [kernel.name for kernel in kernels]
    places = _places([name for name, _ in calls], names)
    for (name, ns), place in zip(calls, places, strict=True):
        if place is None and name not in names:
            continue  # computes shapes
        kernel = None if place is None else kernels[place]
        yield LayerTime(
            node=name,
            op=name if kernel is None else kernel.kind,
            provider="tvm",
            dtype="" if kernel is None else executed_dtype(kernel),
            nodes=() if kernel is None else kernel.nodes,
            ns=max(0.0, ns - event),
            profiled_ns=ns,
            schedule="" if kernel is None else schedule_of(kernel),
        )


def _places(calls: Sequence[str], kernels: Sequence[str]) -> list[int | None]:
    """Return which kernel every call is of.

    Both are in order, but some of each are not in the other: what computes shapes was added after
    the build told of the functions, and functions that only give a tensor another shape became
    calls of the virtual machine's own.
    """
    found: list[int | None] = []
    begin = 0
    for name in calls:
        place = next((i for i in range(begin, len(kernels)) if kernels[i] == name), None)
        found.append(place)
        begin = begin if place is None else place + 1
    return found


def times_of(profile: LayerProfile, kernels: Sequence[Kernel]) -> list[float | None]:
    """Return the time of every function in nanoseconds; None of one that is not called as such."""
    names = [layer.node for layer in profile.layers]
    times: list[float | None] = [None] * len(kernels)
    for layer, place in zip(
        profile.layers, _places(names, [kernel.name for kernel in kernels]), strict=True
    ):
        if place is not None:
            times[place] = layer.ns
    return times


def schedule_of(kernel: Kernel) -> str:
    """Return how a function is scheduled: by what, and where that comes from."""
    return ", ".join(filter(None, (kernel.tactic, kernel.schedule)))
