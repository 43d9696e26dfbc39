"""The page: one HTML file without anything from elsewhere, the same for the same documents."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path

from bmopt.bench.quantities import NONE, ratio_text
from bmopt.bench.report.accuracy_section import accuracy_section
from bmopt.bench.report.cost_section import cost_section
from bmopt.bench.report.gate_section import gate_section
from bmopt.bench.report.latency_section import drift_section, latency_section, noise_section
from bmopt.bench.report.layer_section import layer_section, sqnr_section
from bmopt.bench.report.markup import Child, Markup, element, table
from bmopt.bench.report.placement_section import placement_section
from bmopt.bench.report.pruning_section import pruning_section
from bmopt.bench.report.record_section import environment_section, record_section
from bmopt.bench.report.run import Run
from bmopt.bench.report.scenario_section import scenario_section
from bmopt.bench.report.summary_section import summary_section

__all__ = ["Run", "page"]

_FOLDER = Path(__file__).resolve().parent

_SECTIONS = (
    gate_section,
    summary_section,
    latency_section,
    drift_section,
    noise_section,
    accuracy_section,
    layer_section,
    sqnr_section,
    placement_section,
    pruning_section,
    scenario_section,
    cost_section,
    environment_section,
    record_section,
)


def page(runs: Sequence[Run]) -> str:
    """Return the HTML of one or more benchmarks, each a part of its own."""
    numbered = [dataclasses.replace(one, prefix=f"r{i}") for i, one in enumerate(runs, start=1)]
    overview = _overview(numbered) if len(numbered) > 1 else None
    title = ", ".join(one.title for one in numbered)
    body = element(
        "body",
        element("main", overview, *(_part(one) for one in numbered)),
        element("script", Markup(_file("script.js"))),
    )
    return f"<!doctype html>\n{element('html', head(title), body, lang='en')}\n"


def head(title: str) -> Markup:
    """Return the head; the policy lets the browser fetch nothing and run this one script."""
    digest = base64.b64encode(hashlib.sha256(_file("script.js").encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    return element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", f"{title}, bmopt"),
        element("style", Markup(_file("style.css"))),
    )


def _part(run: Run) -> Markup:
    document = run.document
    by = " ".join(filter(None, ("bmopt", document.bmopt)))
    sections = [section for draw in _SECTIONS if (section := draw(run))]
    return element(
        "article",
        element(
            "header",
            element("h1", run.title),
            element("p", ", ".join(filter(None, (by, document.created))), class_="quiet"),
        ),
        _warnings(document.warnings),
        _contents(sections),
        *sections,
        id=run.prefix,
    )


def _warnings(warnings: Sequence[str]) -> Markup:
    if not warnings:
        return Markup()
    items = [element("li", text) for text in warnings]
    title = element("b", "Warning" if len(items) == 1 else f"{len(items)} warnings")
    return element("aside", title, element("ul", *items), class_="warnings", role="note")


def _contents(sections: Sequence[Markup]) -> Markup:
    """Return links to the sections, read off their ids and headings."""
    links = []
    for section in sections:
        name = section.partition(' id="')[2].partition('"')[0]
        heading = section.partition("<h2>")[2].partition("</h2>")[0]
        links.append(element("a", Markup(heading), href=f"#{name}"))
    return element("nav", *links, aria_label="Sections")


def _overview(runs: Sequence[Run]) -> Markup:
    rows: list[tuple[Child, ...]] = []
    for run in runs:
        link = element("a", run.title, href=f"#{run.prefix}")
        rows += [
            (link, name, run.reference, ratio_text(found.ratio), found.verdict)
            for name, found in run.estimates.items()
        ] or [(link, NONE, run.reference or NONE, NONE, NONE)]
    note = "Every ratio was measured in turns within its own run; runs were not beside each other."
    return element(
        "section",
        element("h1", f"{len(runs)} benchmarks"),
        table(
            ("run", "subject", "beside", "latency ratio", "verdict"),
            rows,
            numbers=(3,),
            caption="All runs",
        ),
        element("p", note, class_="quiet"),
        id="runs",
    )


def _file(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
