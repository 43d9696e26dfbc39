"""A benchmark and what the page and the terminal both compute from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from bmopt.bench.quantities import NONE
from bmopt.bench.statements import (
    Statement,
    accuracy_statement,
    difference_text,
    failure_statement,
    latency_statement,
    score_text,
    size_statement,
)
from bmopt.bench.statistics import RatioEstimate, ratio
from bmopt.core.bench_document import Accuracy, BenchDocument, Subject
from bmopt.core.measurement import Measurement


@dataclasses.dataclass(frozen=True)
class Compared:
    """One benchmark.

    Attributes:
        document: What was measured.
        estimates: Candidate -> its latency over the reference's.
        noise: The same of one subject over itself; None where that was not measured.
    """

    document: BenchDocument
    estimates: Mapping[str, RatioEstimate]
    noise: RatioEstimate | None

    @classmethod
    def of(cls, document: BenchDocument) -> Compared:
        """Compute the ratios of a document."""
        return Compared(document, estimates(document.measurement), noise(document))

    @property
    def measurement(self) -> Measurement | None:
        """The latencies; None where there are no samples."""
        found = self.document.measurement
        return found if found is not None and found.blocks else None

    @property
    def reference(self) -> str:
        """The subject that others are compared with; empty where there is none."""
        if self.measurement is not None:
            return self.measurement.variants[0]
        return self.document.subjects[0].name if self.document.subjects else ""

    @property
    def names(self) -> list[str]:
        """All subjects and variants, in order."""
        variants = () if self.measurement is None else self.measurement.variants
        return list(dict.fromkeys([*(one.name for one in self.document.subjects), *variants]))

    def subject(self, name: str) -> Subject:
        """Return what is known of a subject."""
        return next((one for one in self.document.subjects if one.name == name), Subject(name))

    def decisive(self, name: str) -> Accuracy | None:
        """Return the metric that decides on a subject: the first one; None where it has none."""
        return next((one for one in self.document.accuracy if one.subject == name), None)

    def score(self, name: str) -> tuple[str, str]:
        """Return a subject's decisive metric with its value, and the interval of its difference.

        The reference's own value stands beside every candidate's.
        """
        found = self.decisive(name)
        if found is not None:
            return f"{found.metric} {score_text(found, found.candidate)}", difference_text(found)
        beside = next((one for one in self.document.accuracy if one.reference is not None), None)
        if name != self.names[0] or beside is None:
            return NONE, NONE
        return f"{beside.metric} {score_text(beside, beside.reference)}", NONE

    def statements(self, name: str) -> list[Statement]:
        """Return what is to be said of one subject; its failure comes first."""
        subject, found = self.subject(name), []
        if subject.error:
            found.append(failure_statement(subject))
        if name == self.reference:
            return found
        if name in self.estimates and self.measurement is not None:
            confidence = self.measurement.settings.confidence
            estimate = self.estimates[name]
            found.append(latency_statement(name, self.reference, estimate, confidence))
        decides = self.decisive(name)
        if decides is not None:
            found.append(accuracy_statement(decides))
        size = size_statement(subject, self.subject(self.reference))
        return found if size is None else [*found, size]


def estimates(measurement: Measurement | None) -> dict[str, RatioEstimate]:
    """Return each variant's latency over the first one's."""
    if measurement is None or not measurement.blocks:
        return {}
    first, *others = measurement.variants
    return {name: ratio(measurement, first, name) for name in others}


def noise(document: BenchDocument) -> RatioEstimate | None:
    """Return the latency of one subject over itself; None where that was not measured."""
    return next(iter(estimates(document.noise_floor).values()), None)
