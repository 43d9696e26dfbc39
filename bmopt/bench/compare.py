"""Latency of two or more variants, measured interleaved."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from bmopt.bench.clock import MONOTONIC, Clock
from bmopt.bench.environment import describe, host_load, load_facts
from bmopt.bench.far_lane import lane_of
from bmopt.bench.schedule import (
    ROUNDS_PER_TURN,
    Load,
    LocalVariant,
    Variant,
    VariantFailedError,
    turns,
)
from bmopt.bench.statistics import FEWEST_TURNS_TO_STOP, Floats, estimate, log_latencies, ratio
from bmopt.core.measurement import Block, Environment, Fact, Measurement, Settings
from bmopt.core.runner import Feeds, Runner
from bmopt.errors import BmoptError, BoardError, DataError, UsageError

__all__ = [
    "SAME",
    "Interleaved",
    "LatencyInterrupted",
    "compare_latency",
    "compare_variants",
    "ratio",
]

Progress = Callable[[float], None]
"""Told after every turn which fraction of the time budget is used, up to 1."""

SAME = ("first instance", "second instance")
"""The variants of an A/A measurement."""

_WARM_UP_SHARE = 0.2
# Whether the interval is narrow is looked at when there are this many more turns: a look costs
# milliseconds late in a long run, and every look is a chance to stop on luck.
_LOOK_AGAIN = 1.05


@dataclasses.dataclass(frozen=True)
class Interleaved:
    """What came of variants that took turns.

    Attributes:
        measurement: Of those that did not fail; None where all did.
        failures: Variant -> what ended it.
    """

    measurement: Measurement | None
    failures: Mapping[str, BmoptError]


class LatencyInterrupted(KeyboardInterrupt):
    """Ctrl-C while variants took turns.

    Attributes:
        compared: Everything that had ended by then.
    """

    def __init__(self, compared: Interleaved) -> None:
        super().__init__("interrupted")
        self.compared = compared


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
    """Time runners of this process in turns; see ``compare_variants``.

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
    variants = [
        LocalVariant(lane_of(name, one, feeds), clock) for name, one in runners.items()
    ]  # fmt: skip
    found = compare_variants(
        variants, settings, clock=clock, environment=environment, load=load, progress=progress
    )
    for error in found.failures.values():
        raise error
    assert found.measurement is not None
    return found.measurement


def compare_variants(
    variants: Sequence[Variant],
    settings: Settings,
    *,
    clock: Clock = MONOTONIC,
    environment: Environment | None = None,
    load: Load = host_load,
    progress: Progress | None = None,
    before_turn: Callable[[], None] | None = None,
) -> Interleaved:
    """Time variants in turns of short blocks until their ratios are known well enough.

    Every variant is first run until its latency stops falling. Then turns run until the
    99 % interval of every ratio to the first variant is at most ``precision`` wide, or another
    turn would not fit into ``duration_s``; one turn always runs. A variant that fails is left
    out from there on, with all of its blocks; the others go on. Where the machine of one drops
    off, the turns until then are kept and nothing more is measured.

    Args:
        variants: Their names differ; the first is what the others are compared with.
        settings: How long, how precise.
        clock: Nanoseconds, the same that the variants' starts are read from.
        environment: Where this runs; read from the host if not given.
        load: Reads the host's load, before and after every block.
        progress: Called after every turn.
        before_turn: Called before every turn.

    Raises:
        LatencyInterrupted: Ctrl-C; has the turns so far.
    """
    facts = describe() if environment is None else environment
    race = _Race(variants, settings, clock, load)
    warm = race.warm_up()
    before = load()
    interrupted = False
    try:
        race.run(progress, before_turn)
    except KeyboardInterrupt:
        interrupted = True
    found = race.compared(facts.merged({**warm, **load_facts(before, load())}))
    if interrupted:
        raise LatencyInterrupted(found)
    return found


