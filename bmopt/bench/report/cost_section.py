"""What a subject costs besides latency: start-up, memory, throughput, energy."""

from __future__ import annotations

from collections.abc import Sequence

from bmopt.bench.costs import COSTS, Cost, Grid, Spread, joules_text, spread, why_no_energy
from bmopt.bench.quantities import NONE, digits
from bmopt.bench.report.markup import Child, Markup, bar, element, joined, sparse_table, table
from bmopt.bench.report.run import Run
from bmopt.core.bench_document import Energy, ProcessCost
from bmopt.core.measurement import Fact


def cost_section(run: Run) -> Markup:
    """Return tables of what was measured in processes of their own."""
    document = run.document
    return run.section(
        "costs",
        "Start-up, memory, throughput and energy",
        _processes(document.processes),
        _throughput(run),
        table(
            ("", "per inference", "meter"),
            [_energy(one) for one in document.energy],
            numbers=(1,),
            caption="Energy",
        ),
    )


def _processes(processes: Sequence[ProcessCost]) -> Markup:
    """Return a row per subject: the median over its processes, the range below it."""
    rows: list[tuple[Child, ...]] = []
    facts: list[tuple[str, ...]] = []
    for subject in dict.fromkeys(one.subject for one in processes):
        own = [one for one in processes if one.subject == subject]
        cells = [_spread(cost, spread(own, subject, cost)) for cost in COSTS]
        rows.append((subject, str(len(own)), *cells))
        facts += [(subject, *fact) for fact in _facts(own)]
    headers = ("", "processes", *(cost.title for cost in COSTS))
    caption = "In processes of their own: the median, and below it the range"
    costs = sparse_table(headers, rows, numbers=range(1, 2 + len(COSTS)), caption=caption)
    return joined(costs, _folded_facts(facts))


def _spread(cost: Cost, found: Spread | None) -> Child:
    if found is None:
        return NONE
    median, low, high = (cost.text(value) for value in (found.median, found.low, found.high))
    if low == high:
        return median
    return joined(median, element("span", f"{low} to {high}", class_="beneath"))


def _folded_facts(rows: Sequence[tuple[str, ...]]) -> Markup:
    if not rows:
        return Markup()
    title = "Other facts of these processes"
    facts = table(("", "fact", "value"), rows, caption=title)
    return element("details", element("summary", title), facts)


def _facts(processes: Sequence[ProcessCost]) -> list[tuple[str, str]]:
    """Return what else is known of a subject's processes: what is alike in all of them once."""
    found: dict[str, list[Fact]] = {}
    for one in processes:
        for key, value in one.facts.items():
            found.setdefault(key, []).append(value)
    return [(key, _together(values)) for key, values in found.items()]


def _together(values: Sequence[Fact]) -> str:
    numbers = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
    if len(set(values)) > 1 and len(numbers) == len(values):
        return f"{_fact(min(numbers))} to {_fact(max(numbers))}"
    return ", ".join(dict.fromkeys(map(_fact, values)))


def _fact(value: Fact) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "not told"
    return digits(value) if isinstance(value, float) else str(value)


def _throughput(run: Run) -> Markup:
    """Return a column per batch size, with bars that show where it stops to grow."""
    found = run.document.throughput
    grid = Grid.of(found)
    most = max((one.per_second for one in found), default=0.0) or 1.0
    rows = [
        (subject, str(threads), *(_speed(run, subject, speeds.get(b), most) for b in grid.batches))
        for (subject, threads), speeds in grid.rows.items()
    ]
    return table(
        ("", "threads", *(f"batch {batch}" for batch in grid.batches)),
        rows,
        numbers=range(1, 2 + len(grid.batches)),
        caption="Throughput in samples per second",
        class_="grid-table",
    )


def _speed(run: Run, subject: str, per_second: float | None, most: float) -> Child:
    if per_second is None:
        return NONE
    return joined(digits(per_second), bar(per_second / most, run.hue(subject)))


def _energy(one: Energy) -> tuple[str, ...]:
    if one.joules is None:
        return (one.subject, "not available", why_no_energy(one))
    return (one.subject, joules_text(one.joules), " ".join(filter(None, (one.source, one.note))))
