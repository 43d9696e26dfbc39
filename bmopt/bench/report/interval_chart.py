"""Ratios with their intervals on one axis, the noise floor among them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from bmopt.bench.quantities import ratio_text
from bmopt.bench.report.axes import Scale, log_padded
from bmopt.bench.report.figure import (
    NARROW,
    Box,
    figure,
    line,
    marker,
    shortened,
    words,
    x_axis,
)
from bmopt.bench.report.markup import Child, Markup, joined
from bmopt.bench.statistics import RatioEstimate

_ROW = 34
_ROW_WITH_LABEL_ABOVE = 48
_LABELS = 190


@dataclasses.dataclass(frozen=True)
class IntervalRow:
    """A ratio to be drawn; ``hue`` and ``shape`` are those of its subject."""

    label: str
    estimate: RatioEstimate
    hue: str
    shape: str


def interval_chart(name: str, rows: Sequence[IntervalRow]) -> Markup:
    """Return the chart; nothing where no ratio has an interval."""
    drawn = [row for row in rows if math.isfinite(row.estimate.high) and row.estimate.low > 0]
    if not drawn:
        return Markup()
    summary = "; ".join(f"{row.label}: {_numbers(row.estimate)}" for row in drawn)

    def draw(width: int) -> tuple[float, Markup]:
        return _drawn(drawn, width)

    note = "Left of 1 is faster. A line that crosses 1 shows no difference."
    return figure(name, "Latency ratios with 99 % intervals", summary, draw, note)


def _drawn(rows: Sequence[IntervalRow], width: int) -> tuple[float, Markup]:
    narrow = width == NARROW
    step = _ROW_WITH_LABEL_ABOVE if narrow else _ROW
    box = Box(14 if narrow else _LABELS, 8, width - 20, 8 + step * len(rows))
    ends = [end for row in rows for end in (row.estimate.low, row.estimate.high)]
    low, high = log_padded(min(1.0, *ends), max(1.0, *ends))
    scale = Scale(low, high, box.left, box.right, log=True)
    one = line(scale(1.0), box.top, scale(1.0), box.bottom, "one")
    parts: list[Child] = [x_axis(scale, box, "latency ratio (log scale)"), one]
    for index, row in enumerate(rows):
        parts.append(_row(row, scale, box, box.top + step * (index + (0.68 if narrow else 0.5))))
    return box.bottom + 44, joined(*parts)


def _row(row: IntervalRow, scale: Scale, box: Box, y: float) -> Markup:
    found = row.estimate
    narrow = box.left < _LABELS
    label = words(0, y - 15, shortened(row.label, 44), "label")
    if not narrow:
        label = words(box.left - 12, y + 4, shortened(row.label, 26), "label", "end")
    low, high = scale(found.low), scale(found.high)
    left = (low + high) / 2 > (box.left + box.right) / 2
    at, anchor = (low - 10, "end") if left else (high + 10, "start")
    text = ratio_text(found.ratio) if narrow else _numbers(found)
    number = words(at, y + 4, text, "tick", anchor)
    return joined(
        label,
        line(low, y, high, y, f"whisker {row.hue}"),
        *(line(end, y - 6, end, y + 6, f"whisker {row.hue}") for end in (low, high)),
        marker(scale(found.ratio), y, row.shape, f"dot {row.hue}", _numbers(found), 3.5),
        number,
    )


def _numbers(found: RatioEstimate) -> str:
    return f"{ratio_text(found.ratio)} [{ratio_text(found.low)}, {ratio_text(found.high)}]"
