"""Latency of two or more variants, measured interleaved in one process."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from bmopt.bench.clock import MONOTONIC, Clock
from bmopt.bench.environment import HostLoad, describe, host_load, load_facts
from bmopt.bench.schedule import ROUNDS_PER_TURN, Lane, turns, warm_up
from bmopt.bench.statistics import Floats, estimate, log_latencies, ratio
from bmopt.core.measurement import Block, Environment, Fact, Measurement, Settings
from bmopt.core.runner import Feeds, Runner
from bmopt.errors import DataError, UsageError

__all__ = ["compare_latency", "ratio"]

Progress = Callable[[float], None]
"""Told after every turn which fraction of the time budget is used, up to 1."""

_WARM_UP_SHARE = 0.2
# With fewer, an interval that is narrow by luck would end the run too often: simulated A/A runs
# then called a difference in 2 to 3 % of the cases, with six turns in 1 to 2 %.
_FEWEST_TURNS_TO_STOP = 6


def compare_latency(
    runners: Mapping[str, Runner],
    feeds: Sequence[Feeds],
    *,
    clock: Clock = MONOTONIC,
    duration_s: float = 10.0,
    precision: float = 0.01,
    block_ms: float = 50.0,
    seed: int = 0,
    environment: Environment | None = None,
    load: Callable[[], HostLoad] = host_load,
    progress: Progress | None = None,
) -> Measurement:
    """Time the runners in turns of short blocks until their ratios are known well enough.

    Every variant is first run until its latency stops falling. Then turns run until the
    99 % interval of every ratio to the first variant is at most ``precision`` wide, or another
    turn would not fit into ``duration_s``; one turn always runs.

    Two engines with thread pools that spin while idle disturb each other: open them with one
    thread, or with spinning off.

    Args:
        runners: Variant -> opened runner; the first is what the others are compared with.
        feeds: Real inputs, used in rotation by every variant.
        clock: Nanoseconds.
        duration_s: Time budget of the timed part; warming up may take 20 % of it per variant.
        precision: Width of the interval to stop at, relative to the ratio.
        block_ms: Least time one variant runs before another takes over.
        seed: Of the order of the variants.
        environment: Where this runs, with the thread settings; read from the host if not given.
        load: Reads the host's load before and after.
        progress: Called after every turn.

    Raises:
        UsageError: Fewer than two runners, or a setting out of its range.
        DataError: No feeds, or feeds that do not fit a model.
    """
    settings = Settings(duration_s, precision, block_ms, seed)
    if len(runners) < 2:
        raise UsageError(f"{len(runners)} variants to compare; give two or more")
    if not feeds:
        raise DataError("no inputs to measure latency with; give at least one sample")
    facts = describe() if environment is None else environment
    lanes = [Lane(name, one.run, itertools.cycle(feeds)) for name, one in runners.items()]
    warm = _warm_up_all(lanes, settings, clock)
    before = load()
    blocks = _measure(lanes, settings, clock, progress)
    return Measurement(
        variants=tuple(runners),
        blocks=tuple(blocks),
        environment=facts.merged({**warm, **load_facts(before, load())}),
        settings=settings,
    )


def _warm_up_all(lanes: Sequence[Lane], settings: Settings, clock: Clock) -> dict[str, Fact]:
    limit_ns = round(settings.duration_s * 1e9 * _WARM_UP_SHARE)
    return {
        f"warm_up.{lane.name}.inferences": warm_up(lane, settings, clock, limit_ns)
        for lane in lanes
    }


def _measure(
    lanes: Sequence[Lane], settings: Settings, clock: Clock, progress: Progress | None
) -> list[Block]:
    budget_ns = settings.duration_s * 1e9
    names = [lane.name for lane in lanes]
    logs: dict[str, list[Floats]] = {name: [] for name in names}
    blocks: list[Block] = []
    origin = before = clock()
    for turn in turns(lanes, settings, clock):
        blocks.extend(turn)
        for name in names:
            logs[name].append(log_latencies(block for block in turn if block.variant == name))
        now = clock()
        if progress is not None:
            progress(min(1.0, (now - origin) / budget_ns))
        if (now - origin) + (now - before) > budget_ns or _precise(logs, settings):
            break
        before = now
    return blocks


def _precise(logs: Mapping[str, Sequence[Floats]], settings: Settings) -> bool:
    first, *others = (np.concatenate(parts) for parts in logs.values())
    if first.size < _FEWEST_TURNS_TO_STOP * ROUNDS_PER_TURN:
        return False
    return all(
        estimate(other - first, settings).relative_width <= settings.precision for other in others
    )
