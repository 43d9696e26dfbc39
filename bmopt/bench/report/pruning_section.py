"""What a pruning tried: every model by latency, metric and size."""

from __future__ import annotations

from bmopt.bench.quantities import amount
from bmopt.bench.report.markup import Markup, joined, table
from bmopt.bench.report.pareto_chart import Trade, pareto_chart
from bmopt.bench.report.run import Run
from bmopt.core.prune_trials import Point, PruneTrials
from bmopt.core.ranges import Interval

_HEADERS = ("model", "latency", "drop", "agreement", "MACs", "parameters", "size", "")


def pruning_section(run: Run) -> Markup:
    """Return a chart and a table of what was tried on the way to an artifact."""
    parts = [
        drawn_trials(f"{run.prefix}-pruned-{index}", trials)
        for index, trials in enumerate(run.document.pruning)
    ]
    return run.section("pruning", "What pruning tried", *parts)


def drawn_trials(name: str, trials: PruneTrials) -> Markup:
    """Return the chart of models that have a latency and a score, and the table of all."""
    found = [trade for one in trials.points if (trade := _trade(one, trials)) is not None]
    rows = [_cells(one, trials) for one in trials.points]
    return joined(
        pareto_chart(name, trials.metric or "agreement", True, found),
        table(_HEADERS, rows, numbers=range(1, 7), caption=f"What was tried for {trials.target}"),
    )


def _trade(point: Point, trials: PruneTrials) -> Trade | None:
    score = point.metric if point.metric is not None else point.agreement
    if score is None or point.latency is None:
        return None
    low, high = point.interval or (point.latency, point.latency)
    hue = "c2" if point.name == trials.chosen else "c1"
    return Trade(
        point.name,
        point.latency,
        Interval(low, high),
        score,
        Interval(score, score),
        point.size_bytes,
        hue,
        "circle",
    )


def _cells(point: Point, trials: PruneTrials) -> tuple[str, ...]:
    values = (point.latency, point.drop, point.agreement, point.macs, point.parameters)
    numbers = ("" if value is None else f"{value:.3f}" for value in values)
    marks = (
        "Pareto" if point.name in trials.front else "",
        "chosen" if point.name == trials.chosen else "",
    )
    size = amount(point.size_bytes, "B")
    return (point.name, *numbers, size, ", ".join(mark for mark in marks if mark))
