"""What runs in integers, and why the rest does not."""

from __future__ import annotations

from collections import Counter

from bmopt.bench.quantities import NONE
from bmopt.bench.report.figure import shortened
from bmopt.bench.report.markup import Child, Markup, bar, element, joined, table
from bmopt.bench.report.run import Run
from bmopt.core.bench_document import PlacedNode, Placement

MOST_ROWS = 1000


def placement_section(run: Run) -> Markup:
    """Return counts, reasons, and a table of nodes that can be filtered."""
    parts = [
        part
        for index, placement in enumerate(run.document.placement)
        for part in _subject(run, f"{run.prefix}-nodes-{index}", placement)
    ]
    return run.section("placement", "What runs in integers", *parts)


def _subject(run: Run, name: str, placement: Placement) -> list[Markup]:
    nodes = placement.nodes
    integer = sum(node.integer for node in nodes)
    facts = [
        f"{integer} of {len(nodes)} nodes with an integer kernel run in integers",
        placement.scheme,
        f"ranges by {placement.method}" if placement.method else "",
        f"placement {placement.rules}" if placement.rules else "",
    ]
    text = f"{placement.subject}: {'; '.join(filter(None, facts))}."
    share = bar(integer / len(nodes) if nodes else 0.0, run.hue(placement.subject))
    return [element("p", text), element("p", share), _reasons(nodes), _nodes(name, nodes)]


def _reasons(nodes: tuple[PlacedNode, ...]) -> Markup:
    counts = Counter(node.reason or "not told" for node in nodes if not node.integer)
    rows = [(reason, str(count)) for reason, count in counts.most_common()]
    return table(("in float because", "nodes"), rows, numbers=(1,), caption="Reasons")


def _nodes(name: str, nodes: tuple[PlacedNode, ...]) -> Markup:
    """Return the table; those in float come first. Without scripts the field stays hidden."""
    order = sorted(nodes, key=lambda node: node.integer)
    rows = [_row(node) for node in order[:MOST_ROWS]]
    if not rows:
        return Markup()
    left = len(order) - MOST_ROWS
    caption = "Nodes" + (f"; another {left} are in the JSON" if left > 0 else "")
    field = element(
        "p",
        element("label", "Filter nodes ", for_=name),
        element("input", id=name, type="search", placeholder="name, op, reason…"),
        element("output", for_=name, aria_live="polite"),
        class_="filter",
        hidden="",
    )
    listed = table(("node", "op", "runs in", "kernel", "why in float"), rows, caption=caption)
    return element("div", field, listed, class_="filtered")


def _row(node: PlacedNode) -> tuple[Child, ...]:
    where = element(
        "span",
        "integers" if node.integer else "float",
        class_="integer" if node.integer else "float",
    )
    label = element("span", shortened(node.node, 60), title=node.node)
    return label, node.op, joined(where), node.kernel or NONE, node.reason
