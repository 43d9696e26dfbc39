"""The verdicts, first thing on the page."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from bmopt.bench.report.interval_chart import IntervalRow, interval_chart
from bmopt.bench.report.markup import Child, Markup, element, joined, table
from bmopt.bench.report.quantities import NONE, amount, digits, percent, ratio_text, time_text
from bmopt.bench.report.run import Run
from bmopt.bench.report.verdicts import (
    Statement,
    accuracy_statement,
    change_text,
    latency_statement,
    size_statement,
)
from bmopt.bench.statistics import samples_ns
from bmopt.core.bench_document import Accuracy

_MARKS = {"good": "▲", "bad": "▼", "same": "=", "open": "?"}

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
        *(_verdicts(run, name) for name in run.names if name != run.reference),
        _table(run),
        interval_chart(f"{run.prefix}-ratios", _intervals(run)),
        _absent(run),
    )


def _verdicts(run: Run, name: str) -> Markup:
    """Return what is to be said of one candidate; its errors come first."""
    subject, statements = run.subject(name), []
    if name in run.estimates and run.measurement is not None:
        confidence = run.measurement.settings.confidence
        found = run.estimates[name]
        statements.append(latency_statement(name, run.reference, found, confidence))
    decides = decisive(run, name)
    if decides is not None:
        statements.append(accuracy_statement(decides))
    size = size_statement(subject, run.subject(run.reference))
    statements += [] if size is None else [size]
    if subject.error:
        statements.insert(0, Statement("failed", "bad", f"{subject.error}"))
    items = [element("li", badge(one), " ", element("span", one.sentence)) for one in statements]
    if not items:
        return Markup()
    return element("div", element("h3", name), element("ul", *items), class_="verdicts")


def decisive(run: Run, name: str) -> Accuracy | None:
    """Return the metric that decides on a subject: the first one; None where there is none."""
    return next((one for one in run.document.accuracy if one.subject == name), None)


def badge(statement: Statement) -> Markup:
    """Return the verdict's word; its mark says the same as its colour."""
    mark = element("span", _MARKS[statement.tone], aria_hidden="true")
    return element("b", mark, f" {statement.word}", class_=f"badge {statement.tone}")


def _table(run: Run) -> Markup:
    headers = ("", "target", "median", "ratio", "99 % interval", "metric", "change", "size")
    return table(
        headers,
        [_row(run, name) for name in run.names],
        numbers=(2, 3, 4, 5, 6, 7),
        caption="All subjects",
        class_="subjects",
    )


def _row(run: Run, name: str) -> tuple[Child, ...]:
    subject, found = run.subject(name), run.estimates.get(name)
    measured = run.measurement
    median = NONE
    if measured is not None and name in measured.variants:
        median = time_text(float(np.median(samples_ns(measured, name))))
    ratio, ends = NONE, NONE
    if found is not None:
        ratio, ends = (
            ratio_text(found.ratio),
            f"{ratio_text(found.low)} to {ratio_text(found.high)}",
        )
    elif name == run.reference and run.estimates:
        ratio = "1"
    label = joined(element("i", class_=f"key {run.hue(name)}", aria_hidden="true"), name)
    size = amount(subject.size_bytes, "B")
    return (label, subject.target or NONE, median, ratio, ends, *_score(run, name), size)


def _score(run: Run, name: str) -> tuple[Child, Child]:
    found = decisive(run, name)
    if found is None:
        # The reference's own value stands beside every candidate's.
        beside = next((a for a in run.document.accuracy if a.reference is not None), None)
        if name != run.names[0] or beside is None or beside.reference is None:
            return NONE, NONE
        return _value(beside, beside.reference), NONE
    if found.difference is None:
        return _value(found, found.candidate), NONE
    low, high = (change_text(found, end) for end in (found.difference.low, found.difference.high))
    unit = " points" if found.fraction else ""
    return _value(found, found.candidate), f"{low} to {high}{unit}"


def _value(found: Accuracy, value: float) -> str:
    return f"{found.metric} {percent(value) if found.fraction else digits(value)}"


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
