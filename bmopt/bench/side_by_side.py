"""Metrics of several models on the same samples, paired sample by sample."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from bmopt.bench.bootstrap import FEWEST_SAMPLES, Difference, paired_bootstrap
from bmopt.bench.likeness import Likeness
from bmopt.bench.mcnemar import McNemar
from bmopt.bench.metric import RIGHT, Metric, Rows
from bmopt.bench.metric_text import metric_text
from bmopt.bench.packing import packed
from bmopt.bench.paired import Paired
from bmopt.core.ranges import Interval
from bmopt.errors import BmoptError, UsageError

AGREEMENT = "agreement"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """One metric of a candidate and of the reference.

    Attributes:
        metric: The metric's name.
        samples: How many samples both ran on.
        reference: The reference's value.
        candidate: The candidate's value.
        higher_is_better: Whether a higher value is better.
        is_fraction: Whether differences are percentage points.
        difference: Intervals of what changed; None where there is none, see ``note``.
        test: McNemar's test, of a metric that only asks whether a sample is right.
        note: Why there is no interval; empty where there is one.
        is_relative: Whether it tells how like the reference's outputs are.
    """

    metric: str
    samples: int
    reference: float
    candidate: float
    higher_is_better: bool
    is_fraction: bool
    difference: Difference | None
    test: McNemar | None = None
    note: str = ""
    is_relative: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON value; intervals are ``[low, high]``, what is not finite is null."""
        found = self.difference
        return {
            **{
                name: getattr(self, name)
                for name in ("metric", "samples", "higher_is_better", "is_fraction", "note")
            },
            "reference": _finite(self.reference),
            "candidate": _finite(self.candidate),
            "change": None if found is None else _ends(found.change),
            "relative": None if found is None or found.relative is None else _ends(found.relative),
            "confidence": None if found is None else found.confidence,
            "resamples": None if found is None else found.resamples,
            "mcnemar": None if self.test is None else self.test.to_dict(),
        }


@dataclasses.dataclass(frozen=True)
class Scored:
    """One metric of all models.

    Attributes:
        metric: The metric, its output chosen.
        rows: Model -> its per-sample rows.
        values: Model -> its value.
    """

    metric: Metric
    rows: Mapping[str, Rows]
    values: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class SideBySide:
    """Several models on the same samples.

    Attributes:
        reference: The model that the others are compared with.
        samples: How many samples there were.
        output: The output that holds class scores; None where none does.
        scored: One entry per metric.
        likeness: Candidate -> how like the reference its outputs are.
        failures: Candidate -> what ended its run; it is in none of the others.
    """

    reference: str
    samples: int
    output: str | None
    scored: tuple[Scored, ...]
    likeness: Mapping[str, Likeness]
    failures: Mapping[str, BmoptError] = dataclasses.field(default_factory=dict)

    def comparisons(
        self, candidate: str, *, confidence: float = 0.99, seed: int = 0
    ) -> tuple[Comparison, ...]:
        """Return every metric of a candidate beside the reference's, and agreement of classes.

        The latter comes last, unless it is one of the metrics.

        Raises:
            UsageError: There is no such candidate, or its run failed.
        """
        if candidate not in self.likeness:
            why = self.failures.get(candidate, f"is none of {', '.join(self.likeness)}")
            raise UsageError(f"candidate {candidate!r}: {why}")
        found = [self._compared(each, candidate, confidence, seed) for each in self.scored]
        agreement = self.likeness[candidate].agreement
        if agreement is not None and all(one.metric != AGREEMENT for one in found):
            found.append(_of_agreement(agreement, confidence, seed))
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON value with every per-sample row, see ``bmopt.bench.packing``."""
        return {
            "reference": self.reference,
            "samples": self.samples,
            "output": self.output,
            "metrics": [
                {
                    "name": each.metric.name,
                    "text": metric_text(each.metric),
                    "values": {name: _finite(value) for name, value in each.values.items()},
                    "rows": {
                        model: {name: packed(array) for name, array in rows.items()}
                        for model, rows in each.rows.items()
                    },
                }
                for each in self.scored
            ],
            "candidates": {
                name: {
                    **likeness.to_dict(),
                    "comparisons": [each.to_dict() for each in self.comparisons(name)],
                }
                for name, likeness in self.likeness.items()
            },
            "failures": {name: str(error) for name, error in self.failures.items()},
        }

    def _compared(
        self, scored: Scored, candidate: str, confidence: float, seed: int
    ) -> Comparison:
        metric = scored.metric
        before, after = scored.rows[self.reference], scored.rows[candidate]
        found: Difference | None
        test = None
        if RIGHT in before:
            pair = Paired.of(before[RIGHT], after[RIGHT])
            found = pair.bootstrap(confidence=confidence, seed=seed)
            test = None if metric.is_relative else pair.mcnemar()
        else:
            found = paired_bootstrap(
                metric.estimator(before),
                metric.estimator(after),
                fraction=metric.is_fraction,
                confidence=confidence,
                seed=seed,
            )
        return Comparison(
            metric=metric.name,
            samples=self.samples,
            reference=scored.values[self.reference],
            candidate=scored.values[candidate],
            higher_is_better=metric.higher_is_better,
            is_fraction=metric.is_fraction,
            difference=found,
            test=test,
            note="" if found is not None else self._why_none(scored),
            is_relative=metric.is_relative,
        )

    def _why_none(self, scored: Scored) -> str:
        name = scored.metric.name
        if self.samples < FEWEST_SAMPLES:
            return f"{name} needs {FEWEST_SAMPLES} samples for an interval, {self.samples} ran"
        if math.isinf(scored.values[self.reference]):
            return f"{name} of the reference is infinite, and there is no difference from that"
        return f"{name} is not a number"


def _of_agreement(pair: Paired, confidence: float, seed: int) -> Comparison:
    flags = pair.flags()[1]
    return Comparison(
        metric=AGREEMENT,
        samples=pair.samples,
        reference=1.0,
        candidate=float(flags.mean()),
        higher_is_better=True,
        is_fraction=True,
        difference=pair.bootstrap(confidence=confidence, seed=seed),
        is_relative=True,
    )


def _ends(interval: Interval) -> list[float | None]:
    return [_finite(interval.low), _finite(interval.high)]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
