"""The gate: what became of every condition that was set."""

from __future__ import annotations

from bmopt.bench.report.badge import badge, verdict_list
from bmopt.bench.report.markup import Markup, element
from bmopt.bench.report.run import Run
from bmopt.bench.statements import gate_statement, gate_verdict


def gate_section(run: Run) -> Markup:
    """Return the worst outcome, then every condition, candidate by candidate."""
    lines = run.document.gate
    if not lines:
        return Markup()
    whole = gate_verdict(lines)
    parts = [
        verdict_list(name, (gate_statement(line) for line in lines if line.subject == name))
        for name in dict.fromkeys(line.subject for line in lines)
    ]
    told = element("p", badge(whole), " ", element("span", whole.sentence), class_="whole")
    return run.section("gate", "Gate", told, *parts)
