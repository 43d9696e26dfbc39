"""How much is to be left of a model, as text."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal, get_args

from bmopt.errors import UsageError

Kind = Literal["latency", "macs", "parameters"]
KINDS: tuple[Kind, ...] = get_args(Kind)


@dataclasses.dataclass(frozen=True)
class PruneBudget:
    """What is to be left.

    Attributes:
        kind: Of what: latency on the target, MACs of one inference, or parameters.
        ratio: How much of the model's own, above 0 and below 1.
    """

    kind: Kind
    ratio: float

    @classmethod
    def parse(cls, text: str) -> PruneBudget:
        """Parse ``kind=ratio``; a number alone is of the latency.

        Raises:
            UsageError: It is neither, or out of its range.
        """
        name, _, number = text.rpartition("=")
        name = name.strip() or "latency"
        kind = next((one for one in KINDS if one == name), None)
        if kind is None:
            raise UsageError(f"prune {text!r}: unknown {name!r}; valid are {', '.join(KINDS)}")
        try:
            ratio = float(number)
        except ValueError as error:
            raise UsageError(f"prune {text!r}: {number!r} is no number") from error
        return cls(kind, ratio).checked()

    def checked(self) -> PruneBudget:
        """Return the budget.

        Raises:
            UsageError: The ratio is out of its range.
        """
        if not (math.isfinite(self.ratio) and 0.0 < self.ratio < 1.0):
            raise UsageError(
                f"{self.kind} {self.ratio:g} is to be left; give a part of the model's own, above "
                "0 and below 1"
            )
        return self

    def __str__(self) -> str:
        """Return the text that ``parse`` reads back."""
        return f"{self.kind}={self.ratio:g}"
