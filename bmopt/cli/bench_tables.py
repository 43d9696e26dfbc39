"""What a benchmark found, on the terminal.

It is imported when there is something to print: unlike the verbs it may import what it needs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import numpy as np

from bmopt.bench.compared import Compared
from bmopt.bench.early_stopping import Percentile, percentile
from bmopt.bench.quantities import NONE, amount, ratio_text, time_text
from bmopt.bench.scenario_summary import summary
from bmopt.bench.statements import (
    difference_text,
    gate_statement,
    gate_verdict,
    noise_sentence,
    score_text,
)
from bmopt.bench.statistics import samples_ns
from bmopt.cli.bench_cost_tables import (
    energy_parts,
    integer_parts,
    layer_parts,
    process_parts,
    sqnr_parts,
    throughput_parts,
)
from bmopt.cli.bench_parts import STYLES, Line, Part, Table, told
from bmopt.cli.output import say
from bmopt.core.bench_document import Accuracy, BenchDocument

_QUANTILES = (0.9, 0.99)


def print_bench(document: BenchDocument) -> None:
    """Print what was measured, section by section; what was not measured prints nothing."""
    found = Compared.of(document)
    sections: tuple[tuple[str, Iterable[Part]], ...] = (
        ("Verdicts", _verdicts(found)),
        ("Subjects", _subjects(found)),
        ("Noise floor", _noise(found)),
        ("Accuracy", _accuracy(document)),
        ("Scenarios", _scenarios(document)),
        ("Start-up and memory", process_parts(document)),
        ("Throughput in samples per second", throughput_parts(document)),
        ("Energy", energy_parts(document)),
        ("Where the time goes", layer_parts(document)),
        ("Where the error comes from", sqnr_parts(document)),
        ("What runs in integers", integer_parts(document)),
        ("Gate", _gate(document)),
        ("Failed", _failed(document)),
        ("Warnings", (Line(text, STYLES["open"]) for text in document.warnings)),
    )
    is_first = True
    for title, parts in sections:
        shown = list(parts)
        if shown:
            _print_section(title, shown, is_first=is_first)
            is_first = False


def _print_section(title: str, parts: Iterable[Part], *, is_first: bool) -> None:
    if not is_first:
        say()
    say(title, style="bold")
    for part in parts:
        part.show()


def _verdicts(found: Compared) -> Iterable[Part]:
    for name in found.names:
        said = [one for one in found.statements(name) if one.word != "failed"]
        if said:
            yield Line(name)
        yield from (told(one, indent=2) for one in said)


def _subjects(found: Compared) -> Iterable[Part]:
    """Return all subjects with latencies and sizes, and which percentiles need more queries."""
    percentiles = {name: _percentiles(found, name) for name in found.names}
    lacking: dict[str, list[str]] = defaultdict(list)
    for name, own in percentiles.items():
        for one in own:
            if one.value is None:
                lacking[one.text].append(name)
    rows = [_subject(found, name, own) for name, own in percentiles.items()]
    if rows:
        headers = ("", "median", "p90", "p99", "ratio", _interval_title(found))
        yield Table((*headers, "verdict", "size"), rows, right=(1, 2, 3, 4, 5, 7))
    yield from _boards(found.document)
    for text, names in lacking.items():
        every = len(names) == sum(map(bool, percentiles.values()))
        yield Line(text if every else f"{', '.join(names)}: {text}")


def _boards(document: BenchDocument) -> Iterable[Part]:
    """Say which subjects ran on a board, and what that is."""
    for subject in document.subjects:
        told = {
            key: document.environment.get(f"settings.{subject.name}.board{key}")
            for key in ("", "_architecture", "_cpu", "_cores", "_threads")
        }
        if told[""]:
            kind = " ".join(str(told[key]) for key in ("_architecture", "_cpu") if told[key])
            counts = f"{told['_threads']} of {told['_cores'] or 'its'} cores used"
            yield Line(f"{subject.name} ran on board {told['']}: {kind}, {counts}")


def _interval_title(found: Compared) -> str:
    measured = found.measurement
    return "interval" if measured is None else f"{100 * measured.settings.confidence:g} % interval"


def _percentiles(found: Compared, name: str) -> list[Percentile]:
    measured = found.measurement
    if measured is None or name not in measured.variants:
        return []
    samples = samples_ns(measured, name)
    return [percentile(samples, quantile) for quantile in _QUANTILES]


def _subject(found: Compared, name: str, percentiles: list[Percentile]) -> tuple[str, ...]:
    subject, estimate = found.subject(name), found.estimates.get(name)
    times = [NONE] * (1 + len(_QUANTILES))
    if percentiles and found.measurement is not None:
        median = float(np.median(samples_ns(found.measurement, name)))
        times = [time_text(median), *(time_text(one.value) for one in percentiles)]
    ratio, ends, verdict = NONE, NONE, "reference" if name == found.reference else NONE
    if estimate is not None:
        ratio, verdict = ratio_text(estimate.ratio), estimate.verdict
        ends = f"{ratio_text(estimate.low)} to {ratio_text(estimate.high)}"
    elif len(found.names) == 1:
        verdict = NONE
    if subject.error:
        verdict = "failed"
    size = amount(subject.size_bytes, "B")
    return (name, *times, ratio, ends, verdict, size)


def _noise(found: Compared) -> Iterable[Part]:
    measured = found.document.noise_floor
    if found.noise is not None and measured is not None:
        yield Line(noise_sentence(found.noise, measured.settings.confidence))


def _accuracy(document: BenchDocument) -> Iterable[Part]:
    if document.accuracy:
        headers = ("", "metric", "reference", "value", "difference (99 %)")
        rows = [_metric(one) for one in document.accuracy]
        yield Table((*headers, "p", "samples"), rows, right=(2, 3, 4, 5, 6))


def _metric(one: Accuracy) -> tuple[str, ...]:
    return (
        one.subject,
        one.metric,
        score_text(one, one.reference),
        score_text(one, one.candidate),
        difference_text(one),
        NONE if one.p_value is None else f"{one.p_value:.3f}",
        str(one.samples),
    )


def _scenarios(document: BenchDocument) -> Iterable[Part]:
    for run in document.scenarios:
        found = summary(run)
        text = "; ".join((found.text, *found.notes))
        style = STYLES["same" if found.valid else "open"]
        yield Line(f"{found.scenario}, {found.subject}: {text}", style)


def _gate(document: BenchDocument) -> Iterable[Part]:
    for name in dict.fromkeys(line.subject for line in document.gate):
        yield Line(name)
        for line in document.gate:
            if line.subject == name:
                yield Line(line.text, STYLES[gate_statement(line).tone], indent=2)
    if document.gate:
        yield told(gate_verdict(document.gate))


def _failed(document: BenchDocument) -> Iterable[Part]:
    for one in document.subjects:
        if one.error:
            yield Line(f"{one.name}: {one.error}", STYLES["bad"])