class _Race:
    """Variants that take turns, and the blocks of those that are still in it."""

    def __init__(
        self, variants: Sequence[Variant], settings: Settings, clock: Clock, load: Load
    ) -> None:
        self._variants = list(variants)
        self._settings = settings
        self._clock = clock
        self._load = load
        self._blocks: list[Block] = []
        self._logs: dict[str, list[Floats]] = {variant.name: [] for variant in variants}
        self._failures: dict[str, BmoptError] = {}

    def warm_up(self) -> dict[str, Fact]:
        """Warm every variant up; return how many inferences each took."""
        limit_ns = round(self._settings.duration_s * 1e9 * _WARM_UP_SHARE)
        counts = {one.name: self._warmed(one, limit_ns) for one in tuple(self._variants)}
        return {f"warm_up.{name}.inferences": n for name, n in counts.items() if n is not None}

    def run(self, progress: Progress | None, before_turn: Callable[[], None] | None) -> None:
        """Run turns until the ratios are precise or the time is up."""
        origin = self._clock()
        while self._variants and not self._ended(origin, progress, before_turn):
            pass

    def _warmed(self, variant: Variant, limit_ns: int) -> int | None:
        try:
            return variant.warm_up(limit_ns)
        except BmoptError as error:
            self._drop(variant.name, error)
            return None

    def _ended(
        self, origin: int, progress: Progress | None, before_turn: Callable[[], None] | None
    ) -> bool:
        """Run turns to their end; return False where a variant failed and had to be dropped."""
        try:
            self._run_turns(origin, progress, before_turn)
        except VariantFailedError as failed:
            if isinstance(failed.error, BoardError) and self._blocks:
                # Nothing is wrong with what ran before; others on the board would fail next.
                self._failures[failed.name] = failed.error
                return True
            self._drop(failed.name, failed.error)
            return False
        return True

    def _run_turns(
        self, origin: int, progress: Progress | None, before_turn: Callable[[], None] | None
    ) -> None:
        budget_ns = self._settings.duration_s * 1e9
        look_at = FEWEST_TURNS_TO_STOP
        before = self._clock()
        for _ in self._turns(origin, before_turn):
            count = self._count()
            if count >= look_at:
                look_at = max(count + 1, math.ceil(count * _LOOK_AGAIN))
                if self._is_precise():
                    return
            now = self._clock()
            if progress is not None:
                progress(min(1.0, (now - origin) / budget_ns))
            if (now - origin) + (now - before) > budget_ns:
                return
            before = now

    def compared(self, environment: Environment) -> Interleaved:
        """Return the whole turns so far."""
        blocks = tuple(
            dataclasses.replace(block, index=index) for index, block in enumerate(self._blocks)
        )
        names = tuple(variant.name for variant in self._variants)
        found = Measurement(names, blocks, environment, self._settings) if blocks else None
        return Interleaved(found, dict(self._failures))

    def _turns(self, origin: int, before_turn: Callable[[], None] | None) -> Iterator[None]:
        """Run turns without end and keep their blocks."""
        running = turns(self._variants, self._settings, origin, self._load)
        while True:
            if before_turn is not None:
                before_turn()
            turn = next(running)
            self._blocks.extend(turn)
            for variant in self._variants:
                own = (block for block in turn if block.variant == variant.name)
                self._logs[variant.name].append(log_latencies(own))
            yield

    def _drop(self, name: str, error: BmoptError) -> None:
        self._failures[name] = error
        self._variants = [variant for variant in self._variants if variant.name != name]
        self._blocks = [block for block in self._blocks if block.variant != name]

    def _count(self) -> int:
        return len(self._blocks) // (ROUNDS_PER_TURN * len(self._variants))

    def _is_precise(self) -> bool:
        first, *others = (np.concatenate(self._logs[one.name]) for one in self._variants)
        return all(
            estimate(other - first, self._settings).relative_width <= self._settings.precision
            for other in others
        )
