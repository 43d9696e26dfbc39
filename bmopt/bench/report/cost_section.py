"""What a subject costs besides latency: start-up, memory, throughput, energy."""

from __future__ import annotations

from bmopt.bench.report.markup import Child, Markup, bar, joined, table
from bmopt.bench.report.quantities import amount, digits, time_text
from bmopt.bench.report.run import Run
from bmopt.core.bench_document import Energy, ProcessCost


def cost_section(run: Run) -> Markup:
    """Return tables of what was measured in processes of their own."""
    document = run.document
    return run.section(
        "costs",
        "Start-up, memory, throughput and energy",
        table(
            ("", "load", "first inference", "cold start", "peak memory", "other"),
            [_process(cost) for cost in document.processes],
            numbers=(1, 2, 3, 4),
            caption="In a process of its own",
        ),
        _throughput(run),
        table(
            ("", "per inference", "meter"),
            [_energy(one) for one in document.energy],
            numbers=(1,),
            caption="Energy",
        ),
    )


def _process(cost: ProcessCost) -> tuple[str, ...]:
    facts = ", ".join(f"{key} {value}" for key, value in cost.facts.items())
    times = (cost.load_ns, cost.first_inference_ns, cost.cold_start_ns)
    memory = amount(cost.peak_memory_bytes, "B")
    return (cost.subject, *(time_text(taken) for taken in times), memory, facts)


def _throughput(run: Run) -> Markup:
    """Return a bar per setting, so that where it stops to grow shows."""
    found = run.document.throughput
    most = max((one.per_second for one in found), default=0.0) or 1.0
    rows: list[tuple[Child, ...]] = [
        (
            one.subject,
            str(one.batch),
            str(one.threads),
            digits(one.per_second),
            joined(bar(one.per_second / most, run.hue(one.subject))),
        )
        for one in sorted(found, key=lambda one: (one.threads, one.batch))
    ]
    return table(
        ("", "batch", "threads", "samples per second", ""),
        rows,
        numbers=(1, 2, 3),
        caption="Throughput",
        class_="bars",
    )


def _energy(one: Energy) -> tuple[str, ...]:
    if one.joules is None:
        return (one.subject, "not available", one.note or one.source)
    text = f"{digits(1e3 * one.joules)} mJ" if one.joules < 1 else f"{digits(one.joules)} J"
    return (one.subject, text, " ".join(filter(None, (one.source, one.note))))
