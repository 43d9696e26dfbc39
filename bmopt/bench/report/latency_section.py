"""Latencies: how they are distributed, how the ratio moved over time, and the noise floor."""

from __future__ import annotations

from bmopt.bench.report.distribution_chart import Latencies, distribution_chart
from bmopt.bench.report.markup import Markup, element
from bmopt.bench.report.percentiles import percentile_table
from bmopt.bench.report.quantities import ratio_text
from bmopt.bench.report.run import Run
from bmopt.bench.report.turn_chart import Turns, turn_chart
from bmopt.bench.report.verdicts import interval_text
from bmopt.bench.statistics import samples_ns


def latency_section(run: Run) -> Markup:
    """Return the distribution of every variant with its percentiles."""
    found = run.measurement
    if found is None:
        return Markup()
    samples = {name: samples_ns(found, name) for name in found.variants}
    rows = [Latencies(name, taken, run.hue(name)) for name, taken in samples.items()]
    blocks, seconds = len(found.blocks), found.settings.duration_s
    taken = (
        f"{blocks} blocks of at least {found.settings.block_ms:g} ms in random ABBA order, the "
        f"first inference of each dropped; at most {seconds:g} s, stopping at an interval "
        f"{100 * found.settings.precision:g} % wide."
    )
    return run.section(
        "latency",
        "Latency",
        distribution_chart(f"{run.prefix}-dist", "Distribution of latencies", rows),
        percentile_table("", list(samples.items()), "Latency percentiles"),
        element("p", taken, class_="quiet"),
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
    said = {
        "equivalent": "as it should be: no difference.",
        "undecided": "no difference, but the run was too short or the host too busy to say it "
        "as sharply as asked for.",
    }.get(found.verdict, "a difference that is not there: do not trust differences of this size.")
    interval = interval_text(found, measured.settings.confidence)
    text = f"The same model twice, measured in the same way: ratio {ratio_text(found.ratio)}, "
    turns = Turns.of(measured, first, second)
    return run.section(
        "noise",
        "Noise floor",
        element("p", f"{text}{interval}; {said}"),
        turn_chart(f"{run.prefix}-noise", "A/A", turns, found, "c0"),
    )
