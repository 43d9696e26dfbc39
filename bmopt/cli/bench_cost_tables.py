"""What subjects cost besides latency and where the time goes, on the terminal."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable

from bmopt.bench.costs import COSTS, Cost, Grid, joules_text, spread, why_no_energy
from bmopt.bench.quantities import NONE, digits, percent, time_text
from bmopt.cli.bench_parts import Line, Part, Table, shortened
from bmopt.core.bench_document import BenchDocument, Energy, LayerRow, LayerTimes, Placement

_SHOWN_ROWS = 10
_SHOWN_REASONS = 5
_SHOWN_BATCHES = 7
_LONGEST_NAME = 34


def process_parts(document: BenchDocument) -> Iterable[Part]:
    """Return medians over the processes with the range, quantity by quantity."""
    subjects = list(dict.fromkeys(one.subject for one in document.processes))
    rows = [row for cost in COSTS for row in _cost_rows(document, cost, subjects)]
    if rows:
        headers = ("", "", "median", "least", "most", "processes")
        yield Table(headers, rows, right=range(2, 6))


def _cost_rows(
    document: BenchDocument, cost: Cost, subjects: Iterable[str]
) -> Iterable[tuple[str, ...]]:
    title = cost.title
    for subject in subjects:
        found = spread(document.processes, subject, cost)
        if found is None:
            continue
        ends = [cost.text(found.low), cost.text(found.high)] if found.count > 1 else [NONE, NONE]
        yield (title, subject, cost.text(found.median), *ends, str(found.count))
        title = ""


def throughput_parts(document: BenchDocument) -> Iterable[Part]:
    """Return a column per batch size; many of them in several tables."""
    grid = Grid.of(document.throughput)
    for begin in range(0, len(grid.batches), _SHOWN_BATCHES):
        batches = grid.batches[begin : begin + _SHOWN_BATCHES]
        rows = [
            (subject, str(threads), *(_speed(speeds.get(batch)) for batch in batches))
            for (subject, threads), speeds in grid.rows.items()
        ]
        headers = ("", "threads", *(f"batch {batch}" for batch in batches))
        yield Table(headers, rows, right=range(1, 2 + len(batches)))


def _speed(per_second: float | None) -> str:
    return NONE if per_second is None else digits(per_second)


def energy_parts(document: BenchDocument) -> Iterable[Part]:
    """Return the energy of an inference, or why it is not known: what is alike once."""
    subjects: dict[str, list[str]] = defaultdict(list)
    for one in document.energy:
        subjects[_energy(one)].append(one.subject)
    yield from (Line(f"{', '.join(names)}: {text}") for text, names in subjects.items())


def _energy(one: Energy) -> str:
    if one.joules is None:
        return f"not available: {why_no_energy(one)}"
    meter = ", ".join(filter(None, (one.source, one.note)))
    return f"{joules_text(one.joules)} per inference ({meter})"


def layer_parts(document: BenchDocument) -> Iterable[Part]:
    """Return the longest layers of every subject, and the time that none of them explains."""
    for index, layers in enumerate(document.layers):
        if index:
            yield Line("")
        yield from _layers(layers)


def _layers(layers: LayerTimes) -> Iterable[Part]:
    rows = sorted(layers.rows, key=lambda row: -row.ns)
    rest = layers.unattributed_ns
    whole = sum(row.ns for row in rows) + max(rest, 0.0)
    few = f"; the longest {_SHOWN_ROWS} of {len(rows)}" if len(rows) > _SHOWN_ROWS else ""
    yield Line(f"{layers.subject}: {time_text(whole)} per inference while profiled{few}")
    share = percent(rest / whole if whole else None, 1)
    last = ("not attributed", "", "", time_text(rest), share, "", "", "")
    headers = ("layer of the original model", "op", "type", "time", "share", "bound by", "to gain")
    yield Table(
        (*headers, "schedule"),
        [*(_layer(row, whole) for row in rows[:_SHOWN_ROWS]), last],
        right=(3, 4, 6),
    )


def _layer(row: LayerRow, whole: float) -> tuple[str, ...]:
    return (
        shortened(", ".join(row.nodes) or NONE, _LONGEST_NAME),
        row.op,
        row.dtype,
        time_text(row.ns),
        percent(row.share or (row.ns / whole if whole else None), 1),
        row.bound or NONE,
        time_text(row.gain_ns),
        row.schedule,
    )


def sqnr_parts(document: BenchDocument) -> Iterable[Part]:
    """Return the tensors that differ most from the reference's."""
    found = sorted(document.layer_sqnr, key=lambda one: one.sqnr_db)
    if not found:
        return
    rows = [
        (shortened(one.tensor, _LONGEST_NAME), one.subject, _decibels(one.sqnr_db))
        for one in found[:_SHOWN_ROWS]
    ]
    yield Table(("tensor", "subject", "SQNR"), rows, right=(2,))
    if len(found) > len(rows):
        yield Line(f"the lowest {len(rows)} of {len(found)} tensors")


def _decibels(value: float) -> str:
    return "equal" if value == math.inf else f"{value:.1f} dB"


def integer_parts(document: BenchDocument) -> Iterable[Part]:
    """Return how much of every subject runs in integers, and why the rest does not."""
    for placement in document.placement:
        yield from _placement(placement)


def _placement(placement: Placement) -> Iterable[Part]:
    nodes = placement.nodes
    integer = sum(node.integer for node in nodes)
    facts = [
        f"{integer} of {len(nodes)} nodes with an integer kernel run in integers",
        placement.scheme,
        f"ranges by {placement.method}" if placement.method else "",
        f"placement {placement.rules}" if placement.rules else "",
    ]
    yield Line(f"{placement.subject}: {'; '.join(filter(None, facts))}")
    counts = Counter(node.reason or "not told" for node in nodes if not node.integer)
    rows = [(str(count), reason) for reason, count in counts.most_common(_SHOWN_REASONS)]
    if rows:
        yield Table(("nodes", "in float because"), rows, right=(0,))
    if len(counts) > len(rows):
        yield Line(f"and {len(counts) - len(rows)} more reasons")
