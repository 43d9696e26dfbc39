"""How latencies are distributed: a density per variant, above one another on the same axis."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from bmopt.bench.quantities import time_text
from bmopt.bench.report.axes import Scale, log_padded, padded
from bmopt.bench.report.figure import (
    NARROW,
    Box,
    figure,
    line,
    path,
    shortened,
    words,
    x_axis,
)
from bmopt.bench.report.markup import Child, Markup, element, joined
from bmopt.bench.statistics import Floats, percentile

Samples = npt.NDArray[np.int64]

BINS = 160
_DRAWN = 0.995
_LOG_FROM = 2.5
_LEAST_SMOOTH = 0.9
_ROW = 74
_LABELS = 190
_UNITS = ((1e9, "s"), (1e6, "ms"))
_SMALLEST_UNIT = (1e3, "µs")


@dataclasses.dataclass(frozen=True)
class Latencies:
    """A variant's latencies in nanoseconds, ``[samples]``."""

    label: str
    samples: Samples
    hue: str


def distribution_chart(name: str, title: str, rows: Sequence[Latencies]) -> Markup:
    """Return the chart; nothing without samples."""
    drawn = [row for row in rows if row.samples.size]
    if not drawn:
        return Markup()
    medians = "; ".join(f"{row.label}: {time_text(np.median(row.samples))}" for row in drawn)
    low = float(min(np.min(row.samples) for row in drawn))
    high = float(max(np.quantile(row.samples, _DRAWN) for row in drawn))

    def draw(width: int) -> tuple[float, Markup]:
        return _drawn(drawn, (max(low, 1.0), max(high, low, 1.0)), width)

    note = (
        "Height: how many inferences took that long. Ticks: p50 (long), p90 and p99. "
        "The slowest 0.5 % lie further right."
    )
    return figure(name, title, f"Medians: {medians}", draw, note)


def _drawn(
    rows: Sequence[Latencies], ends: tuple[float, float], width: int
) -> tuple[float, Markup]:
    narrow = width == NARROW
    box = Box(14 if narrow else _LABELS, 8, width - 20, 8 + _ROW * len(rows))
    log = ends[1] / ends[0] > _LOG_FROM
    low, high = (log_padded if log else padded)(*ends, share=0.04)
    per_unit, unit = next((one for one in _UNITS if high >= one[0]), _SMALLEST_UNIT)
    scale = Scale(max(low, 0.5) / per_unit, high / per_unit, box.left, box.right, log)
    title = f"latency in {unit}{' (log scale)' if log else ''}"
    parts: list[Child] = [x_axis(scale, box, title)]
    for index, row in enumerate(rows):
        base = box.top + _ROW * (index + 1) - 8
        parts.append(_row(row, scale, box, base, per_unit))
    return box.bottom + 44, joined(*parts)


def _row(row: Latencies, scale: Scale, box: Box, base: float, per_unit: float) -> Markup:
    narrow = box.left < _LABELS
    places, heights = density(row.samples / per_unit, scale)
    tall = _ROW - (32 if narrow else 18)
    corners = [(float(x), base - tall * float(h)) for x, h in zip(places, heights, strict=True)]
    outline = [(corners[0][0], base), *corners, (corners[-1][0], base)]
    label = words(0, base - tall - 6, shortened(row.label, 44), "label")
    if not narrow:
        label = words(box.left - 12, base - 4, shortened(row.label, 26), "label", "end")
    return joined(
        element("path", d=path(outline, closed=True), class_=f"area {row.hue}"),
        line(box.left, base, box.right, base, "base"),
        label,
        *_ticks(row, scale, base, tall, per_unit),
    )


def _ticks(
    row: Latencies, scale: Scale, base: float, tall: float, per_unit: float
) -> list[Markup]:
    ticks = []
    for quantile, length in ((0.5, tall), (0.9, 12.0), (0.99, 12.0)):
        value = percentile(row.samples, quantile)
        if value is not None:
            at = scale(value / per_unit)
            ticks.append(line(at, base + 4, at, base - length, f"mark {row.hue}"))
    return ticks


def density(samples: Floats, scale: Scale) -> tuple[Floats, Floats]:
    """Return places and heights of a smoothed histogram; the highest is 1.

    Only this many points are drawn, however many samples there are. The bins are equally wide on
    the page, so on a logarithmic scale they are in ratio.
    """
    transform = np.log if scale.log else np.asarray
    edges = np.linspace(float(transform(scale.low)), float(transform(scale.high)), BINS + 1)
    values = transform(samples)
    counts, _ = np.histogram(values, bins=edges)
    kernel = _kernel(values, float(edges[1] - edges[0]))
    smooth = np.convolve(counts.astype(np.float64), kernel)
    smooth = smooth[kernel.size // 2 : kernel.size // 2 + BINS]
    places = np.linspace(scale.start, scale.end, 2 * BINS + 1)[1::2]
    used = np.flatnonzero(smooth > 1e-3 * smooth.max())
    if not used.size:
        return places[-1:], np.ones(1)
    kept = slice(max(int(used[0]) - 1, 0), int(used[-1]) + 2)
    return places[kept], smooth[kept] / smooth.max()


def _kernel(values: Floats, bin_width: float) -> Floats:
    """Return a normal kernel as wide as Silverman's rule says, in bins."""
    low, high = np.quantile(values, (0.25, 0.75))
    spread = min(float(np.std(values)), float(high - low) / 1.34)
    width = max(_LEAST_SMOOTH, 0.9 * spread * values.size**-0.2 / bin_width)
    reach = min(math.ceil(3.0 * width), BINS // 2)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    return np.asarray(kernel / kernel.sum(), dtype=np.float64)
