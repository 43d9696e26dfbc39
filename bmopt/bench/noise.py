"""The noise floor: what a comparison finds between two instances of the same thing."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from bmopt.bench.statistics import RatioEstimate, ratio
from bmopt.core.measurement import Measurement


@dataclasses.dataclass(frozen=True)
class NoiseFloor:
    """What an A/A measurement says of the host it ran on.

    Attributes:
        estimate: The second instance's latency over the first's; the truth is 1.
    """

    estimate: RatioEstimate

    @property
    def half_width(self) -> float:
        """Half of the interval as a fraction of the ratio; infinite with too few turns.

        A difference smaller than this would not have been told from none.
        """
        return self.estimate.relative_width / 2.0

    @property
    def is_different(self) -> bool:
        """Whether the two were called faster or slower, which is wrong."""
        return self.estimate.verdict in ("faster", "slower")

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON value; an unbounded half width is null."""
        bounded = self.half_width != float("inf")
        return {
            "half_width": self.half_width if bounded else None,
            "is_different": self.is_different,
            "estimate": self.estimate.to_dict(),
        }


def floor_of(
    measurement: Measurement, first: str | None = None, second: str | None = None
) -> NoiseFloor:
    """Return the noise floor that a measurement of two instances of one model shows.

    Args:
        measurement: Usually what ``parted`` returns.
        first: One instance; the first variant if not given.
        second: The other; the second variant if not given.

    Raises:
        UsageError: There is no such variant.
    """
    one, two = measurement.variants[:2]
    return NoiseFloor(ratio(measurement, first or one, second or two))


def parted(
    measurement: Measurement, again: str, names: tuple[str, str]
) -> tuple[Measurement, Measurement | None]:
    """Take the second instance of the reference out of a comparison that it took turns in.

    Args:
        measurement: The first variant is the reference.
        again: The variant that is its second instance.
        names: What the two are called in the A/A measurement.

    Returns:
        The comparison without it, and the A/A measurement of the reference and it, None where
        either was not measured.
    """
    rest = [name for name in measurement.variants if name != again]
    if len(rest) == len(measurement.variants) or not rest:
        return measurement, None
    pair = dict(zip((rest[0], again), names, strict=True))
    return _only(measurement, dict(zip(rest, rest, strict=True))), _only(measurement, pair)


def _only(measurement: Measurement, names: Mapping[str, str]) -> Measurement:
    """Return the blocks of some variants, under other names."""
    kept = (block for block in measurement.blocks if block.variant in names)
    return dataclasses.replace(
        measurement,
        variants=tuple(names.values()),
        blocks=tuple(
            dataclasses.replace(block, variant=names[block.variant], index=index)
            for index, block in enumerate(kept)
        ),
    )
