"""What was measured on a board, for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bmopt.cli.output import say
from bmopt.cli.units import time_text


def print_on_board(found: Mapping[str, Any]) -> None:
    """Print the section ``on_board`` of a report."""
    if found["note"]:
        say(f"board {found['board']}: {found['note']}")
        return
    facts = found["facts"]
    kind = " ".join(filter(None, (facts["architecture"], facts["cpu"])))
    cores = f"{found['threads']} of {facts['cores'] or 'its'} cores"
    say(f"board {found['board']} ({kind}, {cores}): {_latency(found['latency'])}")
    for name, value in found["golden_sqnr_db"].items():
        shown = "cannot be compared" if value is None else f"{float(value):.1f} dB SQNR"
        say(f"output {name!r} there against the golden outputs: {shown}")


def _latency(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "latency was left out as asked"
    low, high = time_text(found["p10_ns"]), time_text(found["p90_ns"])
    return f"{time_text(found['median_ns'])} median of {found['runs']}, {low} to {high} for 80 %"
