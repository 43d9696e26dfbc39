"""Which of a user's demands an artifact does not meet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bmopt.workflow.preparing import Job


def missed(job: Job, report: Mapping[str, Any]) -> list[str]:
    """Return a line for every demand that was missed; none where all are met."""
    found = []
    budget = report["budget"]
    if budget is not None and not budget["met"]:
        blame = ", ".join(budget["in_the_way"])
        layers = f"; the outputs suffer most from {blame}" if blame else ""
        found.append(f"the budget was MISSED: {budget['text']}{layers}")
    if (speed := _slow(job, report)) is not None:
        found.append(speed)
    return found


def _slow(job: Job, report: Mapping[str, Any]) -> str | None:
    wanted = job.recipe.min_speedup
    if wanted <= 0:
        return None
    latency = report["latency"]
    if latency is None:
        return f"a speedup of {wanted:g} was asked for, and latency was not measured"
    speedup = 1.0 / float(latency["ratio"])
    if speedup >= wanted:
        return None
    note = (report.get("placement") or {}).get("note") or "INT8 does not pay more here"
    return f"the speedup was MISSED: {speedup:.2f} x as fast as float, {wanted:g} wanted ({note})"
