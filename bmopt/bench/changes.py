"""What a candidate changed of everything that a benchmark measured, in the form a gate judges."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from bmopt.bench.change import Change, Unit, exact_change, metric_change, ratio_change
from bmopt.bench.costs import COSTS
from bmopt.bench.percentile_ratio import FEWEST_TURNS, PooledRatio, mean_ratio, percentile_ratio
from bmopt.bench.schedule import ROUNDS_PER_TURN
from bmopt.bench.side_by_side import Comparison
from bmopt.bench.statistics import ratio, samples_ns, student_quantile
from bmopt.core.bench_document import BenchDocument, Subject
from bmopt.core.measurement import Measurement
from bmopt.core.ranges import Interval
from bmopt.errors import UsageError

FEWEST_PAIRS = 3
"""Fewest pairs of processes that have an interval."""

_BLOCK_QUANTILES: Mapping[str, float] = {"latency": 0.25, "p50": 0.5}
_POOLED_QUANTILES: Mapping[str, float] = {"p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
_TIMES = (*_BLOCK_QUANTILES, *_POOLED_QUANTILES, "mean")
_CONFIDENCE = 0.99
_MOST_LOG = 700.0


def changes(
    document: BenchDocument, candidate: str, comparisons: Sequence[Comparison]
) -> tuple[Change, ...]:
    """Return a candidate's change of every quantity of the benchmark against the reference.

    These are ``latency``, the ratio that verdicts rest on; ``p50``; ``p90``, ``p95``, ``p99`` and
    ``p99.9`` of all samples; ``mean``; every metric of accuracy; ``size``; and ``load``,
    ``first_inference``, ``cold_start`` and ``memory`` of processes. What no subject was asked for
    is left out. Where too little was measured the change has no interval, and its note says what
    it takes.

    Args:
        document: What was measured.
        candidate: A subject other than the reference.
        comparisons: The candidate's metrics beside the reference's.

    Raises:
        UsageError: There is no such candidate.
    """
    reference = _reference(document)
    _check_name(document, reference, candidate)
    return (
        *_latencies(document, reference, candidate),
        *_metrics(document, candidate, comparisons),
        *_sizes(_subject(document, reference), _subject(document, candidate)),
        *_costs(document, reference, candidate),
    )


def _reference(document: BenchDocument) -> str:
    measured = _measured(document)
    if measured is not None:
        return measured.variants[0]
    return document.subjects[0].name if document.subjects else ""


def _check_name(document: BenchDocument, reference: str, candidate: str) -> None:
    measured = _measured(document)
    variants = () if measured is None else measured.variants
    known = dict.fromkeys([*(one.name for one in document.subjects), *variants])
    others = [name for name in known if name != reference]
    if candidate not in others:
        raise UsageError(
            f"candidate {candidate!r} was not measured beside {reference!r}; "
            f"choose one of {', '.join(others) or 'nothing'}"
        )


def _measured(document: BenchDocument) -> Measurement | None:
    found = document.measurement
    return found if found is not None and found.blocks else None


def _subject(document: BenchDocument, name: str) -> Subject:
    return next((one for one in document.subjects if one.name == name), Subject(name))


def _latencies(document: BenchDocument, reference: str, candidate: str) -> Iterator[Change]:
    measured = _measured(document)
    error = _subject(document, candidate).error
    if measured is None and not error:
        return
    if measured is None or candidate not in measured.variants:
        why = f"{candidate} was not timed{f': {error}' if error else ''}"
        yield from (_unknown(name, "ns", why) for name in _TIMES)
        return
    for name, quantile in _BLOCK_QUANTILES.items():
        yield _of_blocks(name, measured, (reference, candidate), quantile)
    for quantile in _POOLED_QUANTILES.values():
        yield _of_samples(percentile_ratio(measured, reference, candidate, quantile))
    yield _of_samples(mean_ratio(measured, reference, candidate))


def _of_blocks(
    name: str, measured: Measurement, names: tuple[str, str], quantile: float
) -> Change:
    """Return the change of what every block counts with; the values are those of all samples."""
    before, after = (float(np.quantile(samples_ns(measured, one), quantile)) for one in names)
    found = ratio(measured, *names, quantile=quantile)
    if not math.isfinite(found.high):
        turns = found.pairs // ROUNDS_PER_TURN
        note = f"{name} needs {FEWEST_TURNS} turns, {turns} ran"
        return _unknown(name, "ns", note, before, after)
    return ratio_change(
        name,
        "ns",
        Interval(found.low, found.high),
        reference=before,
        candidate=after,
        counted=found.pairs,
        confidence=measured.settings.confidence,
    )


def _of_samples(found: PooledRatio) -> Change:
    before, after = found.reference_ns, found.candidate_ns
    if found.interval is None or before is None or after is None:
        return _unknown(found.name, "ns", found.note, before, after)
    return ratio_change(
        found.name,
        "ns",
        found.interval,
        reference=before,
        candidate=after,
        counted=found.samples,
        counted_as="samples of each",
        confidence=found.confidence,
    )


def _metrics(
    document: BenchDocument, candidate: str, comparisons: Sequence[Comparison]
) -> Iterator[Change]:
    """Return the candidate's metrics, and those that only others have, for what has none."""
    yield from (metric_change(found) for found in comparisons)
    has = {found.metric for found in comparisons}
    error = _subject(document, candidate).error
    why = f"{candidate} was not scored{f': {error}' if error else ''}"
    for one in {one.metric: one for one in document.accuracy if one.metric not in has}.values():
        change = _unknown(one.metric, "fraction" if one.fraction else "value", why, one.reference)
        yield dataclasses.replace(change, higher_is_better=one.higher_is_better)


