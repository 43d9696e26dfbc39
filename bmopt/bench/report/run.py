"""A benchmark on its way to the page: its title, its colours, its ids."""

from __future__ import annotations

import dataclasses

from bmopt.bench.compared import Compared, estimates, noise
from bmopt.bench.report.figure import SHAPES
from bmopt.bench.report.markup import Child, Markup, element, joined
from bmopt.core.bench_document import BenchDocument

_HUES = ("c1", "c2", "c3")
_REFERENCE_HUE = "c0"


@dataclasses.dataclass(frozen=True)
class Run(Compared):
    """One benchmark.

    Attributes:
        title: What the page calls it.
        prefix: Begins all ids of its part of the page.
    """

    title: str = ""
    prefix: str = "r1"

    @classmethod
    def of(cls, document: BenchDocument, title: str = "") -> Run:
        """Compute the ratios of a document."""
        return Run(document, estimates(document.measurement), noise(document), title)

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
