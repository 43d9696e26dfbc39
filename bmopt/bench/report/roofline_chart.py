"""The roofline: what each layer reaches beside what the host could do (Williams et al., 2009)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bmopt.bench.quantities import amount, axis_label, time_text
from bmopt.bench.report.axes import Scale, log_padded
from bmopt.bench.report.figure import Box, figure, marker, path, words, x_axis, y_axis
from bmopt.bench.report.markup import Child, Markup, element, joined
from bmopt.core.bench_document import LayerRow, LayerTimes

MOST_POINTS = 200

BOUNDS: Mapping[str, tuple[str, str]] = {
    "compute": ("c1", "circle"),
    "memory": ("c2", "square"),
    "overhead": ("c0", "triangle"),
}
"""What bounds a layer -> its colour and marker."""


def roofline_chart(name: str, layers: LayerTimes) -> Markup:
    """Return the chart; nothing where neither layers nor the host are known well enough."""
    rows = [row for row in layers.rows if row.macs and row.bytes and row.ns > 0]
    peaks = {kind: peak for kind, peak in layers.peak_macs_per_s.items() if peak > 0}
    bandwidth = layers.peak_bytes_per_s
    if not rows or not peaks or not bandwidth:
        return Markup()
    rows = sorted(rows, key=lambda row: -row.ns)
    drawn = rows[:MOST_POINTS]
    left = (
        f" The {MOST_POINTS} longest of {len(rows)} are drawn." if len(rows) > MOST_POINTS else ""
    )
    note = (
        "A point per layer: circles are bound by compute, squares by memory, triangles by "
        f"overhead. Lines are what this host reached in a probe.{left}"
    )
    roofs = ", ".join(f"{kind} {amount(peak, 'MAC/s')}" for kind, peak in peaks.items())
    summary = f"{len(rows)} layers under roofs of {roofs} and {amount(bandwidth, 'B/s')}"

    def draw(width: int) -> tuple[float, Markup]:
        return _drawn(drawn, peaks, bandwidth, width)

    return figure(name, f"{layers.subject}: roofline", summary, draw, note)


def _drawn(
    rows: Sequence[LayerRow], peaks: Mapping[str, float], bandwidth: float, width: int
) -> tuple[float, Markup]:
    box = Box(66, 26, width - 20, 320)
    ridges = [peak / bandwidth for peak in peaks.values()]
    across = [_intensity(row) for row in rows] + ridges
    up = [_speed(row) for row in rows] + [peak / 1e9 for peak in peaks.values()]
    x = Scale(*log_padded(min(across), max(across) * 2), box.left, box.right, log=True)
    y = Scale(*log_padded(min(up), max(up)), box.bottom, box.top, log=True)
    parts: list[Child] = [
        y_axis(y, box, "G multiply-adds per second", axis_label),
        x_axis(x, box, "multiply-adds per byte (log scales)"),
    ]
    parts += [_roof(kind, peak, bandwidth, x, y) for kind, peak in peaks.items()]
    for row in rows:
        hue, shape = BOUNDS.get(row.bound, BOUNDS["overhead"])
        parts.append(
            marker(x(_intensity(row)), y(_speed(row)), shape, f"dot see-through {hue}", _told(row))
        )
    return box.bottom + 44, joined(*parts)


def _roof(kind: str, peak: float, bandwidth: float, x: Scale, y: Scale) -> Markup:
    """Return the slope of the bandwidth, from where it enters the box, and the flat top."""
    top = peak / 1e9
    begin = max(x.low, y.low * 1e9 / bandwidth)
    corners = [(begin, begin * bandwidth / 1e9), (peak / bandwidth, top), (x.high, top)]
    drawn = [(x(a), y(b)) for a, b in corners]
    text = words(x.end, y(top) - 5, f"{kind}, {amount(peak, 'MAC/s')}", "tick", "end")
    return joined(element("path", d=path(drawn), class_="roof"), text)


def _intensity(row: LayerRow) -> float:
    assert row.macs
    assert row.bytes
    return row.macs / row.bytes


def _speed(row: LayerRow) -> float:
    """Return G multiply-adds per second: the same number as multiply-adds per nanosecond."""
    assert row.macs
    return max(row.macs / row.ns, math.ulp(1.0))


def _told(row: LayerRow) -> str:
    bound = f", {row.bound}-bound" if row.bound else ""
    return f"{', '.join(row.nodes) or row.op}: {time_text(row.ns)}{bound}"
