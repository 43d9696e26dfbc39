"""Pruned models that were tried, and those of them that no other one beats."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any


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

    def to_dict(self) -> dict[str, Any]:
        """Return it as a JSON value."""
        return dataclasses.asdict(self)


def front(points: Sequence[Point]) -> list[str]:
    """Return the names of the points that no other one beats in cost and in drop.

    The cost is the latency where all have one, else the MACs.
    """
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
