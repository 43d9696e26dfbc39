"""What a benchmark recorded: raw samples, the schedule they came in, and the environment.

Statistics are functions of a measurement (``bmopt.bench.statistics``), never fields of it, so
that anyone can recompute every number that was printed.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Mapping
from typing import Any

from bmopt.errors import ArtifactError, UsageError

SCHEMA_VERSION = 2
"""2 added what was read beside every block; records of version 1 can still be read."""

_READABLE = (1, SCHEMA_VERSION)

Fact = str | int | float | bool | None
"""A JSON scalar; ``None`` means that the host does not say."""


@dataclasses.dataclass(frozen=True)
class Environment:
    """Facts about where something was measured, under dotted names such as ``cpu.model``."""

    facts: Mapping[str, Fact]

    def merged(self, facts: Mapping[str, Fact]) -> Environment:
        """Return these facts with ``facts`` added; the new ones win."""
        return Environment({**self.facts, **facts})


@dataclasses.dataclass(frozen=True)
class Settings:
    """How variants were compared.

    Attributes:
        duration_s: Time budget of the timed part, warm-up excluded, in seconds.
        precision: Stop when every ratio's interval is at most this wide, relative to the ratio.
        block_ms: Least time one variant runs before another takes over, in milliseconds.
        seed: Of the order of the variants and of the bootstrap.
        confidence: Coverage of the intervals.

    Raises:
        UsageError: A value is out of its range.
    """

    duration_s: float = 10.0
    precision: float = 0.01
    block_ms: float = 20.0
    seed: int = 0
    confidence: float = 0.99

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("duration_s", "precision", "block_ms"):
            if not getattr(self, name) > 0.0:
                raise UsageError(f"{name}={getattr(self, name)}: give a number above 0")
        if self.seed < 0:
            raise UsageError(f"seed={self.seed}: give 0 or more")
        if not 0.0 < self.confidence < 1.0:
            raise UsageError(f"confidence={self.confidence}: give a number between 0 and 1")


@dataclasses.dataclass(frozen=True)
class Block:
    """Consecutive inferences of one variant; the first, which pays for cold caches, is left out.

    Attributes:
        variant: Whose inferences these are.
        index: Position among all blocks of the measurement.
        start_ns: When each inference started, in nanoseconds after the measurement did.
        latency_ns: How long each took, in nanoseconds.
        readings: What the host said beside the block, under names such as ``cpu.frequency_mhz``
            (right after it) and ``cpu.steal_ticks`` (while it ran); what it does not say is left
            out.
    """

    variant: str
    index: int
    start_ns: tuple[int, ...]
    latency_ns: tuple[int, ...]
    readings: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that every sample has both numbers and that there is one."""
        if not self.latency_ns or len(self.start_ns) != len(self.latency_ns):
            raise ValueError(f"block {self.index} has no samples, or starts without latencies")


@dataclasses.dataclass(frozen=True)
class Measurement:
    """An interleaved comparison, as it was recorded.

    The blocks lie in the order they ran. Every ``len(variants)`` blocks form a round, which runs
    each variant once; rounds come in twos, the second in the reverse order of the first.

    Attributes:
        variants: Names; the first is what the others are compared with.
        blocks: The samples.
        environment: Where they were taken.
        settings: How they were taken.
        schema: Version of this record.
    """

    variants: tuple[str, ...]
    blocks: tuple[Block, ...]
    environment: Environment
    settings: Settings
    schema: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        """Check that the blocks belong to the variants, round by round."""
        width = len(self.variants)
        for begin in range(0, len(self.blocks), width or 1):
            names = sorted(block.variant for block in self.blocks[begin : begin + width])
            if names != sorted(self.variants):
                raise ValueError(f"blocks from {begin} on do not hold every variant once")

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON value that ``from_dict`` reads.

        Starts are written as the block's first one and the pauses between inferences: a third
        of the size of absolute times.
        """
        return {
            "bmopt_measurement": self.schema,
            "variants": list(self.variants),
            "settings": dataclasses.asdict(self.settings),
            "environment": dict(self.environment.facts),
            "blocks": [_block_to_dict(block) for block in self.blocks],
        }

    def to_json(self) -> str:
        """Return the measurement as one line of JSON; ``from_json`` gives an equal one back."""
        return json.dumps(self.to_dict(), separators=(",", ":")) + "\n"

    @classmethod
    def from_dict(cls, document: Any, *, source: str = "measurement") -> Measurement:  # noqa: ANN401 - any JSON value
        """Read ``to_dict``'s value.

        Raises:
            ArtifactError: It is no measurement, or one of another version.
        """
        try:
            version = document["bmopt_measurement"]
            if version not in _READABLE:
                raise ArtifactError(
                    f"{source}: measurement version {version!r}, this bmopt reads "
                    f"{' and '.join(map(str, _READABLE))}; measure again"
                )
            return cls(
                variants=tuple(map(str, document["variants"])),
                blocks=tuple(
                    _block_from_dict(entry, index)
                    for index, entry in enumerate(document["blocks"])
                ),
                environment=Environment(dict(document["environment"])),
                settings=Settings(**document["settings"]),
            )
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise ArtifactError(
                f"{source}: is not a bmopt measurement ({error!r}); measure again"
            ) from error

    @classmethod
    def from_json(cls, text: str, *, source: str = "measurement") -> Measurement:
        """Parse ``to_json``'s text; errors as in ``from_dict``."""
        try:
            document = json.loads(text)
        except ValueError as error:
            raise ArtifactError(f"{source}: is not JSON ({error}); measure again") from error
        return cls.from_dict(document, source=source)


def _block_to_dict(block: Block) -> dict[str, Any]:
    ends = [start + took for start, took in zip(block.start_ns, block.latency_ns, strict=True)]
    pauses = [start - end for end, start in zip(ends, block.start_ns[1:], strict=False)]
    return {
        "variant": block.variant,
        "start_ns": block.start_ns[0],
        "pause_ns": pauses,
        "latency_ns": list(block.latency_ns),
        "readings": dict(block.readings),
    }


def _block_from_dict(entry: Mapping[str, Any], index: int) -> Block:
    latencies = tuple(map(int, entry["latency_ns"]))
    steps = (int(p) + took for p, took in zip(entry["pause_ns"], latencies[:-1], strict=True))
    starts = itertools.accumulate(steps, initial=int(entry["start_ns"]))
    readings = {str(k): float(value) for k, value in dict(entry.get("readings", {})).items()}
    return Block(str(entry["variant"]), index, tuple(starts), latencies, readings)
