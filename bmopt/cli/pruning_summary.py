"""What a pruning tried and took, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bmopt.cli.output import print_table, say
from bmopt.cli.units import size_text


def print_pruning(report: Mapping[str, Any]) -> None:
    """Print what was tried, what was chosen, and the groups that lost channels."""
    rows = [_row(point, report) for point in report["trials"]]
    headers = ("", "latency", "drop", "agreement", "MACs", "parameters", "size", "")
    print_table(headers, rows, right=range(1, 7))
    say()
    for missed in report["missed"]:
        say(f"missed: {missed}", style="red")
    cut = {name: sizes for name, sizes in report["groups"].items() if sizes[0] != sizes[1]}
    widths = ", ".join(f"{name} {left} of {size}" for name, (size, left) in cut.items())
    say(f"channels left: {widths}" if cut else "no channel was cut")
    if report["sparsity"] is not None:
        say(report["sparsity"]["gain"])
    _say_if_slower(report)
    if report["refused"]:
        say(f"{len(report['refused'])} groups stay whole; --json has the reasons")


def _say_if_slower(report: Mapping[str, Any]) -> None:
    from bmopt.core.prune_trials import PruneTrials

    slowed = PruneTrials.from_report(report).slowed
    if slowed is not None:
        say(
            f"slower: the chosen model takes {slowed:.2f} x the latency of the uncut one on "
            f"{report['target']}; a budget of latency cuts to widths that pay",
            style="red",
        )


def _row(point: Mapping[str, Any], report: Mapping[str, Any]) -> tuple[str, ...]:
    marks = []
    if point["name"] in report["pareto"]:
        marks.append("Pareto")
    if point["name"] == report["chosen"]:
        marks.append("chosen")
    return (
        point["name"],
        _number(point["latency"], 3),
        _number(point["drop"], 2),
        _number(point["agreement"], 4),
        _number(point["macs"], 3),
        _number(point["parameters"], 3),
        size_text(point["size_bytes"]),
        ", ".join(marks),
    )


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def print_pruned(report: Mapping[str, Any]) -> None:
    """Print in a line what was taken on the way to an artifact; why a budget is missed."""
    point = next(one for one in report["trials"] if one["name"] == report["chosen"])
    cut = [sizes for sizes in report["groups"].values() if sizes[0] != sizes[1]]
    say(
        f"pruned: {len(cut)} of {len(report['groups'])} groups lost channels, "
        f"{100 * point['macs']:.0f} % of the MACs and {100 * point['parameters']:.0f} % of the "
        f"parameters are left ({len(report['trials'])} models tried)"
    )
    for missed in report["missed"]:
        say(f"missed: {missed}", style="red")
    if report["sparsity"] is not None:
        say(report["sparsity"]["gain"])
    _say_if_slower(report)
