"""What was measured when an artifact was compiled, as the manifest tells it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from bmopt.bundle.manifest import AccuracyFact, LatencyFact

Json = Mapping[str, Any]


def accuracy_of(report: Json | None) -> AccuracyFact | None:
    """Return the metric that decided, from an artifact's ``report.json``; None without one."""
    found = (report or {}).get("accuracy") or {}
    metric = found.get("metric")
    values = [found.get(side, {}).get(metric) for side in ("candidate", "reference")]
    if not all(_is_finite(value) for value in values):
        return None
    samples = int(found["samples"])
    dataset = PurePath(str(found.get("dataset", "")).partition("?")[0]).name
    of = f" of {dataset}" if dataset else ""
    how = f"{metric} of the artifact and of the source model on {samples} samples{of}"
    note = str(found.get("note") or "")
    how = printable(f"{how}; {note}" if note else how)
    return AccuracyFact(str(metric), float(values[0]), float(values[1]), samples, how)


def latency_of(report: Json | None) -> LatencyFact | None:
    """Return the latency and its ratio to the source's, from ``report.json``; None without."""
    found = (report or {}).get("latency") or {}
    keys = ("candidate_ns", "ratio", "low", "high")
    numbers: list[Any] = [found.get(key) for key in keys]
    if report is None or not all(_is_finite(number) for number in numbers):
        return None
    p50, ratio, low, high = map(float, numbers)
    measurement = report.get("measurement") or {}
    facts = measurement.get("environment") or {}
    confidence: Any = (measurement.get("settings") or {}).get("confidence")
    rival = "the source model" if found.get("reference") == "source" else found.get("reference")
    threads = int(found.get("threads", 1))
    how = (
        f"median of single inferences with {threads} thread{'s' if threads > 1 else ''}, in "
        f"{found.get('pairs')} turns with {rival}"
    )
    if _is_finite(confidence):
        how += f"; {100 * float(confidence):g} % interval of the ratio"
    host = printable(f"{facts.get('cpu.model', 'unknown')}, {facts.get('os', 'unknown')}")
    return LatencyFact(p50, ratio, (low, high), host, printable(how))


def printable(text: str) -> str:
    """Return ``text`` in one line that a manifest may hold."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
