"""The page of a pruning: every model that was tried, drawn by latency, metric and size."""

from __future__ import annotations

import html

from bmopt.bench.report.markup import element
from bmopt.bench.report.page import head
from bmopt.bench.report.pruning_section import drawn_trials
from bmopt.core.prune_trials import PruneTrials


def prune_page(title: str, trials: PruneTrials) -> str:
    """Return the HTML; ``title`` says what was pruned."""
    main = element("main", element("h1", title), drawn_trials("pruned", trials))
    body = element("body", main)
    return f"<!doctype html>\n{element('html', head(html.escape(title)), body, lang='en')}\n"
