"""What a candidate changed of one quantity, in the form that a gate judges."""

from __future__ import annotations

import dataclasses
from typing import Literal

from bmopt.bench.side_by_side import Comparison
from bmopt.core.ranges import Interval

Unit = Literal["fraction", "ns", "bytes", "value"]


@dataclasses.dataclass(frozen=True)
class Change:
    """A candidate against the reference.

    Attributes:
        name: What a condition calls the quantity: ``top1``, ``p50``, ``size``.
        unit: Of the values: a fraction, nanoseconds, bytes, or a number of its own kind.
        higher_is_better: Whether a higher value is better.
        reference: The reference's value; None where there is none.
        candidate: The candidate's value.
        absolute: Interval of candidate minus reference; None where only the ratio is known.
        relative: Interval of candidate over reference, minus 1.
        confidence: Coverage of the intervals; None of a quantity that is known exactly.
        counted: How many were measured; 0 where more would not help.
        counted_as: What was counted, in the plural.
        note: Why there is no interval; empty where there is one.
    """

    name: str
    unit: Unit
    higher_is_better: bool
    reference: float | None
    candidate: float | None
    absolute: Interval | None = None
    relative: Interval | None = None
    confidence: float | None = 0.99
    counted: int = 0
    counted_as: str = "paired samples"
    note: str = ""


def exact_change(name: str, unit: Unit, reference: float, candidate: float) -> Change:
    """Return the change of what has no noise and is better low, such as a file's size."""
    step = candidate - reference
    share = None if reference == 0.0 else step / reference
    return Change(
        name=name,
        unit=unit,
        higher_is_better=False,
        reference=reference,
        candidate=candidate,
        absolute=Interval(step, step),
        relative=None if share is None else Interval(share, share),
        confidence=None,
    )


def ratio_change(
    name: str,
    unit: Unit,
    ratio: Interval,
    *,
    reference: float,
    candidate: float,
    counted: int,
    counted_as: str = "pairs of blocks",
    confidence: float = 0.99,
) -> Change:
    """Return the change of what is compared as a ratio and is better low, such as a latency.

    The absolute change is the relative one times the reference's value, as if that were exact.

    Args:
        name: What a condition calls it.
        unit: Of the values.
        ratio: Interval of candidate over reference.
        reference: The reference's value.
        candidate: The candidate's value.
        counted: How many were measured.
        counted_as: What was counted.
        confidence: Coverage of the interval.
    """
    share = Interval(ratio.low - 1.0, ratio.high - 1.0)
    return Change(
        name=name,
        unit=unit,
        higher_is_better=False,
        reference=reference,
        candidate=candidate,
        absolute=Interval(share.low * reference, share.high * reference),
        relative=share,
        confidence=confidence,
        counted=counted,
        counted_as=counted_as,
    )


def metric_change(found: Comparison) -> Change:
    """Return the change of an accuracy metric."""
    difference = found.difference
    return Change(
        name=found.metric,
        unit="fraction" if found.is_fraction else "value",
        higher_is_better=found.higher_is_better,
        reference=found.reference,
        candidate=found.candidate,
        absolute=None if difference is None else difference.change,
        relative=None if difference is None else difference.relative,
        confidence=0.99 if difference is None else difference.confidence,
        counted=found.samples,
        note=found.note,
    )
