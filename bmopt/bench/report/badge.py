"""A verdict's word in its colour, with a mark that says the same."""

from __future__ import annotations

from collections.abc import Iterable

from bmopt.bench.report.markup import Markup, element
from bmopt.bench.statements import Statement

_MARKS = {"good": "▲", "bad": "▼", "same": "=", "open": "?"}


def badge(statement: Statement) -> Markup:
    """Return the verdict's word."""
    mark = element("span", _MARKS[statement.tone], aria_hidden="true")
    return element("b", mark, f" {statement.word}", class_=f"badge {statement.tone}")


def verdict_list(title: str, statements: Iterable[Statement]) -> Markup:
    """Return statements below a title, badge by badge; nothing without statements."""
    items = [element("li", badge(one), " ", element("span", one.sentence)) for one in statements]
    if not items:
        return Markup()
    return element("div", element("h3", title), element("ul", *items), class_="verdicts")
