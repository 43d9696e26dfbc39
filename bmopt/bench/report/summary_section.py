"""The verdicts, first thing on the page."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bmopt.bench.quantities import NONE, amount, ratio_text, time_text
from bmopt.bench.report.badge import badge, verdict_list
from bmopt.bench.report.interval_chart import IntervalRow, interval_chart
from bmopt.bench.report.markup import Child, Markup, element, joined, sparse_table
from bmopt.bench.report.run import Run
from bmopt.bench.statements import Statement
from bmopt.bench.statistics import samples_ns

_ABSENT: Mapping[str, str] = {
    "noise_floor": "noise floor",
    "scenarios": "load scenarios",
    "processes": "cold start and memory",
    "throughput": "throughput",
    "energy": "energy",
    "accuracy": "accuracy",
    "layers": "time per layer",
    "layer_sqnr": "error per layer",
}


def summary_section(run: Run) -> Markup:
    """Return verdicts in sentences, one table of all subjects, and the ratios drawn."""
    return run.section(
        "summary",
        "Summary",
        *(verdict_list(name, run.statements(name)) for name in _failed_first(run)),
        _table(run),
        interval_chart(f"{run.prefix}-ratios", _intervals(run)),
        _absent(run),
    )


def _failed_first(run: Run) -> list[str]:
    return sorted(run.names, key=lambda name: not run.subject(name).error)


def _table(run: Run) -> Markup:
    return sparse_table(
        ("", "median", "ratio", "99 % interval", "metric", "change", "size"),
        [_row(run, name) for name in run.names],
        numbers=range(1, 7),
        caption="All subjects with their targets",
        class_="subjects",
    )


def _row(run: Run, name: str) -> tuple[Child, ...]:
    subject, found = run.subject(name), run.estimates.get(name)
    measured = run.measurement
    median, ratio, ends = NONE, NONE, NONE
    if measured is not None and name in measured.variants:
        median = time_text(float(np.median(samples_ns(measured, name))))
    if found is not None:
        ratio = ratio_text(found.ratio)
        ends = f"{ratio_text(found.low)} to {ratio_text(found.high)}"
    elif name == run.reference and run.estimates:
        ratio = "1"
    key = element("i", class_=f"key {run.hue(name)}", aria_hidden="true")
    failed = badge(Statement("failed", "bad", "")) if subject.error else None
    target = element("span", subject.target, class_="beneath") if subject.target else None
    label = joined(key, name, " " if failed else None, failed, target)
    size = amount(subject.size_bytes, "B")
    return (label, median, ratio, ends, *run.score(name), size)


def _intervals(run: Run) -> list[IntervalRow]:
    rows = [
        IntervalRow(name, found, run.hue(name), run.shape(name))
        for name, found in run.estimates.items()
    ]
    if run.noise is not None and rows:
        rows.append(IntervalRow("A/A, the noise floor", run.noise, "c0", "circle"))
    return rows


def _absent(run: Run) -> Markup:
    names = [text for key, text in _ABSENT.items() if not getattr(run.document, key)]
    if run.measurement is None:
        names.insert(0, "latency")
    if not names:
        return Markup()
    return element("p", f"Not measured in this run: {', '.join(names)}.", class_="quiet")
