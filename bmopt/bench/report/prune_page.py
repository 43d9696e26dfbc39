"""The page of a pruning: every model that was tried, drawn by latency, metric and size."""

from __future__ import annotations

import html
from collections.abc import Sequence

from bmopt.bench.report.markup import element, table
from bmopt.bench.report.page import head
from bmopt.bench.report.pareto_chart import Trade, pareto_chart


def prune_page(
    title: str, metric: str, trades: Sequence[Trade], rows: Sequence[Sequence[str]]
) -> str:
    """Return the HTML.

    Args:
        title: What was pruned.
        metric: What decides.
        trades: Every model that has a latency and a score.
        rows: Name, latency, drop, agreement, MACs, parameters, size and marks of each.
    """
    headers = ("model", "latency", "drop", "agreement", "MACs", "parameters", "size", "")
    body = element(
        "body",
        element(
            "main",
            element("h1", title),
            pareto_chart("pruned", metric, True, trades),
            table(headers, rows, numbers=range(1, 7), caption="What was tried"),
        ),
    )
    return f"<!doctype html>\n{element('html', head(html.escape(title)), body, lang='en')}\n"