def _sizes(reference: Subject, candidate: Subject) -> Iterator[Change]:
    before, after = reference.size_bytes, candidate.size_bytes
    if before is not None and after is not None:
        yield exact_change("size", "bytes", before, after)
    elif before is not None or after is not None:
        lacking = reference if before is None else candidate
        yield _unknown("size", "bytes", f"the size of {lacking.name} is not known", before, after)


def _costs(document: BenchDocument, reference: str, candidate: str) -> Iterator[Change]:
    settings = None if document.measurement is None else document.measurement.settings
    confidence = _CONFIDENCE if settings is None else settings.confidence
    for cost in COSTS:
        if all(cost.read(one) is None for one in document.processes):
            continue
        taken = [
            [cost.read(one) for one in document.processes if one.subject == subject]
            for subject in (reference, candidate)
        ]
        # The shorter list decides: a process without its counterpart has no pair.
        pairs = [
            (before, after)
            for before, after in zip(*taken, strict=False)
            if before is not None and after is not None
        ]
        yield _of_processes(cost.name, cost.unit, pairs, confidence)


def _of_processes(
    name: str, unit: Unit, pairs: Sequence[tuple[int, int]], confidence: float
) -> Change:
    """Return the change of geometric means over processes that ran in turns."""
    count = len(pairs)
    logs = np.log(np.maximum(np.asarray(pairs, dtype=np.float64).reshape(count, 2), 1.0))
    values = [math.exp(float(mean)) for mean in logs.mean(axis=0)] if count else [None, None]
    before, after = values
    if count < FEWEST_PAIRS or before is None or after is None:
        note = f"{name} needs {FEWEST_PAIRS} pairs of processes, {count} ran"
        return _unknown(name, unit, note, before, after)
    steps = logs[:, 1] - logs[:, 0]
    centre = float(np.mean(steps))
    spread = float(np.std(steps, ddof=1)) / math.sqrt(count)
    half = student_quantile(confidence, count - 1) * spread
    ends = (math.exp(min(end, _MOST_LOG)) for end in (centre - half, centre + half))
    return ratio_change(
        name,
        unit,
        Interval(*ends),
        reference=before,
        candidate=after,
        counted=count,
        counted_as="pairs of processes",
        confidence=confidence,
    )


def _unknown(
    name: str,
    unit: Unit,
    note: str,
    reference: float | None = None,
    candidate: float | None = None,
) -> Change:
    return Change(
        name=name,
        unit=unit,
        higher_is_better=False,
        reference=reference,
        candidate=candidate,
        confidence=None,
        note=note,
    )
