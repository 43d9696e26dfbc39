"""Latencies: how they are distributed, how the ratio moved over time, and the noise floor."""

from __future__ import annotations

from bmopt.bench.report.distribution_chart import Latencies, distribution_chart
from bmopt.bench.report.markup import Markup, element
from bmopt.bench.report.percentiles import percentile_table
from bmopt.bench.report.run import Run
from bmopt.bench.report.turn_chart import Turns, turn_chart
from bmopt.bench.statements import noise_sentence
from bmopt.bench.statistics import samples_ns


def latency_section(run: Run) -> Markup:
    """Return the distribution of every variant with its percentiles."""
    found = run.measurement
    if found is None:
        return Markup()
    samples = {name: samples_ns(found, name) for name in found.variants}
    rows = [Latencies(name, taken, run.hue(name)) for name, taken in samples.items()]
    settings = found.settings
    taken = f"{len(found.blocks)} blocks of at least {settings.block_ms:g} ms"
    if run.estimates:
        taken += " in random ABBA order"
    taken += f", the first inference of each dropped; at most {settings.duration_s:g} s"
    if run.estimates:
        taken += f", stopping at an interval {100 * settings.precision:g} % wide"
    return run.section(
        "latency",
        "Latency",
        distribution_chart(f"{run.prefix}-dist", "Distribution of latencies", rows),
        percentile_table("", list(samples.items()), "Latency percentiles"),
        element("p", f"{taken}.", class_="quiet"),
    )


def drift_section(run: Run) -> Markup:
    """Return the ratio of every turn over time, a chart per candidate."""
    found = run.measurement
    if found is None:
        return Markup()
    charts = [
        turn_chart(
            f"{run.prefix}-turns-{index}",
            name,
            Turns.of(found, run.reference, name),
            estimate,
            run.hue(name),
        )
        for index, (name, estimate) in enumerate(run.estimates.items())
    ]
    return run.section("drift", "Ratio over time", *charts)


def noise_section(run: Run) -> Markup:
    """Return how far two copies of the same model were apart."""
    found, measured = run.noise, run.document.noise_floor
    if found is None or measured is None:
        return Markup()
    first, second = measured.variants[:2]
    turns = Turns.of(measured, first, second)
    return run.section(
        "noise",
        "Noise floor",
        element("p", noise_sentence(found, measured.settings.confidence)),
        turn_chart(f"{run.prefix}-noise", "A/A", turns, found, "c0"),
    )
