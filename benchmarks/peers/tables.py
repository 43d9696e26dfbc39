"""The results of one model as a Markdown table, and how figures are written."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from peers.results import ModelResult, Ratio, Row

LACKING = "-"

_MARK = " \\*"
_HEAD = (
    "tool", "runs on", "{metric}", "difference", "agrees", "latency / FP32", "bmopt / it",
    "size", "seconds", "peak memory",
)  # fmt: skip


def model_part(model: ModelResult) -> str:
    """Return one model's table with the line above it."""
    if model.note:
        return f"**{model.name}**: {model.note}"
    heads = [head.format(metric=model.metric or "metric") for head in _HEAD]
    lines = [_caption(model), "", *table(heads, [_cells(row, model) for row in _rows(model)])]
    lines += [line for warning in model.warnings for line in ("", f"Warning: {warning}")]
    return "\n".join(lines)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table."""
    rule = f"|{'---|' * len(heads)}"
    return [_line(heads), rule, *map(_line, rows)]


def ratio_text(found: Ratio | None) -> str:
    """Return a ratio with its interval and verdict."""
    if found is None:
        return LACKING
    if math.isinf(found.high):
        return f"{found.ratio:.3f}, too few turns for an interval"
    return f"{found.ratio:.3f} [{found.low:.3f}, {found.high:.3f}] {found.verdict}"


def share_text(value: float | None) -> str:
    """Return a fraction in per cent."""
    return LACKING if value is None else f"{100 * value:.2f} %"


def time_text(ns: float | None) -> str:
    """Return nanoseconds in milliseconds."""
    return LACKING if ns is None else f"{ns / 1e6:.3f} ms"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def _rows(model: ModelResult) -> Iterator[Row]:
    if model.fp32 is not None:
        yield model.fp32
    yield from model.rows


def _caption(model: ModelResult) -> str:
    on = f"{model.samples:,} validation samples" if model.samples else "no labels"
    return f"**{model.name}**: {model.calibrated:,} calibration samples, {on}"


def _cells(row: Row, model: ModelResult) -> list[str]:
    mark = _MARK if row.is_for_tensorrt else ""
    detail = f" ({row.detail})" if row.detail else ""
    note = f": {row.note}" if row.note else ""
    return [
        f"{row.title}{mark}{detail}{note}",
        row.engine or LACKING,
        *_accuracy(row, model),
        _latency(row),
        ratio_text(row.ours_to_it),
        LACKING if row.size_bytes is None else _size(row.size_bytes),
        LACKING if row.seconds is None else f"{row.seconds:.1f} s",
        LACKING if row.peak_bytes is None else f"{row.peak_bytes / 1e6:,.0f} MB",
    ]


def _accuracy(row: Row, model: ModelResult) -> Iterator[str]:
    scale, unit = (100.0, " %") if model.fraction else (1.0, "")
    ends = row.difference
    yield LACKING if row.value is None else f"{scale * row.value:.2f}{unit}"
    yield LACKING if ends is None else f"[{scale * ends.low:+.2f}, {scale * ends.high:+.2f}]"
    yield share_text(row.agreement)


def _latency(row: Row) -> str:
    is_reference = row.to_fp32 is None and row.median_ns is not None
    return f"1 ({time_text(row.median_ns)})" if is_reference else ratio_text(row.to_fp32)


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e3:,.0f} KB" if size_bytes < 1e6 else f"{size_bytes / 1e6:.1f} MB"
