"""Where and how it was measured: environment, readings beside the blocks, command, digests."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from bmopt.bench.quantities import NONE, amount, digits
from bmopt.bench.report.markup import Child, Markup, element, joined, table
from bmopt.bench.report.run import Run
from bmopt.core.bench_document import Subject
from bmopt.core.measurement import Fact

_FIRST = ("cpu.model", "cpu.flags", "cpu.governor", "cpu.quota", "memory.bytes", "os", "kernel")


def environment_section(run: Run) -> Markup:
    """Return the facts of the host, the telling ones in sight and all of them folded away."""
    facts: Mapping[str, Fact] = run.document.environment
    if not facts and run.document.measurement is not None:
        facts = run.document.measurement.environment.facts
    first = [
        key for key in facts if key in _FIRST or key.startswith(("gpu.", "threads.", "load."))
    ]
    rest = [key for key in facts if key not in first]
    shown = table(
        ("fact", "value"), [(key, _fact(key, facts[key])) for key in first], caption="Host"
    )
    folded = None
    if rest:
        every = table(
            ("fact", "value"), [(k, _fact(k, facts[k])) for k in rest], caption="Other facts"
        )
        folded = element("details", element("summary", f"{len(rest)} more facts"), every)
    return run.section("environment", "Environment", shown, folded, _readings(run))


def _fact(name: str, value: Fact) -> str:
    if value is None:
        return "not told"
    if name.endswith(".bytes") and not isinstance(value, str):
        return amount(value, "B")
    return digits(value) if isinstance(value, float) else str(value)


def _readings(run: Run) -> Markup:
    """Return the spread of what was read beside the blocks: a clock that moved shows."""
    found: dict[str, list[float]] = {}
    for block in () if run.measurement is None else run.measurement.blocks:
        for name, value in block.readings.items():
            found.setdefault(name, []).append(value)
    rows = [
        (name, str(len(v)), *(digits(f(v)) for f in (min, statistics.median, max)))
        for name, v in found.items()
    ]
    headers = ("read beside the blocks", "blocks", "lowest", "median", "highest")
    return table(headers, rows, numbers=range(1, 5), caption="Readings")


def record_section(run: Run) -> Markup:
    """Return what is needed to measure this again and to know that it is the same."""
    document = run.document
    command = None
    if document.command:
        command = joined(
            element("p", "Measured by"),
            element("pre", element("code", document.command), tabindex="0"),
        )
    rows = [_subject(one) for one in document.subjects]
    headers = ("", "file", "kind", "engine", "digest")
    subjects = table(headers, rows, caption="Subjects", class_="digests")
    return run.section("record", "Measure it again", command, subjects)


def _subject(one: Subject) -> tuple[Child, ...]:
    versions = ", ".join(f"{name} {text}" for name, text in one.versions.items())
    engine = "; ".join(filter(None, (one.engine, versions)))
    digest = element("code", one.digest) if one.digest else NONE
    return one.name, element("code", one.spec or NONE), one.kind, engine or NONE, digest
