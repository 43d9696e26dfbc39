"""A benchmark on its way to the page: the document, and what several sections compute from it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from bmopt.bench.report.figure import SHAPES
from bmopt.bench.report.markup import Child, Markup, element, joined
from bmopt.bench.statistics import RatioEstimate, ratio
from bmopt.core.bench_document import BenchDocument, Subject
from bmopt.core.measurement import Measurement

_HUES = ("c1", "c2", "c3")
_REFERENCE_HUE = "c0"


@dataclasses.dataclass(frozen=True)
class Run:
    """One benchmark.

    Attributes:
        document: What was measured.
        title: What the page calls it.
        estimates: Candidate -> its latency over the reference's.
        noise: The same of one subject over itself; None where that was not measured.
        prefix: Begins all ids of its part of the page.
    """

    document: BenchDocument
    title: str
    estimates: Mapping[str, RatioEstimate]
    noise: RatioEstimate | None
    prefix: str = "r1"

    @classmethod
    def of(cls, document: BenchDocument, title: str) -> Run:
        """Compute the ratios of a document."""
        noise = list(_estimates(document.noise_floor).values())
        return cls(document, title, _estimates(document.measurement), noise[0] if noise else None)

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

    def hue(self, name: str) -> str:
        """Return the class of a subject's colour: the reference is grey."""
        if name == self.reference or name not in self.names:
            return _REFERENCE_HUE
        return _HUES[self._rank(name) % len(_HUES)]

    def shape(self, name: str) -> str:
        """Return a subject's marker, which tells more subjects apart than colours do."""
        return (
            SHAPES[(1 + self._rank(name)) % len(SHAPES)] if name != self.reference else SHAPES[0]
        )

    def section(self, slug: str, title: str, *content: Child) -> Markup:
        """Return a section with a heading and an id; nothing without content."""
        if not joined(*content):
            return Markup()
        return element("section", element("h2", title), *content, id=f"{self.prefix}-{slug}")

    def _rank(self, name: str) -> int:
        others = [one for one in self.names if one != self.reference]
        return others.index(name) if name in others else 0


def _estimates(measurement: Measurement | None) -> dict[str, RatioEstimate]:
    if measurement is None or not measurement.blocks:
        return {}
    first, *others = measurement.variants
    return {name: ratio(measurement, first, name) for name in others}
