"""Accuracy side by side, and what it costs: the Pareto chart."""

from __future__ import annotations

from bmopt.bench.quantities import NONE
from bmopt.bench.report.badge import badge
from bmopt.bench.report.markup import Markup, element, sparse_table
from bmopt.bench.report.pareto_chart import Trade, pareto_chart
from bmopt.bench.report.run import Run
from bmopt.bench.statements import accuracy_statement, difference_text, score_text
from bmopt.core.bench_document import Accuracy
from bmopt.core.ranges import Interval

_NUMBERS = (2, 3, 4, 5, 6)


def accuracy_section(run: Run) -> Markup:
    """Return every metric of every subject beside the reference's."""
    headers = (
        "",
        "metric",
        "reference",
        "value",
        "99 % interval",
        "p",
        "samples",
        "",
    )
    has_test = any(one.p_value is not None for one in run.document.accuracy)
    return run.section(
        "accuracy",
        "Accuracy",
        sparse_table(
            headers,
            [_row(one) for one in run.document.accuracy],
            numbers=_NUMBERS,
            caption="On the same samples" + ("; p is McNemar's" if has_test else ""),
        ),
        _pareto(run),
    )


def _row(one: Accuracy) -> tuple[str | Markup, ...]:
    word: str | Markup = "" if one.difference is None else badge(accuracy_statement(one))
    return (
        one.subject,
        one.metric,
        score_text(one, one.reference),
        score_text(one, one.candidate),
        difference_text(one),
        NONE if one.p_value is None else f"{one.p_value:.3f}",
        str(one.samples),
        word,
    )


def _pareto(run: Run) -> Markup:
    found = {name: run.decisive(name) for name in run.estimates}
    scored = [one for one in found.values() if one is not None and one.reference is not None]
    if not scored or not scored[0].higher_is_better:
        return Markup()
    first = scored[0]
    assert first.reference is not None
    trades = [_trade(run, run.reference, first.reference, None)] if _is_same(run) else []
    trades += [
        _trade(run, one.subject, one.candidate, one)
        for one in scored
        if one.metric == first.metric
    ]
    chart = pareto_chart(f"{run.prefix}-pareto", first.metric, first.fraction, trades)
    return chart or element("p", "")


def _is_same(run: Run) -> bool:
    """Whether the model that latency is compared with is the one that accuracy is."""
    return bool(run.document.subjects) and run.document.subjects[0].name == run.reference


def _trade(run: Run, name: str, score: float, found: Accuracy | None) -> Trade:
    estimate = run.estimates.get(name)
    ratio = 1.0 if estimate is None else estimate.ratio
    times = Interval(1.0, 1.0)
    if estimate is not None:
        bounded = estimate.low > 0 and estimate.high < float("inf")
        times = Interval(estimate.low, estimate.high) if bounded else Interval(ratio, ratio)
    scores = Interval(score, score)
    if found is not None and found.difference is not None and found.reference is not None:
        base = found.reference
        scores = Interval(base + found.difference.low, base + found.difference.high)
    size = run.subject(name).size_bytes
    return Trade(name, ratio, times, score, scores, size, run.hue(name), run.shape(name))
