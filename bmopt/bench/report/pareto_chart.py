"""Latency, accuracy and size of every subject in one chart, with error bars."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from bmopt.bench.quantities import amount, axis_label, digits, percent, ratio_text
from bmopt.bench.report.axes import Scale, log_padded, padded
from bmopt.bench.report.figure import Box, figure, line, marker, shortened, words, x_axis, y_axis
from bmopt.bench.report.markup import Child, Markup, element, joined
from bmopt.core.ranges import Interval

_SMALLEST, _LARGEST = 5.0, 15.0
_LABEL_WIDTH, _LABEL_HEIGHT = 110.0, 15.0


@dataclasses.dataclass(frozen=True)
class Trade:
    """What a subject costs and what it gives; the reference's bars have no length."""

    label: str
    ratio: float
    ratio_interval: Interval
    score: float
    score_interval: Interval
    size_bytes: int | None
    hue: str
    shape: str

    def dominated_by(self, other: Trade) -> bool:
        """Whether the other one is faster and at least as good beyond doubt."""
        faster = other.ratio_interval.high < self.ratio_interval.low
        return faster and other.score_interval.low >= self.score_interval.high


def pareto_chart(name: str, metric: str, fraction: bool, trades: Sequence[Trade]) -> Markup:
    """Return the chart; nothing with fewer than two subjects."""
    if len(trades) < 2:
        return Markup()
    texts = [_told(one, fraction) for one in trades]

    def draw(width: int) -> tuple[float, Markup]:
        return _drawn(trades, metric, fraction, width)

    note = (
        "Left is faster, up is better, area is size. Bars are 99 % intervals beside the "
        "reference. Pale: another one is faster and no worse, both beyond doubt."
    )
    return figure(name, f"Latency, {metric} and size", "; ".join(texts), draw, note)


def _drawn(
    trades: Sequence[Trade], metric: str, fraction: bool, width: int
) -> tuple[float, Markup]:
    box = Box(66, 26, width - 24, 290)
    across = [end for one in trades for end in (one.ratio_interval.low, one.ratio_interval.high)]
    up = [end for one in trades for end in (one.score_interval.low, one.score_interval.high)]
    x = Scale(*log_padded(min(across), max(across), share=0.2), box.left, box.right, log=True)
    low, high = padded(min(up), max(up), share=0.15)
    if fraction:
        low, high = max(low, 0.0), min(high, 1.0)
    y = Scale(low, high, box.bottom, box.top)
    largest = max((one.size_bytes or 0 for one in trades), default=0)
    text = _percent_label if fraction else axis_label
    parts: list[Child] = [
        y_axis(y, box, metric, text),
        x_axis(x, box, "latency relative to the reference (log scale)"),
    ]
    taken: list[tuple[float, float]] = []
    for one in sorted(trades, key=lambda one: -(one.size_bytes or 0)):
        pale = any(one.dominated_by(other) for other in trades)
        at = _free(x(one.ratio), y(one.score) - 8, taken)
        point = _point(one, x, y, _radius(one, largest), fraction)
        label = _label(one, at, _radius(one, largest) + 7, box)
        parts.append(element("g", point, label, class_="pale" if pale else None))
    return box.bottom + 44, joined(*parts)


def _free(x: float, y: float, taken: list[tuple[float, float]]) -> tuple[float, float]:
    """Return a place for a label that is not on another one, and take it."""
    while any(abs(x - a) < _LABEL_WIDTH and abs(y - b) < _LABEL_HEIGHT for a, b in taken):
        y += _LABEL_HEIGHT
    taken.append((x, y))
    return x, y


def _radius(one: Trade, largest: int) -> float:
    """Return the radius that makes areas proportional to sizes."""
    if not one.size_bytes or not largest:
        return _SMALLEST
    return max(_SMALLEST, _LARGEST * math.sqrt(one.size_bytes / largest))


def _label(one: Trade, at: tuple[float, float], shift: float, box: Box) -> Markup:
    right = at[0] > (box.left + box.right) / 2
    x, anchor = (at[0] - shift, "end") if right else (at[0] + shift, "start")
    return words(x, at[1], shortened(one.label, 22), "label", anchor)


def _point(one: Trade, x: Scale, y: Scale, size: float, fraction: bool) -> Markup:
    at_x, at_y = x(one.ratio), y(one.score)
    low_x, high_x = x(one.ratio_interval.low), x(one.ratio_interval.high)
    low_y, high_y = y(one.score_interval.low), y(one.score_interval.high)
    return joined(
        line(low_x, at_y, high_x, at_y, f"whisker {one.hue}"),
        line(at_x, low_y, at_x, high_y, f"whisker {one.hue}"),
        marker(at_x, at_y, one.shape, f"dot see-through {one.hue}", _told(one, fraction), size),
    )


def _told(one: Trade, fraction: bool) -> str:
    score = percent(one.score) if fraction else digits(one.score)
    size = amount(one.size_bytes, "B")
    return f"{one.label}: {ratio_text(one.ratio)} times the latency, {score}, {size}"


def _percent_label(value: float) -> str:
    return f"{axis_label(round(100 * value, 6))} %"
