"""The ratio of every turn in the order they ran: drift and bursts of load show."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from bmopt.bench.quantities import ratio_text
from bmopt.bench.report.axes import Scale, padded
from bmopt.bench.report.figure import Box, figure, line, marker, words, x_axis, y_axis
from bmopt.bench.report.markup import Child, Markup, element, joined
from bmopt.bench.schedule import ROUNDS_PER_TURN
from bmopt.bench.statistics import Floats, RatioEstimate, log_latencies
from bmopt.core.measurement import Measurement

MOST_POINTS = 300


@dataclasses.dataclass(frozen=True)
class Turns:
    """Ratio of each turn and when it began, in seconds; both ``[turns]``."""

    seconds: Floats
    ratios: Floats

    @classmethod
    def of(cls, measurement: Measurement, reference: str, candidate: str) -> Turns:
        """Return one ratio per turn: the geometric mean of its two rounds."""
        first = [block for block in measurement.blocks if block.variant == reference]
        other = [block for block in measurement.blocks if block.variant == candidate]
        logs = log_latencies(other) - log_latencies(first)
        count = max(1, logs.size // ROUNDS_PER_TURN)
        rounds = logs[: count * ROUNDS_PER_TURN].reshape(count, -1)
        starts = [block.start_ns[0] / 1e9 for block in first[::ROUNDS_PER_TURN]]
        return cls(np.asarray(starts[:count]), np.exp(rounds.mean(axis=1)))

    def thinned(self) -> Turns:
        """Return at most ``MOST_POINTS`` of them, equally far apart."""
        stride = math.ceil(self.seconds.size / MOST_POINTS)
        return Turns(self.seconds[::stride], self.ratios[::stride])


def turn_chart(name: str, candidate: str, turns: Turns, found: RatioEstimate, hue: str) -> Markup:
    """Return the chart of one candidate."""
    few = turns.thinned()
    left = turns.seconds.size - few.seconds.size
    thin = f" {few.seconds.size} of {turns.seconds.size} turns are drawn." if left else ""
    note = f"A point per turn; the band is the interval of their mean.{thin}"
    summary = (
        f"{turns.seconds.size} turns, ratios {ratio_text(float(turns.ratios.min()))} to "
        f"{ratio_text(float(turns.ratios.max()))}"
    )

    def draw(width: int) -> tuple[float, Markup]:
        return _drawn(few, found, hue, width)

    return figure(name, f"{candidate}: ratio per turn over time", summary, draw, note)


def _drawn(turns: Turns, found: RatioEstimate, hue: str, width: int) -> tuple[float, Markup]:
    box = Box(58, 26, width - 20, 206)
    bounded = math.isfinite(found.high) and found.low > 0
    ends = [*map(float, turns.ratios), *((found.low, found.high) if bounded else ())]
    y = Scale(*padded(min(ends), max(ends)), box.bottom, box.top)
    x = Scale(*padded(0.0, float(turns.seconds[-1]), share=0.02), box.left, box.right)
    parts: list[Child] = [
        y_axis(y, box, "latency ratio"),
        x_axis(x, box, "seconds since the start"),
    ]
    if bounded:
        top = y(found.high)
        tall = y(found.low) - top
        wide = box.right - box.left
        parts.append(
            element("rect", x=box.left, y=top, width=wide, height=tall, class_=f"band {hue}")
        )
    at = y(found.ratio)
    parts.append(line(box.left, at, box.right, at, f"mean {hue}"))
    if y.low < 1.0 < y.high:
        parts += [
            line(box.left, y(1.0), box.right, y(1.0), "one"),
            words(box.right, y(1.0) - 4, "same", "tick", "end"),
        ]
    parts += [
        marker(x(float(s)), y(float(r)), "circle", f"dot {hue}", ratio_text(float(r)), 3)
        for s, r in zip(turns.seconds, turns.ratios, strict=True)
    ]
    return box.bottom + 44, joined(*parts)
