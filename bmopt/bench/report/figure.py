"""The frame of a chart, drawn for wide pages and for phones, so that text stays legible."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from bmopt.bench.quantities import axis_label
from bmopt.bench.report.axes import Scale
from bmopt.bench.report.markup import Child, Markup, element, joined

WIDE, NARROW = 860, 340
"""Widths in pixels; style.css shows one of them."""

_TICK_SPACE = 90
_SHORT_TICK_SPACE = 34

SHAPES = ("circle", "square", "triangle")


@dataclasses.dataclass(frozen=True)
class Box:
    """Where the data of a chart lies, in pixels."""

    left: float
    top: float
    right: float
    bottom: float


def figure(
    name: str,
    title: str,
    summary: str,
    draw: Callable[[int], tuple[float, Markup]],
    note: str = "",
) -> Markup:
    """Return a chart with its title, drawn at both widths.

    Args:
        name: Unique on the page; ids are made of it.
        title: What is drawn.
        summary: The chart in words, for those who cannot see it.
        draw: Width -> height and content.
        note: Shown below, on how to read it.
    """
    return element(
        "figure",
        element("figcaption", element("b", title), element("span", note) if note else None),
        _svg(f"{name}-w", WIDE, title, summary, draw),
        _svg(f"{name}-n", NARROW, title, summary, draw),
    )


def _svg(
    name: str, width: int, title: str, summary: str, draw: Callable[[int], tuple[float, Markup]]
) -> Markup:
    height, content = draw(width)
    return element(
        "svg",
        element("title", title, id=f"{name}-t"),
        element("desc", summary, id=f"{name}-d"),
        content,
        class_="wide-only" if width == WIDE else "narrow-only",
        viewBox=f"0 0 {width} {height:.0f}",
        width=width,
        height=height,
        role="img",
        aria_labelledby=f"{name}-t {name}-d",
    )


def x_axis(
    scale: Scale, box: Box, label: str, text: Callable[[float], str] = axis_label
) -> Markup:
    """Return grid lines with labels below the box, and what the axis shows."""
    wanted = max(2, int((box.right - box.left) / _TICK_SPACE))
    parts: list[Child] = []
    for value in scale.ticks(wanted):
        at = scale(value)
        parts += [
            line(at, box.top, at, box.bottom, "grid"),
            words(at, box.bottom + 17, text(value), "tick", "middle"),
        ]
    parts.append(words((box.left + box.right) / 2, box.bottom + 36, label, "axis", "middle"))
    return joined(*parts)


def y_axis(
    scale: Scale, box: Box, label: str, text: Callable[[float], str] = axis_label
) -> Markup:
    """Return grid lines with labels left of the box, and above it what the axis shows."""
    wanted = max(2, int((box.bottom - box.top) / _SHORT_TICK_SPACE))
    parts: list[Child] = [words(box.left, box.top - 9, label, "axis", "start")]
    for value in scale.ticks(wanted):
        at = scale(value)
        parts += [
            line(box.left, at, box.right, at, "grid"),
            words(box.left - 6, at + 4, text(value), "tick", "end"),
        ]
    return joined(*parts)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """Return a straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def words(x: float, y: float, text: str, class_: str, anchor: str = "start") -> Markup:
    """Return a line of text."""
    return element("text", text, x=x, y=y, class_=class_, text_anchor=anchor)


def marker(
    x: float, y: float, shape: str, class_: str, tip: str = "", size: float = 4.5
) -> Markup:
    """Return a point; ``tip`` is shown when a pointer rests on it."""
    hint = element("title", tip) if tip else None
    if shape == "square":
        side = 1.8 * size
        return element(
            "rect", hint, x=x - side / 2, y=y - side / 2, width=side, height=side, class_=class_
        )
    if shape == "triangle":
        corners = ((x, y - 1.3 * size), (x + 1.2 * size, y + size), (x - 1.2 * size, y + size))
        return element("path", hint, d=path(corners, closed=True), class_=class_)
    return element("circle", hint, cx=x, cy=y, r=size, class_=class_)


def path(corners: Sequence[tuple[float, float]], *, closed: bool = False) -> str:
    """Return an SVG path through points."""
    steps = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    return f"M{steps}{'Z' if closed else ''}"


def shortened(text: str, limit: int) -> str:
    """Return at most ``limit`` characters, the middle left out."""
    if len(text) <= limit:
        return text
    head = (limit - 1) // 2
    return f"{text[:head]}…{text[len(text) - (limit - 1 - head) :]}"
