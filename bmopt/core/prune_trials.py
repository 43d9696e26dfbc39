"""Pruned models that were tried, and those of them that no other one beats."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

_NOISE = 0.02


@dataclasses.dataclass(frozen=True)
class Point:
    """One pruned model, as it would ship, beside the model that was given.

    Attributes:
        name: What it is called.
        budget: The budget that it was cut to, as text; empty for the model that was given.
        macs: Its MACs, as a part of the source's.
        parameters: Its parameters, as a part of the source's.
        size_bytes: Of its file, in the target's precision.
        latency: Its latency, as a part of the float source's on the target's engine; None where
            it was not measured.
        interval: 99 % interval of that.
        metric: Value of the metric that decides; None where there is none.
        drop: What it lost of that, in points of a rate or the metric's own unit.
        agreement: Part of the samples that it decides as the source does, None where the model
            decides nothing.
    """

    name: str
    budget: str
    macs: float
    parameters: float
    size_bytes: int
    latency: float | None = None
    interval: tuple[float, float] | None = None
    metric: float | None = None
    drop: float | None = None
    agreement: float | None = None

    def is_slower(self, other: Point) -> bool:
        """Return whether it is measured to take longer: their intervals are 2 % apart, or more.

        Less may come of where weights and buffers happen to lie.
        """
        if self.interval is None or other.interval is None:
            return False
        return self.interval[0] > (1.0 + _NOISE) * other.interval[1]

    def to_dict(self) -> dict[str, Any]:
        """Return it as a JSON value."""
        return dataclasses.asdict(self)


def front(points: Sequence[Point]) -> list[str]:
    """Return the names of the points that no other one beats in cost and in drop.

    The cost is the latency where all have one, else the MACs. A model whose drop is not known is
    in front only where none is.
    """
    known = [point for point in points if point.drop is not None]
    points = known or points
    has_latency = all(point.latency is not None for point in points)

    def cost(point: Point) -> float:
        return point.latency if has_latency and point.latency is not None else point.macs

    def drop(point: Point) -> float:
        return 0.0 if point.drop is None else point.drop

    found: list[str] = []
    best = float("inf")
    for point in sorted(points, key=lambda one: (cost(one), drop(one))):
        if drop(point) < best:
            best = drop(point)
            found.append(point.name)
    return found


@dataclasses.dataclass(frozen=True)
class PruneTrials:
    """Everything that one pruning tried.

    Attributes:
        target: What latency and accuracy are of.
        metric: What decides; empty for the agreement.
        points: The models, the one that was given first.
        chosen: Name of the one that was taken.
    """

    target: str
    metric: str
    points: tuple[Point, ...]
    chosen: str

    @property
    def slowed(self) -> float | None:
        """The latency of the chosen one by that of the first, where it is the slower one."""
        first, best = self.points[0], next(one for one in self.points if one.name == self.chosen)
        if not best.is_slower(first) or best.latency is None or first.latency is None:
            return None
        return best.latency / first.latency

    @property
    def front(self) -> list[str]:
        """Names of the models that no other one beats."""
        return front(self.points)

    @classmethod
    def from_report(cls, report: Mapping[str, Any]) -> PruneTrials:
        """Read the report of ``bmopt prune``, or what a compilation's report has of one.

        Raises:
            KeyError: It is none.
            TypeError: It is none.
        """
        points = (
            Point(**{**one, "interval": tuple(one["interval"]) if one["interval"] else None})
            for one in report["trials"]
        )
        return cls(report["target"], report["metric"], tuple(points), report["chosen"])
