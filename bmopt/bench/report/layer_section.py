"""Where the time goes and where the error comes from, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

from bmopt.bench.quantities import NONE, percent, time_text
from bmopt.bench.report.figure import shortened
from bmopt.bench.report.markup import Child, Markup, bar, element, joined, table
from bmopt.bench.report.roofline_chart import BOUNDS, roofline_chart
from bmopt.bench.report.run import Run
from bmopt.core.bench_document import LayerRow, LayerTimes, TensorSqnr

SHOWN = 30
MOST_ROWS = 500
"""Rows beyond ``SHOWN`` are folded away, beyond this many they are only counted."""

_HEADERS = (
    "layer of the original model",
    "op",
    "type",
    "time",
    "share",
    "",
    "bound by",
    "to gain",
)
_NUMBERS = (3, 4, 7)
_BEST_DB = 60.0


def layer_section(run: Run) -> Markup:
    """Return bars and the roofline of every subject that was profiled."""
    parts = [
        part
        for index, layers in enumerate(run.document.layers)
        for part in _subject(run, index, layers)
    ]
    return run.section("layers", "Where the time goes", *parts)


def _subject(run: Run, index: int, layers: LayerTimes) -> list[Markup]:
    rows = sorted(layers.rows, key=lambda row: -row.ns)
    whole = sum(row.ns for row in rows) + max(layers.unattributed_ns, 0.0)
    longest = max([row.ns for row in rows] + [layers.unattributed_ns, 1.0])
    schedules = ("schedule",) if any(row.schedule for row in rows) else ()
    cells = [(*_row(row, whole, longest), *(row.schedule for _ in schedules)) for row in rows]
    rest = layers.unattributed_ns
    share = percent(rest / whole if whole else None, 1)
    name = element("em", "not attributed")
    last: tuple[Child, ...] = (
        name, "", "", time_text(rest), share, bar(rest / longest, "c0"), "", NONE,
        *("" for _ in schedules),
    )  # fmt: skip
    caption = f"{layers.subject}: {time_text(whole)} per inference while profiled"
    return [
        folded((*_HEADERS, *schedules), cells, _NUMBERS, caption, (last,)),
        roofline_chart(f"{run.prefix}-roof-{index}", layers),
    ]


def _row(row: LayerRow, whole: float, longest: float) -> tuple[Child, ...]:
    hue, _ = BOUNDS.get(row.bound, ("c0", ""))
    nodes = ", ".join(row.nodes) or NONE
    return (
        element("span", shortened(nodes, 60), title=nodes),
        _breakable(row.op),
        row.dtype,
        time_text(row.ns),
        percent(row.share or (row.ns / whole if whole else None), 1),
        bar(row.ns / longest, hue),
        row.bound or NONE,
        time_text(row.gain_ns),
    )


def _breakable(op: str) -> Markup:
    """Return a chain of ops that may go on in the next line behind a plus."""
    first, *rest = op.split("+")
    return joined(first, *(joined("+", element("wbr"), part) for part in rest))


def sqnr_section(run: Run) -> Markup:
    """Return the signal-to-noise ratio of tensors, the worst first."""
    found = sorted(run.document.layer_sqnr, key=lambda one: one.sqnr_db)
    caption = "Signal to noise beside the reference, the worst first; longer is better"
    rows = [_tensor(run, one) for one in found]
    return run.section(
        "sqnr",
        "Where the error comes from",
        folded(("tensor", "", "SQNR", ""), rows, (2,), caption),
    )


def _tensor(run: Run, one: TensorSqnr) -> tuple[Child, ...]:
    name = element("span", shortened(one.tensor, 60), title=one.tensor)
    text = "equal" if one.sqnr_db == float("inf") else f"{one.sqnr_db:.1f} dB"
    return name, one.subject, text, bar(one.sqnr_db / _BEST_DB, run.hue(one.subject))


def folded(
    headers: Sequence[str],
    rows: Sequence[Sequence[Child]],
    numbers: Sequence[int],
    caption: str,
    last: Sequence[Sequence[Child]] = (),
) -> Markup:
    """Return a table of the first rows, and the others folded away below it."""
    shown = table(headers, [*rows[:SHOWN], *last], numbers=numbers, caption=caption, class_="bars")
    more = rows[SHOWN:MOST_ROWS]
    if not more:
        return shown
    left = len(rows) - MOST_ROWS
    text = f"{len(more)} more rows" + (f"; another {left} are in the JSON" if left > 0 else "")
    rest = table(headers, more, numbers=numbers, caption=text, class_="bars")
    return Markup(shown + element("details", element("summary", text), rest))
