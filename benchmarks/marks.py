"""Generated text between two marks of a documentation page."""

from __future__ import annotations

import dataclasses
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Marks:
    """The two comments between which a page's generated text lies.

    Attributes:
        name: What the comments call it.
    """

    name: str

    @property
    def begin(self) -> str:
        """The line above the text."""
        return f"<!-- {self.name}:begin -->"

    @property
    def end(self) -> str:
        """The line below it."""
        return f"<!-- {self.name}:end -->"

    def require(self, page: Path) -> None:
        """Check that a page can take the text.

        Raises:
            ValueError: It lacks a mark, has one twice, or has them in the wrong order.
        """
        text = page.read_text(encoding="utf-8")
        begin, end = self.begin, self.end
        if text.count(begin) != 1 or text.count(end) != 1 or text.find(begin) > text.find(end):
            raise ValueError(
                f"{page.name}: needs the lines {begin} and {end}, once each and in this order"
            )

    def put(self, page: Path, text: str) -> None:
        """Put ``text`` between the marks, in the place of what is there.

        Raises:
            ValueError: See ``require``.
        """
        self.require(page)
        before, rest = page.read_text(encoding="utf-8").split(self.begin)
        after = rest.split(self.end)[1]
        page.write_text(f"{before}{self.begin}\n\n{text}\n\n{self.end}{after}", encoding="utf-8")
