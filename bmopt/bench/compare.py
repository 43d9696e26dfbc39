"""Latency of two or more variants, measured interleaved in one process."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from bmopt.bench.clock import MONOTONIC, Clock
from bmopt.bench.environment import describe, host_load, load_facts
from bmopt.bench.schedule import Lane, Load, turns, warm_up
from bmopt.bench.statistics import FEWEST_TURNS_TO_STOP, Floats, estimate, log_latencies, ratio
from bmopt.core.measurement import Block, Environment, Fact, Measurement, Settings
from bmopt.core.runner import Feeds, Runner
from bmopt.errors import DataError, UsageError

__all__ = ["SAME", "compare_latency", "noise_floor", "ratio"]

Progress = Callable[[float], None]
"""Told after every turn which fraction of the time budget is used, up to 1."""

SAME = ("first instance", "second instance")
"""The variants of an A/A measurement."""

_WARM_UP_SHARE = 0.2
# Whether the interval is narrow is looked at when there are this many more turns: a look costs
# milliseconds late in a long run, and every look is a chance to stop on luck.
_LOOK_AGAIN = 1.05


def compare_latency(
    runners: Mapping[str, Runner],
    feeds: Sequence[Feeds],
    *,
    clock: Clock = MONOTONIC,
    duration_s: float = 10.0,
    precision: float = 0.01,
    block_ms: float = 20.0,
    seed: int = 0,
    environment: Environment | None = None,
    load: Load = host_load,
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
        load: Reads the host's load, before and after every block.
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
    lanes = [Lane(name, one.run, feeds) for name, one in runners.items()]
    warm = _warm_up_all(lanes, settings, clock)
    before = load()
    blocks = _measure(lanes, settings, clock, load, progress)
    return Measurement(
        variants=tuple(runners),
        blocks=tuple(blocks),
        environment=facts.merged({**warm, **load_facts(before, load())}),
        settings=settings,
    )


def noise_floor(
    open_runner: Callable[[], Runner],
    feeds: Sequence[Feeds],
    *,
    clock: Clock = MONOTONIC,
    duration_s: float = 10.0,
    precision: float = 0.01,
    block_ms: float = 20.0,
    seed: int = 0,
    environment: Environment | None = None,
    load: Load = host_load,
    progress: Progress | None = None,
) -> Measurement:
    """Compare a model with itself: two instances opened one after the other, named ``SAME``.

    What this finds between them is the host's doing, or that of where memory happened to lie;
    ``bmopt.bench.noise.floor_of`` reads it. Where there is time, another instance as one more
    variant of the comparison itself tells the noise at the very moment of it.

    Args:
        open_runner: Opens the model; called twice, both are closed again.
        feeds: As everything else, see ``compare_latency``, whose errors this raises too.
        clock: Nanoseconds.
        duration_s: Time budget.
        precision: Width of the interval to stop at.
        block_ms: Least length of a block.
        seed: Of the order.
        environment: Where this runs.
        load: Reads the host's load.
        progress: Called after every turn.
    """
    with contextlib.ExitStack() as stack:
        runners = {name: stack.enter_context(open_runner()) for name in SAME}
        return compare_latency(
            runners,
            feeds,
            clock=clock,
            duration_s=duration_s,
            precision=precision,
            block_ms=block_ms,
            seed=seed,
            environment=environment,
            load=load,
            progress=progress,
        )


def _warm_up_all(lanes: Sequence[Lane], settings: Settings, clock: Clock) -> dict[str, Fact]:
    limit_ns = round(settings.duration_s * 1e9 * _WARM_UP_SHARE)
    return {f"warm_up.{lane.name}.inferences": warm_up(lane, clock, limit_ns) for lane in lanes}


def _measure(
    lanes: Sequence[Lane],
    settings: Settings,
    clock: Clock,
    load: Load,
    progress: Progress | None,
) -> list[Block]:
    budget_ns = settings.duration_s * 1e9
    logs: dict[str, list[Floats]] = {lane.name: [] for lane in lanes}
    blocks: list[Block] = []
    look_at = FEWEST_TURNS_TO_STOP
    origin = before = clock()
    for count, turn in enumerate(turns(lanes, settings, clock, load), start=1):
        blocks.extend(turn)
        for name, parts in logs.items():
            parts.append(log_latencies(block for block in turn if block.variant == name))
        if count >= look_at:
            look_at = max(count + 1, math.ceil(count * _LOOK_AGAIN))
            if _precise(logs, settings):
                break
        now = clock()
        if progress is not None:
            progress(min(1.0, (now - origin) / budget_ns))
        if (now - origin) + (now - before) > budget_ns:
            break
        before = now
    return blocks


def _precise(logs: Mapping[str, Sequence[Floats]], settings: Settings) -> bool:
    first, *others = (np.concatenate(parts) for parts in logs.values())
    return all(
        estimate(other - first, settings).relative_width <= settings.precision for other in others
    )
