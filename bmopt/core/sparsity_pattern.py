"""Which weights may be zero together: N:M, blocks, or any."""

from __future__ import annotations

import dataclasses
import re

from bmopt.errors import PruningError

_OF = re.compile(r"(\d+):(\d+)")
_BLOCK = re.compile(r"(\d+)x(\d+)")
_ANY = "unstructured"
_VALID = "valid are N:M as 2:4, ROWSxCOLUMNS as 4x4 or 1x4, and unstructured"
_MOST = 64
"""What a group or the side of a block has at most."""


@dataclasses.dataclass(frozen=True)
class SparsityPattern:
    """A pattern of zeros in the weight of a product.

    Attributes:
        kept: Of N:M, how many of every ``of`` inputs that lie next to each other may stay; else 0.
        of: The M of N:M, else 0.
        rows: Output channels of a block; 1 for single weights.
        columns: Input channels of a block; 1 for single weights.
        ratio: Which part of the weights goes.
    """

    kept: int = 0
    of: int = 0
    rows: int = 1
    columns: int = 1
    ratio: float = 0.5

    @classmethod
    def parse(cls, text: str, ratio: float = 0.5) -> SparsityPattern:
        """Parse ``N:M``, ``ROWSxCOLUMNS`` or ``unstructured``, the latter two with ``=RATIO``.

        Args:
            text: The pattern.
            ratio: Which part goes, where the text does not say and the pattern does not.

        Raises:
            PruningError: It is none of these, or a number is out of range.
        """
        head, equals, number = text.strip().partition("=")
        if equals:
            try:
                ratio = float(number)
            except ValueError:
                raise PruningError(f"pattern {text!r}: {number!r} is no number") from None
        if match := _OF.fullmatch(head):
            if equals:
                raise PruningError(
                    f"pattern {text!r}: {head} says how many go; leave out {number}"
                )
            kept, of = int(match[1]), int(match[2])
            if not 0 < kept < of <= _MOST:
                raise PruningError(f"pattern {text!r}: N is 1 to M - 1, and M at most {_MOST}")
            return cls(kept, of, ratio=1.0 - kept / of)
        if not 0.0 < ratio < 1.0:
            raise PruningError(
                f"pattern {text!r}: the ratio is above 0 and below 1, not {ratio:g}"
            )
        if head == _ANY:
            return cls(ratio=ratio)
        match = _BLOCK.fullmatch(head)
        if match is None:
            raise PruningError(f"unknown pattern {text!r}; {_VALID}")
        rows, columns = int(match[1]), int(match[2])
        if not (1 <= rows <= _MOST and 1 <= columns <= _MOST) or rows * columns == 1:
            raise PruningError(
                f"pattern {text!r}: the sides of a block are 1 to {_MOST}, and one is above 1"
            )
        return cls(rows=rows, columns=columns, ratio=ratio)

    @property
    def is_block(self) -> bool:
        """Whether whole blocks go."""
        return self.rows * self.columns > 1

    @property
    def head(self) -> str:
        """The pattern without its ratio."""
        if self.of:
            return f"{self.kept}:{self.of}"
        return f"{self.rows}x{self.columns}" if self.is_block else _ANY

    def __str__(self) -> str:
        """Return the text that ``parse`` reads back."""
        return self.head if self.of else f"{self.head}={self.ratio:g}"
