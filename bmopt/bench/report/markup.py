"""HTML and SVG by elements: text is escaped unless it is markup already."""

from __future__ import annotations

import html
from collections.abc import Sequence

from bmopt.bench.quantities import NONE

Child = str | float | None
"""Text, markup, a number, or nothing."""

_NOTHING = ("", NONE, None)
_VOID = ("meta", "br", "input", "wbr")


class Markup(str):
    """Text that is HTML already, made by ``element``."""

    __slots__ = ()


def element(name: str, /, *children: Child, **attributes: str | float | None) -> Markup:
    """Return an element; ``class_`` is the attribute ``class``, ``a_b`` is ``a-b``.

    Attributes that are None are left out; empty ones stay. Numbers lose needless digits.
    """
    pairs = (
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(coordinate(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    begin = f"<{name}{''.join(pairs)}>"
    if name in _VOID:
        return Markup(begin)
    return Markup(f"{begin}{joined(*children)}</{name}>")


def joined(*children: Child) -> Markup:
    """Return children one after another, escaped where they are text."""
    return Markup("".join(_text(child) for child in children))


def coordinate(value: str | float) -> str:
    """Return a number with at most one decimal, as an attribute; text as it is."""
    if isinstance(value, str):
        return value
    text = f"{value:.1f}".removesuffix(".0")
    return "0" if text == "-0" else text


def table(
    headers: Sequence[str],
    rows: Sequence[Sequence[Child]],
    *,
    numbers: Sequence[int] = (),
    caption: str = "",
    class_: str | None = None,
) -> Markup:
    """Return a table that scrolls sideways where it is too wide; nothing without rows.

    ``numbers`` are the columns that are aligned to the right.
    """
    if not rows:
        return Markup()
    head = [
        element("th", h, scope="col", class_=_number(i, numbers)) for i, h in enumerate(headers)
    ]
    body = [
        element("tr", *(element("td", c, class_=_number(i, numbers)) for i, c in enumerate(row)))
        for row in rows
    ]
    whole = element(
        "table",
        element("caption", caption) if caption else None,
        element("thead", element("tr", *head)),
        element("tbody", *body),
        class_=class_,
    )
    return element(
        "div", whole, class_="wide", tabindex="0", role="region", aria_label=caption or headers[0]
    )


def sparse_table(
    headers: Sequence[str],
    rows: Sequence[Sequence[Child]],
    *,
    numbers: Sequence[int] = (),
    caption: str = "",
    class_: str | None = None,
) -> Markup:
    """Return a table without the columns that no row has anything in; the first one stays."""
    kept = [
        index
        for index in range(len(headers))
        if index == 0 or any(row[index] not in _NOTHING for row in rows)
    ]
    return table(
        [headers[index] for index in kept],
        [[row[index] for index in kept] for row in rows],
        numbers=[place for place, index in enumerate(kept) if index in numbers],
        caption=caption,
        class_=class_,
    )


def bar(share: float, kind: str = "") -> Markup:
    """Return a horizontal bar that fills ``share``, 0 to 1, of its cell."""
    width = f"width:{100 * min(max(share, 0.0), 1.0):.1f}%"
    inner = element("span", class_=f"fill {kind}".strip(), style=width)
    return element("span", inner, class_="bar", aria_hidden="true")


def _number(index: int, numbers: Sequence[int]) -> str | None:
    return "n" if index in numbers else None


def _text(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Markup):
        return str(child)
    return html.escape(child if isinstance(child, str) else coordinate(child))
